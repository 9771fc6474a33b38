"""Programs in place of Java, for what a real engine does only once in a blue moon."""

from __future__ import annotations

import sys
from pathlib import Path

from aquila_mde.engine.distribution import Distribution

_BEGINNING = f"""\
#!{sys.executable} -I
import http.server, os, pathlib, signal, sys, time
state = pathlib.Path(next(a for a in sys.argv if "path.conf" in a).partition("=")[2]).parent

class Health(http.server.BaseHTTPRequestHandler):
    status = 200
    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

def serve(status=200, address=None):
    Health.status = status
    server = http.server.HTTPServer(("127.0.0.1", 0), Health)
    ports = state / "logs" / "http.ports"
    (ports.parent / "part").write_text(address or "127.0.0.1:%d\\n" % server.server_port)
    (ports.parent / "part").rename(ports)
    server.serve_forever()

"""

ANSWERS = "serve()"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
NEVER_READY = "serve(status=408)"
DEAF = "serve(address='127.0.0.1:9')  # nothing listens there"
SILENT = "time.sleep(600)"
CRASHES = """\
print("[2026-01-01T00:00:00,000][INFO ][o.o.n.Node] starting ...")
print("[2026-01-01T00:00:00,001][ERROR][o.o.b.OpenSearch] node is broken")
print("java.lang.IllegalStateException: failed to obtain node locks")
print("        at org.opensearch.env.NodeEnvironment.<init>")
sys.exit(1)
"""


def stand_in(folder: Path, behaviour: str) -> Distribution:
    """A distribution whose Java behaves like that."""
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(_BEGINNING + behaviour)
    java.chmod(0o755)
    return Distribution(home=folder, java_home=folder / "java", account=None)

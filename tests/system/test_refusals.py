"""When something is wrong the message says what to do, the exit code says which kind, nothing is
lost, and the secret is nowhere."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from aquila_mde.errors import ExitCode
from tests.system.conftest import STREAMS, Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")
MakeJob = Callable[..., Job]
SIZES = {"machines": 20, "alerts": 30, "actions": 10, "vulnerabilities": 100}


def run(
    work: Job, config: Path, *arguments: str, log_level: str = "debug"
) -> subprocess.CompletedProcess[str]:
    """``aquila-mde collect``; whatever it leaves behind holds no secret."""
    done = subprocess.run(
        [PROGRAM, *(arguments or ("collect",)), "--config", config, "--log-level", log_level],
        capture_output=True,
        text=True,
        check=False,
    )
    for secret in (work.simulator.client_secret, "a-wrong-secret", "a-wrong-key"):
        assert secret not in done.stdout + done.stderr
        for file in work.folder.glob("state.sqlite3*"):
            assert secret.encode() not in file.read_bytes()
    assert "sig=" not in done.stdout + done.stderr.replace("sig=…", "")
    return done


async def goes_on(work: Job) -> None:
    """Once all is well again, everything is collected."""
    await work.collect()
    for stream in STREAMS:
        assert (await work.compare(stream)).perfect


async def test_a_wrong_secret(job: MakeJob) -> None:
    work = job(**SIZES)
    done = run(work, work.config(client_secret="a-wrong-secret"))
    assert done.returncode == ExitCode.SIGN_IN
    assert "AADSTS7000215" in done.stderr
    assert "AQUILA_CLIENT_SECRET" in done.stderr
    await goes_on(work)


async def test_an_expired_secret(job: MakeJob) -> None:
    work = job(**SIZES)
    work.simulator.control.expire_secret()
    done = run(work, work.config())
    assert done.returncode == ExitCode.SIGN_IN
    assert "expired" in done.stderr
    work.simulator.client_secret = work.simulator.control.new_secret()
    settings = work.simulator.settings
    work.simulator.settings = lambda: {  # type: ignore[method-assign]
        "tenant": settings()["tenant"] | {"client_secret": work.simulator.client_secret}
    }
    await goes_on(work)


async def test_an_unknown_tenant(job: MakeJob) -> None:
    work = job(**SIZES)
    done = run(work, work.config(id="00000000-0000-4000-8000-000000000000"))
    assert done.returncode == ExitCode.SIGN_IN
    assert "tenant" in done.stderr
    assert "AADSTS90002" in done.stderr
    await goes_on(work)


async def test_a_missing_permission_stops_its_streams_only(job: MakeJob) -> None:
    work = job(**SIZES)
    work.simulator.control.remove_role("Machine.Read.All")
    done = run(work, work.config())
    assert done.returncode == ExitCode.PERMISSION
    assert "Machine.Read.All" in done.stderr
    assert "admin consent" in done.stderr
    assert (await work.compare("alert")).perfect
    assert (await work.compare("vulnerability")).perfect
    work.simulator.control.grant_role("Machine.Read.All")
    await goes_on(work)


async def test_an_engine_that_is_away(job: MakeJob, unused_port: int) -> None:
    work = job(**SIZES)
    url = f"http://127.0.0.1:{unused_port}"
    done = run(work, work.config(elasticsearch={"url": url}))
    assert done.returncode == ExitCode.ENGINE
    assert f"127.0.0.1:{unused_port}" in done.stderr
    assert work.simulator.control.requests == []
    await goes_on(work)


async def test_a_wrong_api_key(job: MakeJob, guarded_engine: str) -> None:
    work = job(**SIZES)
    section = {"url": guarded_engine, "api_key": "a-wrong-key"}
    done = run(work, work.config(elasticsearch=section))
    assert done.returncode == ExitCode.ENGINE_ACCESS
    assert "API key" in done.stderr
    assert "ES_API_KEY" in done.stderr
    await goes_on(work)


async def test_an_engine_without_the_package(job: MakeJob) -> None:
    work = job(**SIZES)
    work.ask("DELETE", "/_index_template/logs-aquila_mde.alert")
    try:
        done = run(work, work.config(), "collect", "--stream", "alert")
        assert done.returncode == ExitCode.ENGINE
        assert "aquila-mde install" in done.stderr
    finally:
        again = run(work, work.config(), "install")
        assert again.returncode == ExitCode.OK, again.stderr
    await goes_on(work)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"id": "contoso"}, "tenant.id"),
        ({"client_id": ""}, "tenant.client_id"),
        ({"cloud": "mars"}, "tenant.cloud"),
        ({"client_secret": None}, "AQUILA_CLIENT_SECRET"),
        ({"stat": "x"}, "stat"),
        ({"elasticsearch": {}}, "ES_URL"),
        ({"streams": {"alerts": {}}}, "alerts"),
    ],
)
def test_a_wrong_setting_names_itself(job: MakeJob, change: dict, named: str) -> None:
    work = job(**SIZES)
    done = run(work, work.config(**change), log_level="info")
    assert done.returncode == ExitCode.SETTINGS
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def unused_port() -> int:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = server.server_port
    server.server_close()
    return port


class _Refusing(BaseHTTPRequestHandler):
    """Answers as Elasticsearch does to a key that it does not know."""

    def do_GET(self) -> None:
        body = (
            b'{"error":{"root_cause":[{"type":"security_exception","reason":"unable to '
            b'authenticate with provided credentials"}],"type":"security_exception","reason":'
            b'"unable to authenticate with provided credentials"},"status":401}'
        )
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("WWW-Authenticate", "ApiKey")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def guarded_engine() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()

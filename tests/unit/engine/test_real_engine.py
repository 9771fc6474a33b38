from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from aquila_mde.engine import EmbeddedEngine
from aquila_mde.engine.distribution import VERSION, prepare
from aquila_mde.engine.machine import run_as

OTHER = 65533
PROGRAM = """
import json, sys
from aquila_mde.engine import EmbeddedEngine
with EmbeddedEngine(heap="512m") as engine:
    json.dump({"pid": engine.pid, "url": engine.url, "folder": str(engine.folder)}, sys.stdout)
    sys.stdout.flush()
    sys.stdin.read()
"""


def _count(client: httpx.Client) -> int:
    return int(client.get("/kept/_count").raise_for_status().json()["count"])


def test_documents_survive_a_kill_and_a_restart_on_the_same_port() -> None:
    with EmbeddedEngine(heap="512m") as engine:
        folder, url = engine.folder, engine.url
        assert folder
        first = psutil.Process(engine.pid)
        assert first.uids().effective == (os.geteuid() if run_as() is None else run_as())
        listening = {c.laddr.ip for c in first.net_connections("inet") if c.status == "LISTEN"}
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.get("/").json()["version"]["number"] == VERSION
            client.put("/kept/_doc/1", json={"n": 1}).raise_for_status()
        engine.kill()
        assert not engine.alive
        assert not first.is_running()
        engine.start()
        assert engine.url == url
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert _count(client) == 1
            client.put("/kept/_doc/2", json={"n": 2}).raise_for_status()
        second = engine.pid
        engine.restart()
        assert engine.url == url
        assert engine.pid != second
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert _count(client) == 2
        last = psutil.Process(engine.pid)
    assert not last.is_running()
    assert not folder.exists()


def test_a_killed_program_of_an_ordinary_account_leaves_no_engine_behind(
    open_folder: Path,
) -> None:
    command = [sys.executable, "-c", PROGRAM]
    # What the other account may not write into would fail for another reason than ours.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    if os.geteuid() == 0:
        environment |= {"HOME": str(open_folder), "TMPDIR": str(open_folder)}
        environment["AQUILA_CACHE"] = str(prepare().home.parent)
        open_folder.chmod(0o777)
        command = [*_as_other(), *command]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as process:
        assert process.stdout
        line = b""
        while not line.endswith(b"}"):  # the log comes first
            character = process.stdout.read(1)
            assert character, "it ended before the engine was ready"
            line = b"" if character == b"\n" else line + character
        told = json.loads(line)
        engine = psutil.Process(told["pid"])
        guard = engine.parent()
        assert guard
        if os.geteuid() == 0:
            assert engine.uids().effective == OTHER
        assert httpx.get(told["url"], trust_env=False).status_code == 200
        process.kill()
        engine.wait(60)
        guard.wait(60)
    assert not Path(told["folder"]).exists()


def _as_other() -> list[str]:
    """The beginning of a command that runs as an account that is neither root nor ours.

    Where that account cannot read our Python (below /root, say), it is let through by a right of
    its own; it stays an account that is not root, which is what matters here.
    """
    setpriv = shutil.which("setpriv")
    assert setpriv, "root needs setpriv (package util-linux) for this test"
    return [
        setpriv,
        f"--reuid={OTHER}",
        f"--regid={OTHER}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]

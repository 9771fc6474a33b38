"""SIGHUP reads the settings anew, and a slip in them ends nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aquila_mde.errors import ExitCode
from tests.system.conftest import Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")
WITHIN = 120.0


def until(done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WITHIN
    while not done():
        assert process.poll() is None
        assert time.monotonic() < deadline


def count(work: Job, stream: str) -> int:
    answer = work.ask("GET", f"/{work.index(stream)}*/_stats/indexing")
    return int(answer["_all"]["primaries"].get("indexing", {}).get("index_total", 0))


async def test_the_settings_are_read_anew(job: Callable[..., Job]) -> None:
    work = job(machines=20, alerts=30)
    others = {name: {"enabled": False} for name in ("machine_action", "vulnerability")}
    without = others | {"alert": {"enabled": False}}
    log = work.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "run", "--config", work.config(streams=without)],
            stdout=output,
            stderr=output,
            env={**os.environ, "AQUILA_LOG_LEVEL": "info"},
        )
    try:
        until(lambda: count(work, "machine") == 20, process)
        assert count(work, "alert") == 0
        (work.folder / "settings.yml").write_text("tenant: {id: nonsense}\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: b"going on with the old ones" in log.read_bytes(), process)
        work.config(streams=others)
        process.send_signal(signal.SIGHUP)
        until(lambda: count(work, "alert") > 0, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == ExitCode.OK, log.read_text()
    await work.collect("machine", "alert")
    for stream in ("machine", "alert"):
        assert (await work.compare(stream)).perfect

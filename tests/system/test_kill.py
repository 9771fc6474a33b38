"""A collector that is killed and started again loses nothing and sends nothing twice."""

import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from aquila_mde.errors import ExitCode
from tests.system.conftest import STREAMS, Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")
KILLS = 20
SIZES = {"machines": 400, "alerts": 1_200, "actions": 400, "vulnerabilities": 12_000}


def start(config: Path, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [PROGRAM, *(command or ("collect",)), "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def indexed(job: Job) -> int:
    """Documents that the engine has taken so far, searchable or not."""
    answer = job.ask("GET", f"/logs-aquila_mde.*-{job.namespace}/_stats/indexing")
    return answer["_all"]["primaries"].get("indexing", {}).get("index_total", 0)


async def test_twenty_kills_at_random_moments(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    config = work.config()
    total = sum(count["versions"] for count in work.simulator.control.truth().values())
    # Moments are told by how much has arrived, so that they lie within the collection however
    # fast this machine is.
    moments = sorted(random.Random(7).sample(range(total * 9 // 10), KILLS))
    killed = 0
    for moment in moments:
        process = start(config)
        while process.poll() is None and indexed(work) < moment:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed == KILLS
    last = start(config)
    output, _ = last.communicate()
    assert last.returncode == ExitCode.OK, output.decode()
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)


def export_mark(job: Job) -> tuple[int, int]:
    """The next line of the export, as the state beside a collector at work says: file and line."""
    try:
        with closing(sqlite3.connect(f"{job.state.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("SELECT file, line FROM export").fetchone() or (0, 0)
    except sqlite3.OperationalError:
        return 0, 0  # not there yet


async def test_an_export_goes_on_at_the_first_unfinished_file_and_line(
    job: Callable[..., Job],
) -> None:
    rows, in_a_file = 24_000, 5_000
    work = job(machines=400, vulnerabilities=rows, rows_per_file=in_a_file)
    process = start(work.config(), "collect", "--stream", "vulnerability")
    while export_mark(work) < (1, 0):
        assert process.poll() is None
    process.kill()
    process.communicate()
    file, line = export_mark(work)
    assert (1, 0) <= (file, line) < (5, 0)
    control = work.simulator.control
    control.clear_requests()
    report = (await work.collect("vulnerability"))["vulnerability"]
    asked = [
        re.search(r"/part-(\d+)-", request.path) for request in work.simulator.control.requests
    ]
    assert [int(found[1]) for found in asked if found] == list(range(file, 5))
    assert report.records == rows - file * in_a_file - line
    assert (await work.compare("vulnerability")).perfect


async def test_sigterm_ends_a_run_after_the_page_in_flight(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    config = work.config()
    process = start(config, "run")
    while indexed(work) < 200:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == ExitCode.OK, output.decode()
    assert b"Traceback" not in output
    await work.collect()
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)


async def test_a_rollover_between_kill_and_restart(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    config = work.config()
    for number in range(1, 4):
        process = start(config)
        while process.poll() is None and indexed(work) < number * 1_500:
            pass
        process.kill()
        process.communicate()
        for stream in STREAMS:
            there = work.ask("GET", f"/_data_stream/logs-*-{work.namespace}")
            names = {each["name"] for each in there["data_streams"]}
            if work.index(stream) in names:
                work.rollover(stream)
    await work.collect()
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)

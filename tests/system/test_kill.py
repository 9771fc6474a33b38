"""A collector that is killed and started again loses nothing and sends nothing twice."""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from aquila_mde.collect.state_database import StateError
from aquila_mde.errors import ExitCode
from tests.system.conftest import IN_BOTH, STREAMS, Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")
KILLS = 20
SIZES = {"machines": 400, "alerts": 1_200, "actions": 400, "vulnerabilities": 12_000}


def start(job: Job, *command: str) -> subprocess.Popen[bytes]:
    """The program as a process of its own; one without a disk gets a new temporary folder."""
    program, environment = [str(PROGRAM)], dict(os.environ)
    if job.stateless:
        program = [sys.executable, "-m", "tests.system.stateless"]
        environment["TMPDIR"] = tempfile.mkdtemp(dir=job.folder)
    return subprocess.Popen(
        [*program, *(command or ("collect",)), "--config", str(job.config())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )


def indexed(job: Job) -> int:
    """Documents that the engine has taken so far, searchable or not."""
    answer = job.ask("GET", f"/logs-aquila_mde.*-{job.namespace}/_stats/indexing")
    return answer["_all"]["primaries"].get("indexing", {}).get("index_total", 0)


@IN_BOTH
async def test_twenty_kills_at_random_moments(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    total = sum(count["versions"] for count in work.simulator.control.truth().values())
    # Moments are told by how much has arrived, so that they lie within the collection however
    # fast this machine is.
    moments = sorted(random.Random(7).sample(range(total * 9 // 10), KILLS))
    killed = 0
    for moment in moments:
        process = start(work)
        while process.poll() is None and indexed(work) < moment:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed == KILLS
    last = start(work)
    output, _ = last.communicate()
    assert last.returncode == ExitCode.OK, output.decode()
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)


async def export_mark(job: Job) -> tuple[int, int]:
    """The next line of the export, as the state beside a collector at work says: file and line."""
    try:
        async with job.view() as state:
            mark = state.stream(job.simulator.tenant_id, "vulnerability").export_mark()
    except StateError:
        return 0, 0  # not there yet
    return (mark.file, mark.line) if mark else (0, 0)


@IN_BOTH
async def test_an_export_goes_on_at_the_first_unfinished_file_and_line(
    job: Callable[..., Job],
) -> None:
    rows, in_a_file = 24_000, 5_000
    work = job(machines=400, vulnerabilities=rows, rows_per_file=in_a_file)
    process = start(work, "collect", "--stream", "vulnerability")
    while await export_mark(work) < (1, 0):
        assert process.poll() is None
    process.kill()
    process.communicate()
    file, line = await export_mark(work)
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


@IN_BOTH
async def test_sigterm_ends_a_run_after_the_page_in_flight(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    process = start(work, "run")
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


@IN_BOTH
async def test_a_rollover_between_kill_and_restart(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    for number in range(1, 4):
        process = start(work)
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

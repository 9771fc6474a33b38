"""The side of this machine: a full disk, a state that is broken, lost or taken."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from tests.faults.parts import PROGRAM, SIZES, MakeJob, all_is_there, run
from tests.plugins.tally import Tally

from aquila_mde.collect.state import State, StateInUseError
from aquila_mde.errors import ExitCode

NO_MACHINES = ("alert", "machine_action", "vulnerability")


def little_room() -> None:
    """From now on no file of this process may grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))


async def test_a_full_local_disk(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    # What measures the coverage writes a file of its own, which has no room either.
    unmeasured = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = run(work.config(), preexec_fn=little_room, env=unmeasured)
    assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
    assert f"The state file {work.state} cannot be used" in done.stderr
    assert "has room" in done.stderr
    tally.fault("local no room for the state")
    again = run(work.config())
    assert again.returncode == ExitCode.OK, again.stderr
    await all_is_there(work)


@pytest.mark.parametrize("part", ["its head", "delivered", "content", "scope"])
async def test_a_corrupt_state_file(job: MakeJob, part: str, tally: Tally) -> None:
    work = job(**SIZES)
    await work.collect()
    at = 0
    if part != "its head":
        with closing(sqlite3.connect(work.state)) as database:
            found = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (part,))
            (size,) = database.execute("PRAGMA page_size").fetchone()
            at = (found.fetchone()[0] - 1) * size
    # So that there is something to be looked up.
    work.simulator.control.add_alerts([{}])
    with work.state.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 4_096)
    done = run(work.config())
    assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
    assert f"The state file {work.state} cannot be used" in done.stderr
    assert "move it away" in done.stderr
    tally.fault("local corrupt state")
    work.ask("POST", f"/{work.index('checkpoint')}/_refresh")
    work.state.rename(work.state.with_suffix(".broken"))
    again = run(work.config(), "collect", *(f"--stream={name}" for name in NO_MACHINES))
    assert again.returncode == ExitCode.OK, again.stderr
    await all_is_there(work, NO_MACHINES)


async def test_a_state_of_a_newer_version(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    await work.collect()

    def be(version: int) -> int:
        with closing(sqlite3.connect(work.state)) as database:
            before = int(database.execute("PRAGMA user_version").fetchone()[0])
            database.execute(f"PRAGMA user_version = {version}")
        return before

    ours = be(99)
    done = run(work.config())
    assert done.returncode == ExitCode.ENVIRONMENT
    assert f"it has format 99, this version reads {ours}" in done.stderr
    tally.fault("local state of a newer version")
    be(ours)
    await work.collect()
    await all_is_there(work)


async def test_a_state_lost_in_mid_collection(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES | {"vulnerabilities": 8_000, "rows_per_file": 2_000})
    process = subprocess.Popen([PROGRAM, "collect", "--config", work.config()])
    while (
        not work.state.exists()
        or work.ask("GET", f"/logs-aquila_mde.*-{work.namespace}/_stats/indexing")["_all"][
            "primaries"
        ]
        .get("indexing", {})
        .get("index_total", 0)
        < 1_000
    ):
        assert process.poll() is None
    process.kill()
    process.wait()
    tally.kill()
    tally.fault("local state lost")
    for file in work.folder.glob("state.sqlite3*"):
        file.unlink()
    await work.collect(*NO_MACHINES)
    await all_is_there(work, NO_MACHINES)


async def test_two_collectors_on_the_same_state(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    config = work.config()
    first = subprocess.Popen(
        [PROGRAM, "run", "--config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lock = work.state.with_name("state.sqlite3.lock")
    while not lock.exists() or lock.read_text() != str(first.pid):
        assert first.poll() is None
    second = run(config)
    assert second.returncode == ExitCode.ENVIRONMENT
    assert f"The state file {work.state} is in use by process {first.pid}" in second.stderr
    assert "Stop that collector first" in second.stderr
    tally.fault("local a second collector")
    with pytest.raises(StateInUseError):
        State(work.state)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=120)
    assert first.returncode == ExitCode.OK, output.decode()
    await work.collect()
    await all_is_there(work)

"""The side of this machine: a full disk, a state that is broken, lost or taken."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.faults.parts import PROGRAM, SIZES, MakeJob, all_is_there, run
from tests.plugins.tally import Tally
from tests.system.conftest import Job

from aquila_mde.collect.state import State
from aquila_mde.collect.state_database import StateInUseError
from aquila_mde.errors import ExitCode

NO_MACHINES = ("alert", "machine_action", "vulnerability")


COMMANDS = {
    "collect": ("collect",),
    "run": ("run",),
    "status": ("status",),
    "backfill": ("backfill", "--from", "2025-08-01", "--to", "2026-03-03"),
    "reconcile": ("reconcile",),
    "repair": ("reconcile", "--repair"),
}
"""Every command that opens the state."""


def refused(work: Job, name: str, *said: str, **options: Any) -> None:
    """The command ends with one clear error about the state."""
    done = run(work.config(), *COMMANDS[name], **options)
    assert done.returncode == ExitCode.ENVIRONMENT, (name, done.stderr)
    assert f"The state file {work.state}" in done.stderr, (name, done.stderr)
    assert "cannot be used" in done.stderr
    for each in said:
        assert each in done.stderr, (name, done.stderr)
    assert "Traceback" not in done.stderr
    assert "Unexpected" not in done.stderr


@pytest.mark.parametrize("name", ["backfill", "repair"])
async def test_no_room_for_the_state_of_a_command(job: MakeJob, name: str, tally: Tally) -> None:
    unmeasured = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    refused(job(), name, "has room", preexec_fn=least_room, env=unmeasured)
    tally.fault("local no room for the state")


def least_room() -> None:
    """There is not even room for the tables."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


@pytest.mark.parametrize("kind", ["no database", "another database", "a folder"])
async def test_something_else_in_the_place_of_the_state(
    job: MakeJob, kind: str, tally: Tally
) -> None:
    work = job()
    if kind == "a folder":
        work.state.mkdir()
    elif kind == "no database":
        work.state.write_text("something else, and long enough to be taken for a header" * 99)
    else:
        with closing(sqlite3.connect(work.state)) as database:
            database.execute("CREATE TABLE scope (name TEXT)")
            database.execute("CREATE TABLE pass (name TEXT)")
            database.commit()
    # One that runs for ever would try again for ever; what it opens, collect opens.
    for name in set(COMMANDS) - {"run"} if kind == "another database" else COMMANDS:
        refused(work, name, *(() if kind == "a folder" else ("move it away",)))
    tally.fault(f"local {kind} in the place of the state")


async def test_a_state_that_another_program_has_locked(job: MakeJob, tally: Tally) -> None:
    work = job(alerts=5)
    await work.collect("alert")
    with closing(sqlite3.connect(work.state, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for name in ("collect", "status", "reconcile", "repair"):
            refused(work, name, "Another program has it open")
    tally.fault("local state locked")
    await work.collect("alert")


async def test_a_state_in_a_place_where_no_folder_can_be(job: MakeJob, tally: Tally) -> None:
    work = job()
    (work.folder / "file").write_text("")
    work = replace(work, folder=work.folder / "file" / "folder")
    config = work.folder.parent.parent / "settings.yml"
    config.write_text(yaml.safe_dump(work.values()))
    for name in ("collect", "run", "repair", "backfill"):
        done = run(config, *COMMANDS[name])
        assert done.returncode == ExitCode.ENVIRONMENT, (name, done.stderr)
        assert f"The state file {work.state}" in done.stderr, (name, done.stderr)
        assert "Check that its folder exists" in done.stderr
    tally.fault("local no folder for the state")


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

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.join_store import JoinStore
from aquila_mde.collect.state import Batch, ExportMark, State
from aquila_mde.collect.state_database import StateError, StateInUseError

TENANT = "t1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.sqlite3"


def test_what_is_written_is_there_after_reopening(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    begun = store.begin(started=100, since=5, sweep=True)
    assert not begun.resumed
    store.commit(
        Batch(
            delivered=[("a", 10), ("b", 20)],
            content=[("m", b"digest", "2026-01-01")],
            opened=[("x", 7), ("y", 9)],
            created=2,
            dead=1,
            position=50,
            export=ExportMark("g", 3, 4),
        )
    )
    state.close()

    state = State(file)
    store = state.stream(TENANT, "alert")
    assert store.known(["a", "b", "c"]) == {"a", "b"}
    assert store.contents(["m", "n"]) == {"m": (b"digest", "2026-01-01")}
    assert store.oldest_open(0) == 7
    assert store.oldest_open(8) == 9
    assert store.oldest_open(10) is None
    assert store.export_mark() == ExportMark("g", 3, 4)
    resumed = store.begin(started=999, since=999, sweep=False)
    assert (resumed.started, resumed.since, resumed.position) == (100, 5, 50)
    assert resumed.sweep
    assert resumed.resumed
    known = store.read()
    assert (known.cursor, known.delivered, known.dead) == (50, 2, 1)
    state.close()


def test_a_finished_pass_forgets_old_ids_and_the_last_error(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    store.fail("no network")
    assert store.read().last_error == "no network"
    begun = store.begin(started=1, since=1, sweep=True)
    store.commit(Batch(delivered=[("old", 10), ("new", 20)]))
    store.finish(begun, now=30, keep_since=15)
    assert store.known(["old", "new"]) == {"new"}
    known = store.read()
    assert (known.last_pass, known.last_sweep, known.last_error) == (30, 30, None)
    assert not store.begin(started=2, since=2, sweep=False).resumed
    state.close()


def test_the_cursor_never_goes_back(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    store.begin(started=1, since=1, sweep=False)
    store.commit(Batch(position=50))
    store.commit(Batch(position=40))
    assert store.read().cursor == 50
    state.close()


def test_closing_an_open_record_takes_it_off(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "machine_action")
    store.commit(Batch(opened=[("x", 7)]))
    store.commit(Batch(closed=["x"]))
    assert store.oldest_open(0) is None
    state.close()


def test_another_field_starts_with_a_new_cursor(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "machine_action")
    store.begin(started=1, since=1, sweep=False)
    store.commit(Batch(position=50))
    store.use_field("creationDateTimeUtc")
    known = store.read()
    assert (known.cursor, known.cursor_field) == (None, "creationDateTimeUtc")
    assert not store.begin(started=2, since=2, sweep=False).resumed
    state.close()


def test_streams_and_tenants_are_kept_apart(file: Path) -> None:
    state = State(file)
    one = state.stream(TENANT, "alert")
    one.commit(Batch(delivered=[("a", 1)]))
    assert state.stream(TENANT, "machine").known(["a"]) == set()
    assert state.stream("t2", "alert").known(["a"]) == set()
    assert state.stream(TENANT, "alert").known(["a"]) == {"a"}
    state.close()


def test_more_ids_than_one_statement_takes(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    ids = [f"id{number}" for number in range(1_801)]
    store.commit(Batch(delivered=[(each, 1) for each in ids]))
    assert store.known([*ids, "other"]) == set(ids)
    state.close()


def test_a_second_collector_is_kept_out_and_told_by_whom(file: Path) -> None:
    state = State(file)
    program = (
        "import sys; from pathlib import Path; from aquila_mde.collect.state import State\n"
        "try: State(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    ).stdout
    assert answer.startswith("StateInUseError")
    owner = (file.parent / "state.sqlite3.lock").read_text()
    assert f"in use by process {owner}" in answer
    state.close()
    State(file).close()


def test_a_second_opening_in_this_process_is_refused_too(file: Path) -> None:
    state = State(file)
    with pytest.raises(StateInUseError):
        State(file)
    state.close()


def test_a_file_that_is_no_database_is_named(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("this is not a database, it is a letter to somebody" * 40)
    with pytest.raises(StateError, match=r"state\.sqlite3 cannot be used: file is not a database"):
        State(file)


def test_a_file_of_a_later_version_is_refused(file: Path) -> None:
    State(file).close()
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateError, match="it has format 99, this version reads 3"):
        State(file)


def test_a_file_of_the_first_format_is_taken_over(file: Path) -> None:
    state = State(file)
    state.stream(TENANT, "alert").commit(Batch(delivered=[("a", 1)]))
    state.close()
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TABLE delta")
        database.execute("DROP INDEX waiting_key")
        database.execute("DROP INDEX waiting_since")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    for _ in range(2):
        state = State(file)
        store = state.stream(TENANT, "alert")
        assert store.known(["a"]) == {"a"}
        assert DeltaStore(store).read() is None
        assert JoinStore(store, "machine").arrived(1) == []
        state.close()


def lose_power(file: Path, copy: Path) -> Path:
    """The state as a machine finds it that fails now, had nothing since been written to disk."""
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(file.with_name(file.name + suffix), copy / (file.name + suffix))
    return copy / file.name


def test_a_machine_that_fails_leaves_a_pass_that_is_known_to_be_unfinished(
    file: Path, tmp_path: Path
) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    begun = store.begin(started=1, since=5, sweep=False)
    in_pass = lose_power(file, tmp_path / "in")
    store.commit(Batch(delivered=[("a", 1)], position=50))
    store.finish(begun, now=60, keep_since=None)
    behind = lose_power(file, tmp_path / "behind")
    state.close()
    state = State(in_pass)
    store = state.stream(TENANT, "alert")
    # So its ids are looked up in older backing indices before they are sent again.
    assert store.begin(started=70, since=50, sweep=False).resumed
    assert store.known(["a"]) == set()
    state.close()
    state = State(behind)
    store = state.stream(TENANT, "alert")
    assert not store.begin(started=70, since=50, sweep=False).resumed
    assert store.known(["a"]) == {"a"}
    state.close()


def test_only_what_a_pass_under_way_vouches_for_may_be_lost_with_the_machine(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    modes = ["NORMAL"]
    written = []

    def note(statement: str) -> None:
        if statement.startswith("PRAGMA synchronous = "):
            modes.append(statement.rpartition(" ")[2])
        elif statement == "COMMIT":
            written.append(modes[-1])

    store.database.set_trace_callback(note)
    # As reconcile and backfill do, which write into the ledger without a pass.
    store.commit(Batch(delivered=[("a", 1)]))
    begun = store.begin(started=1, since=5, sweep=False)
    store.commit(Batch(delivered=[("b", 1)], position=50))
    store.finish(begun, now=60, keep_since=None)
    store.commit(Batch(delivered=[("c", 1)]))
    assert written == ["FULL", "FULL", "NORMAL", "FULL", "FULL"]
    again = state.stream(TENANT, "alert")
    again.begin(started=1, since=5, sweep=False)
    written.clear()
    resumed = state.stream(TENANT, "alert")
    assert resumed.begin(started=1, since=5, sweep=False).resumed
    resumed.commit(Batch(position=60))
    assert written[-1] == "NORMAL"
    assert resumed.database.execute("PRAGMA synchronous").fetchone() == (1,)
    state.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="Not a directory|File exists"):
        State(tmp_path / "file" / "state.sqlite3")


def test_a_failed_commit_changes_nothing(file: Path) -> None:
    state = State(file)
    store = state.stream(TENANT, "alert")
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        store.commit(Batch(delivered=[("a", 1)], content=[("m", None, "")]))
    assert store.known(["a"]) == set()
    state.close()

"""Whatever SQLite cannot do with the state is one error that says what to do."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aquila_mde.collect.state import Batch, State
from aquila_mde.collect.state_database import StateError, is_there, open_database
from aquila_mde.collect.state_view import StateView

_NOBODY = 65_534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts may use too."""
    with tempfile.TemporaryDirectory(prefix="aquila-state-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Rights count, also where the tests are run by root."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(_NOBODY)
    yield
    os.seteuid(mine)


def written(folder: Path) -> Path:
    file = folder / "state.sqlite3"
    state = State(file)
    state.stream("t", "alert").commit(Batch(delivered=[("a", 1)]))
    state.close()
    for each in folder.iterdir():
        each.chmod(0o666)
    return file


def test_a_file_that_can_only_be_read(folder: Path, request: pytest.FixtureRequest) -> None:
    file = written(folder)
    file.chmod(0o444)
    request.getfixturevalue("as_nobody")
    with (
        pytest.raises(StateError, match="readonly") as caught,
        closing(State(file)) as state,
    ):
        state.stream("t", "alert")
    assert "writable" in caught.value.hint


def test_a_folder_that_nothing_can_be_written_to(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    folder.chmod(0o555)
    request.getfixturevalue("as_nobody")
    with pytest.raises(StateError, match="Permission denied"):
        State(folder / "state.sqlite3")
    with pytest.raises(StateError, match="Permission denied"):
        State(folder / "deeper" / "state.sqlite3")


def test_a_folder_that_cannot_be_looked_into(folder: Path, request: pytest.FixtureRequest) -> None:
    file = written(folder)
    folder.chmod(0o000)
    request.getfixturevalue("as_nobody")
    with pytest.raises(StateError, match="Permission denied"):
        is_there(file)
    with pytest.raises(StateError, match="Permission denied"):
        StateView(file)


def test_what_breaks_while_rows_are_read_is_told_too(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite3"
    database = open_database(file)
    database.execute("CREATE TABLE t (x TEXT)")
    database.executemany("INSERT INTO t VALUES (?)", [("x" * 3_000,) for _ in range(100)])
    database.close()
    with file.open("r+b") as raw:
        raw.seek(4_096 * 40)
        raw.write(b"\xa5" * 4_096 * 20)
    database = open_database(file)
    for reading in (
        lambda: list(database.execute("SELECT * FROM t")),
        lambda: database.execute("SELECT * FROM t").fetchall(),
        lambda: database.execute("SELECT count(x) FROM t WHERE x > ''").fetchone(),
        lambda: database.execute("UPDATE t SET x = 1"),
        lambda: database.executemany("DELETE FROM t WHERE x = ?", [("y",)]),
    ):
        with pytest.raises(StateError, match="malformed") as caught:
            reading()
        assert "move it away" in caught.value.hint
    database.close()


def test_a_mistake_of_the_program_is_no_fault_of_the_file(tmp_path: Path) -> None:
    database = open_database(tmp_path / "state.sqlite3")
    with pytest.raises(sqlite3.ProgrammingError):
        database.execute("SELECT ?", ())
    database.close()

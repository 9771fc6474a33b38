"""The file of a state: opened, locked, and what it means when it cannot be used.

Whatever SQLite cannot do with it, wherever that shows, is one error that says what to do.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from aquila_mde.errors import ConfigurationError, ExitCode

_KEPT = "Records delivered so far stay delivered."
_HINT = (
    "Check that its folder exists, is writable and has room (setting: state, AQUILA_STATE). "
    f"{_KEPT}"
)
_HINTS: Mapping[int, str] = {
    code: hint
    for codes, hint in (
        (
            # The last one: it is another database than ours, or a table of it is gone.
            (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR),
            "Its content is damaged: move it away, and what it knew is read back from the engine. "
            f"{_KEPT}",
        ),
        (
            (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL),
            "Another program has it open, perhaps a backup or a viewer of databases: let it end "
            f"or close it, and start again. {_KEPT}",
        ),
    )
    for code in codes
}
# An error of the program itself is none of the file.
_OURS = (
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
)


class StateError(ConfigurationError):
    """The state file cannot be used; ``code`` is SQLite's primary result code, or 0."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, file: Path, problem: str, code: int = 0) -> None:
        super().__init__(
            f"The state file {file} cannot be used: {problem}.", hint=_HINTS.get(code, _HINT)
        )
        self.problem = problem
        self.code = code


class StateInUseError(ConfigurationError):
    """Another collector works with the same state file."""

    exit_code = ExitCode.ENVIRONMENT


class StateDatabase(sqlite3.Connection):
    """A connection of which every failure of the file is a :class:`StateError`."""

    file: Path

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        """One statement."""
        return self.cursor(_Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Cursor:
        """One statement for each of ``parameters``."""
        return self.cursor(_Cursor).executemany(sql, parameters)


class _Cursor(sqlite3.Cursor):
    connection: StateDatabase

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        with _told(self.connection.file):
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Cursor:
        with _told(self.connection.file):
            super().executemany(sql, parameters)
        return self

    def fetchone(self) -> Any:
        with _told(self.connection.file):
            return super().fetchone()

    def fetchall(self) -> list[Any]:
        with _told(self.connection.file):
            return super().fetchall()

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.Error as error:
            raise _error(self.connection.file, error) from None


def open_database(file: Path, *, read_only: bool = False) -> StateDatabase:
    """The database in ``file``, without transactions that nobody has begun.

    ``read_only`` changes nothing and creates no file. Raises :class:`StateError`.
    """
    with _told(file):
        name = f"{file.absolute().as_uri()}?mode=ro" if read_only else str(file)
        database = sqlite3.connect(name, uri=read_only, isolation_level=None, factory=StateDatabase)
    database.file = file
    return database


def is_there(file: Path) -> bool:
    """Whether there is a state file. Raises :class:`StateError` when that cannot be told."""
    try:
        return file.exists()
    except OSError as error:
        raise StateError(file, error.strerror or str(error)) from None


def lock(file: Path) -> IO[str]:
    """The lock of the state in ``file``, held until it is closed; its folder is made.

    Raises :class:`StateInUseError` when another process has it.
    """
    path = file.with_name(file.name + ".lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Not truncated on opening: until the lock is held it names the collector that holds it.
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StateError(file, f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        owner = handle.read().strip() or "another process"
        handle.close()
        raise StateInUseError(
            f"The state file {file} is in use by process {owner}.",
            hint="Stop that collector first, or give this one a state file of its own "
            "(setting: state, AQUILA_STATE).",
        ) from None
    try:
        # Past the buffer, which would be written once more on closing.
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), str(os.getpid()).encode())
    except OSError as error:
        handle.close()
        raise StateError(file, f"{path}: {error.strerror}") from None
    return handle


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _error(file, error) from None


def _error(file: Path, error: sqlite3.Error) -> Exception:
    if isinstance(error, _OURS):
        return error
    # The rest of the code says which case of it, the text says so too.
    return StateError(file, str(error), getattr(error, "sqlite_errorcode", 0) & 0xFF)

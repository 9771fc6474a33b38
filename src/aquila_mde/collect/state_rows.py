"""The rows of a state as they travel: which have changed, packed, and put into another file.

A row is known by its primary key. Triggers of this connection alone note the keys of the rows that
change, in the same transaction; the rows themselves are read when they are packed, so a row that
changed a hundred times travels once.
"""

# ruff: noqa: S608 - names of tables and columns are those of our own tables
from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

_PER_ROW = 16
_FAST = 1
"""Level of compression: the next ones take longer and save little."""


class Changes(msgspec.Struct, array_like=True):
    """What became of rows of one table."""

    put: list[list[Any]] = []
    """Whole rows, new or changed."""
    drop: list[list[Any]] = []
    """Primary keys of rows that are gone."""


_Packed = dict[str, Changes]


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def noted(self) -> str:
        return f"changed_{self.name}"

    def same_key(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{each} = {right}.{each}" for each in self.key)


@dataclass(slots=True)
class Taken:
    """Rows that were read to be packed, and whether there are ``more`` of them."""

    changes: _Packed = field(default_factory=dict)
    keys: dict[str, list[list[Any]]] = field(default_factory=dict)
    size: int = 0
    more: bool = False

    def pack(self) -> bytes:
        """As bytes; empty when nothing has changed."""
        return zlib.compress(msgspec.msgpack.encode(self.changes), _FAST) if self.changes else b""


class ChangedRows:
    """Notes from now on which rows of ``database`` change."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._tables = _tables(database)
        for table in self._tables:
            for statement in _noting(table):
                database.execute(statement)

    def mark_all(self) -> None:
        """As if every row had just changed."""
        for table in self._tables:
            self._database.execute(
                f"INSERT OR IGNORE INTO {table.noted} SELECT {', '.join(table.key)} "
                f"FROM main.{table.name}"
            )

    def read(self, limit: int) -> Taken:
        """Changed rows as they are now, of about ``limit`` bytes; they stay noted."""
        taken = Taken()
        for table in self._tables:
            width = len(table.columns)
            changes, keys = Changes([], []), []
            rows = self._database.execute(
                f"SELECT t.*, c.* FROM {table.noted} AS c LEFT JOIN main.{table.name} AS t "
                f"ON {table.same_key('t', 'c')}"
            )
            at = table.columns.index(table.key[0])
            for row in rows:
                if taken.size >= limit:
                    taken.more = True
                    break
                values, key = list(row[:width]), list(row[width:])
                if values[at] is None:
                    changes.drop.append(key)
                else:
                    changes.put.append(values)
                keys.append(key)
                taken.size += _size(row)
            rows.close()
            if keys:
                taken.changes[table.name], taken.keys[table.name] = changes, keys
            if taken.more:
                break
        return taken

    def forget(self, taken: Taken) -> None:
        """The rows ``taken`` are no longer noted, unless they change again."""
        with _transaction(self._database):
            for table in self._tables:
                where = " AND ".join(f"{each} = ?" for each in table.key)
                self._database.executemany(
                    f"DELETE FROM {table.noted} WHERE {where}", taken.keys.get(table.name, ())
                )

    def note(self, taken: Taken) -> None:
        """The rows ``taken`` are noted again."""
        with _transaction(self._database):
            for table in self._tables:
                marks = ", ".join("?" * len(table.key))
                self._database.executemany(
                    f"INSERT OR IGNORE INTO {table.noted} VALUES ({marks})",
                    taken.keys.get(table.name, ()),
                )


def put_rows(database: sqlite3.Connection, packed: bytes) -> None:
    """Bring the rows in ``packed`` into ``database``, in one transaction.

    Raises :class:`ValueError` when they do not belong into it.
    """
    if not packed:
        return
    tables = {table.name: table for table in _tables(database)}
    with _transaction(database):
        for name, changes in _unpacked(packed).items():
            if name not in tables:
                raise ValueError(f"there is no table {name!r}")
            table = tables[name]
            marks = ", ".join("?" * len(table.columns))
            database.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({marks})", changes.put)
            where = " AND ".join(f"{each} = ?" for each in table.key)
            database.executemany(f"DELETE FROM {name} WHERE {where}", changes.drop)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _unpacked(packed: bytes) -> _Packed:
    try:
        return msgspec.msgpack.decode(zlib.decompress(packed), type=_Packed)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from None


def _tables(database: sqlite3.Connection) -> list[_Table]:
    names = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    found = []
    for (name,) in names:
        columns = database.execute(f"PRAGMA main.table_info({name})").fetchall()
        keyed = sorted((place, column) for _, column, _, _, _, place in columns if place)
        found.append(
            _Table(name, tuple(each[1] for each in columns), tuple(column for _, column in keyed))
        )
    return found


def _noting(table: _Table) -> Iterator[str]:
    key = ", ".join(table.key)
    yield f"CREATE TEMP TABLE {table.noted} ({key}, PRIMARY KEY ({key})) WITHOUT ROWID"
    for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        values = ", ".join(f"{row}.{each}" for each in table.key)
        # Not by OR IGNORE, of which the statement that fires the trigger has the last word.
        yield (
            f"CREATE TEMP TRIGGER {table.noted}_{event.lower()} AFTER {event} "
            f"ON main.{table.name} BEGIN "
            f"INSERT INTO {table.noted} SELECT {values} WHERE NOT EXISTS "
            f"(SELECT 1 FROM {table.noted} AS c WHERE {table.same_key('c', row)}); END"
        )


def _size(row: Iterable[Any]) -> int:
    return _PER_ROW + sum(len(each) for each in row if isinstance(each, str | bytes))

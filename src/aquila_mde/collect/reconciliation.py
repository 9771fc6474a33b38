"""What the comparison of tenant and index finds, and what a repair remembers of it.

A repair that was cut off goes on where it was when it is started with the same times: windows that
are done are not read again. It is remembered for a day; after that everything is looked at anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from aquila_mde.collect.state import State, StreamStore
from aquila_mde.collect.state_place import open_beside
from aquila_mde.collect.stream_pass import Counts, StreamPass
from aquila_mde.defender.export import ExportPosition
from aquila_mde.defender.times import Ticks, ticks_of
from aquila_mde.elastic.client import Engine
from aquila_mde.errors import AquilaError
from aquila_mde.settings import Settings

_REMEMBERED = ticks_of(timedelta(days=1))
_TABLES = (
    "CREATE TABLE IF NOT EXISTS repair (scope INTEGER PRIMARY KEY, asked BLOB NOT NULL, "
    "begun INTEGER NOT NULL, field TEXT, since INTEGER, until INTEGER)",
    "CREATE TABLE IF NOT EXISTS compared (scope INTEGER NOT NULL, start INTEGER NOT NULL, "
    "found BLOB NOT NULL, PRIMARY KEY (scope, start)) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class MissingRecord:
    """A record of the tenant whose version is not in the index."""

    entity: str
    time: Ticks | None
    document_id: str


@dataclass(slots=True)
class WindowReport:
    """One window of one stream. What the tenant holds is one of the other numbers."""

    start: Ticks | None
    """``None``, also of ``end``: open."""
    end: Ticks | None
    tenant: int = 0
    indexed: int = 0
    pending: int = 0
    """Not in the index, but not due either: newer than what the collector has read so far."""
    dead: int = 0
    """In the dead-letter stream."""
    missing: int = 0
    repaired: int = 0
    """Of the missing ones, those that are in the index now."""


@dataclass(slots=True)
class Reconciliation:
    """What the comparison of one stream found."""

    stream: str
    index: str
    windows: list[WindowReport] = field(default_factory=list)
    records: list[MissingRecord] = field(default_factory=list)
    """The first ones of those that are missing."""
    error: AquilaError | None = None

    @property
    def missing(self) -> int:
        """What is missing still."""
        return sum(window.missing - window.repaired for window in self.windows)

    @property
    def dead(self) -> int:
        """What lies in the dead-letter stream."""
        return sum(window.dead for window in self.windows)


@dataclass(frozen=True, slots=True)
class Mending:
    """Delivers what is missing in one window, by ``work``, which counts in ``counts``."""

    work: StreamPass
    counts: Counts
    found: WindowReport

    async def settled(self) -> None:
        """Wait until all of it is answered, and move what was counted into the report."""
        await self.work.settled()
        counts, found = self.counts, self.found
        found.repaired += counts.created + counts.existing
        found.dead += counts.dead
        found.missing -= counts.dead
        counts.created = counts.existing = counts.dead = 0


@asynccontextmanager
async def repair_state(
    settings: Settings, engine: Engine, reports: Sequence[Reconciliation]
) -> AsyncIterator[State]:
    """A repair's own state, which is gone afterwards if all ``reports`` are without an error."""
    state, done = await open_beside(settings, engine, "repair", tables=_TABLES), False
    try:
        yield state
        done = all(report.error is None for report in reports)
    finally:
        await (state.remove() if done else state.aclose())


class RepairNotes:
    """What a repair of one stream has done so far, in ``store``, a state of its own.

    It goes on with what an earlier run left if that was ``asked`` for the same and began less than
    a day before ``now``. ``field`` is the time property that the stream is read by.
    """

    def __init__(
        self, store: StreamStore, asked: tuple[Ticks | None, Ticks | None], *, now: Ticks
    ) -> None:
        self._store = store
        self.field: str | None = None
        self._stretch: tuple[Ticks, Ticks] | None = None
        wanted = msgspec.json.encode(asked)
        with store.change() as database:
            for table in _TABLES:
                database.execute(table)
            row = database.execute(
                "SELECT asked, begun, field, since, until FROM repair WHERE scope = ?",
                (store.scope,),
            ).fetchone()
        if row is not None and row[0] == wanted and 0 <= now - row[1] < _REMEMBERED:
            self.field = row[2]
            self._stretch = None if row[3] is None else (row[3], row[4])
            return
        self.forget()
        with store.change() as database:
            database.execute(
                "INSERT OR REPLACE INTO repair (scope, asked, begun) VALUES (?, ?, ?)",
                (store.scope, wanted, now),
            )

    def stretch(self, since: Ticks, until: Ticks, field: str) -> tuple[Ticks, Ticks]:
        """From where to where is compared: as in the run that is gone on with, or as given."""
        if self._stretch is None:
            self._stretch, self.field = (since, until), field
            with self._store.change() as database:
                database.execute(
                    "UPDATE repair SET since = ?, until = ?, field = ? WHERE scope = ?",
                    (since, until, field, self._store.scope),
                )
        return self._stretch

    def forget(self) -> None:
        """Nothing is done."""
        self._stretch = None
        with self._store.change() as database:
            for table in ("compared", "export"):
                database.execute(
                    f"DELETE FROM {table} WHERE scope = ?",  # noqa: S608 - our own tables
                    (self._store.scope,),
                )

    def done(self, start: Ticks | None) -> tuple[WindowReport, list[MissingRecord]] | None:
        """What was found in the window that begins at ``start``, if it was read."""
        row = self._store.database.execute(
            "SELECT found FROM compared WHERE scope = ? AND start = ?",
            (self._store.scope, start or 0),
        ).fetchone()
        if row is None:
            return None
        return msgspec.json.decode(row[0], type=tuple[WindowReport, list[MissingRecord]])

    def left_at(self) -> ExportPosition | None:
        """How far an export was compared."""
        mark = self._store.export_mark()
        return ExportPosition(mark.generated, mark.file, mark.line) if mark else None

    async def note(
        self,
        found: WindowReport,
        records: list[MissingRecord],
        position: ExportPosition | None = None,
    ) -> None:
        """A window is done, or an export up to ``position``: all of it is answered."""
        scope = self._store.scope
        with self._store.change() as database:
            database.execute(
                "INSERT OR REPLACE INTO compared (scope, start, found) VALUES (?, ?, ?)",
                (scope, found.start or 0, msgspec.json.encode((found, records))),
            )
            if position is not None:
                database.execute(
                    "INSERT OR REPLACE INTO export (scope, generated, file, line) "
                    "VALUES (?, ?, ?, ?)",
                    (scope, position.generated, position.file, position.line),
                )
        await self._store.safe(sending=False)

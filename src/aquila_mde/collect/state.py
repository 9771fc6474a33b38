"""What the collector remembers between runs: one SQLite file.

Everything that one batch of records changes is written in one transaction, and only after the
engine has answered for each of them. A lock on a file beside it keeps a second collector out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aquila_mde.collect.state_database import StateError, lock, open_database
from aquila_mde.collect.state_format import VERSION, statements
from aquila_mde.defender.times import Ticks

_LOOK_UP = 500
"""Keys in one SELECT: well below SQLite's limit of bound values."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A reading of a stream from ``since`` on that has begun and has not ended."""

    started: Ticks
    since: Ticks | None
    position: Ticks | None
    sweep: bool
    resumed: bool = False
    """Whether it was begun by an earlier run: some of its records may have been sent already."""


@dataclass(frozen=True, slots=True)
class ExportMark:
    """How far an export has been delivered: the next line of the next file."""

    generated: str
    file: int
    line: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A document that was sent without the partner ``key`` of its join ``name``."""

    name: str
    key: str
    document_id: str
    document: bytes


@dataclass(slots=True)
class Batch:
    """What the answer for one batch of records changes."""

    delivered: list[tuple[str, Ticks]] = field(default_factory=list)
    content: list[tuple[str, bytes, str]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    opened: list[tuple[str, Ticks]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    created: int = 0
    dead: int = 0
    position: Ticks | None = None
    export: ExportMark | None = None


@dataclass(frozen=True, slots=True)
class StreamState:
    """What ``status`` shows of one stream."""

    cursor: Ticks | None
    cursor_field: str | None
    last_pass: Ticks | None
    last_sweep: Ticks | None
    last_error: str | None
    delivered: int
    dead: int


class State:
    """The state file of one collector."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.looked: set[tuple[int, str]] = set()
        """Joins for which nothing has changed since it was last seen that no partner arrived."""
        self._lock = lock(file)
        try:
            self._database = open_database(file)
        except StateError:
            self._lock.close()
            raise
        try:
            self._prepare()
        except StateError:
            self.close()
            raise

    async def safe(self, scope: int, *, sending: bool) -> None:
        """Return when what must not be lost of ``scope`` is kept. A file sees to that itself."""

    async def aclose(self) -> None:
        """Keep everything and let the next collector in."""
        self.close()

    async def remove(self) -> None:
        """Close the state for ever: nothing of it stays."""
        self.close()
        for suffix in ("", "-wal", "-shm", ".lock"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and let the next collector in."""
        self._database.close()
        self._lock.close()

    def stream(self, tenant_id: str, stream: str) -> StreamStore:
        """What is remembered of one stream of one tenant."""
        with self._change() as database:
            database.execute(
                "INSERT OR IGNORE INTO scope (tenant, stream) VALUES (?, ?)", (tenant_id, stream)
            )
        row = self._database.execute(
            "SELECT id FROM scope WHERE tenant = ? AND stream = ?", (tenant_id, stream)
        ).fetchone()
        return StreamStore(self, int(row[0]))

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        version = int(self._database.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise StateError(self._file, f"it has format {version}, this version reads {VERSION}")
        if version < VERSION:
            with self._change() as database:
                for statement in statements(version):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _durable_change(self) -> Iterator[sqlite3.Connection]:
        """A change that is on the disk, with all before it, when this is left.

        Others may be lost when the machine itself fails (not the process), the last ones first.
        """
        self._database.execute("PRAGMA synchronous = FULL")
        try:
            with self._change() as database:
                yield database
        finally:
            self._database.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            # After some failures SQLite has done so already.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise


class StreamStore:
    """The part of the state that belongs to one stream of one tenant."""

    def __init__(self, state: State, scope: int) -> None:
        self.scope = scope
        self.change = state._change
        """One transaction."""
        self._durable_change = state._durable_change
        self._in_pass = False
        """Whether a pass under way is on disk, so that a loss of what follows would be noticed."""
        self.looked = state.looked
        self.database = state._database
        self._state = state

    async def safe(self, *, sending: bool) -> None:
        """Return when what must not be lost is kept: before records are sent, after a commit."""
        await self._state.safe(self.scope, sending=sending)

    def read(self) -> StreamState:
        """Cursor, times and counts."""
        row = self.database.execute(
            "SELECT cursor, cursor_field, last_pass, last_sweep, last_error, delivered, dead "
            "FROM scope WHERE id = ?",
            (self.scope,),
        ).fetchone()
        # A view of a file that knows nothing of the stream yet has no row.
        return StreamState(*(row or (None, None, None, None, None, 0, 0)))

    def use_field(self, name: str) -> None:
        """Follow another property from now on; the cursor of the old one means nothing to it."""
        with self.change() as database:
            database.execute(
                "UPDATE scope SET cursor_field = ?, cursor = NULL, last_sweep = NULL WHERE id = ?",
                (name, self.scope),
            )
            database.execute("DELETE FROM pass WHERE scope = ?", (self.scope,))

    def is_new(self) -> bool:
        """Whether no pass was ever begun: the very first time, or the state was lost."""
        known = self.read()
        return known.cursor is None and known.last_pass is None and self.under_way() is None

    def restore(self, cursor: Ticks) -> None:
        """Follow on from ``cursor``, which an earlier state had reached."""
        with self.change() as database:
            database.execute("UPDATE scope SET cursor = ? WHERE id = ?", (cursor, self.scope))

    def begin(self, *, started: Ticks, since: Ticks | None, sweep: bool) -> Pass:
        """The pass that was left unfinished, or a new one. Saved before anything is sent."""
        left = self.under_way()
        if left is not None:
            self._in_pass = True
            return left
        with self._durable_change() as database:
            database.execute(
                "INSERT INTO pass (scope, started, since, sweep) VALUES (?, ?, ?, ?)",
                (self.scope, started, since, sweep),
            )
        self._in_pass = True
        return Pass(started, since, None, sweep)

    def under_way(self) -> Pass | None:
        """The pass that was begun and has not ended."""
        row = self.database.execute(
            "SELECT started, since, position, sweep FROM pass WHERE scope = ?", (self.scope,)
        ).fetchone()
        return Pass(row[0], row[1], row[2], bool(row[3]), resumed=True) if row else None

    def finish(self, done: Pass, *, now: Ticks, keep_since: Ticks | None) -> None:
        """The pass is over; ids of records older than ``keep_since`` are forgotten."""
        self._in_pass = False
        with self._durable_change() as database:
            database.execute("DELETE FROM pass WHERE scope = ?", (self.scope,))
            database.execute(
                "UPDATE scope SET last_pass = ?, last_error = NULL WHERE id = ?", (now, self.scope)
            )
            if done.sweep:
                database.execute("UPDATE scope SET last_sweep = ? WHERE id = ?", (now, self.scope))
            if keep_since is not None:
                database.execute(
                    "DELETE FROM delivered WHERE scope = ? AND time < ?", (self.scope, keep_since)
                )

    def fail(self, message: str) -> None:
        """Remember why the last pass ended early."""
        with self.change() as database:
            database.execute("UPDATE scope SET last_error = ? WHERE id = ?", (message, self.scope))

    def commit(self, batch: Batch, *, now: Ticks = 0) -> None:
        """Write down what the engine has answered, all of it or nothing.

        Within a pass it may be lost together with the end of that pass when the machine fails: the
        pass is then found unfinished, and what it sends again is looked up first. Without a pass
        nothing would tell, so it is on the disk when this returns.
        """
        scope = self.scope
        with self.change() if self._in_pass else self._durable_change() as database:
            database.executemany(
                "INSERT OR IGNORE INTO delivered (scope, id, time) VALUES (?, ?, ?)",
                [(scope, *row) for row in batch.delivered],
            )
            database.executemany(
                "INSERT OR REPLACE INTO content (scope, entity, digest, renewal) "
                "VALUES (?, ?, ?, ?)",
                [(scope, *row) for row in batch.content],
            )
            database.executemany(
                "INSERT OR IGNORE INTO waiting (scope, name, key, id, document, since) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(scope, w.name, w.key, w.document_id, w.document, now) for w in batch.waiting],
            )
            self.looked.difference_update({(scope, waiting.name) for waiting in batch.waiting})
            database.executemany(
                "INSERT OR REPLACE INTO still_open (scope, entity, time) VALUES (?, ?, ?)",
                [(scope, *row) for row in batch.opened],
            )
            database.executemany(
                "DELETE FROM still_open WHERE scope = ? AND entity = ?",
                [(scope, entity) for entity in batch.closed],
            )
            if batch.created or batch.dead:
                database.execute(
                    "UPDATE scope SET delivered = delivered + ?, dead = dead + ? WHERE id = ?",
                    (batch.created, batch.dead, scope),
                )
            if batch.position is not None:
                database.execute(
                    "UPDATE pass SET position = ? WHERE scope = ?", (batch.position, scope)
                )
                database.execute(
                    "UPDATE scope SET cursor = max(coalesce(cursor, 0), ?) WHERE id = ?",
                    (batch.position, scope),
                )
            if batch.export is not None:
                database.execute(
                    "INSERT OR REPLACE INTO export (scope, generated, file, line) "
                    "VALUES (?, ?, ?, ?)",
                    (scope, batch.export.generated, batch.export.file, batch.export.line),
                )

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of ``ids`` that were delivered before."""
        return {row[0] for row in self._select("SELECT id FROM delivered WHERE id", ids)}

    def knows_any(self) -> bool:
        """Whether :meth:`known` could name any id."""
        rows = self.database.execute(
            "SELECT 1 FROM delivered WHERE scope = ? LIMIT 1", (self.scope,)
        )
        return rows.fetchone() is not None

    def contents(self, entities: Iterable[str]) -> dict[str, tuple[bytes, str]]:
        """The last content digest and renewal sent of each of ``entities`` that was sent."""
        rows = self._select("SELECT entity, digest, renewal FROM content WHERE entity", entities)
        return {row[0]: (row[1], row[2]) for row in rows}

    def oldest_open(self, not_before: Ticks) -> Ticks | None:
        """The time of the oldest record since ``not_before`` that may still change."""
        row = self.database.execute(
            "SELECT min(time) FROM still_open WHERE scope = ? AND time >= ?",
            (self.scope, not_before),
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def export_mark(self) -> ExportMark | None:
        """How far the newest export was delivered."""
        row = self.database.execute(
            "SELECT generated, file, line FROM export WHERE scope = ?", (self.scope,)
        ).fetchone()
        return ExportMark(*row) if row else None

    def _select(self, head: str, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        wanted = list(keys)
        for start in range(0, len(wanted), _LOOK_UP):
            part = wanted[start : start + _LOOK_UP]
            marks = ",".join("?" * len(part))
            yield from self.database.execute(
                f"{head} IN ({marks}) AND scope = ?", (*part, self.scope)
            )

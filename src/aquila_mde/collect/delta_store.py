"""Where the changes of an export stream go on: on disk."""

from __future__ import annotations

from dataclasses import dataclass

from aquila_mde.collect.state import StreamStore
from aquila_mde.defender.times import Ticks


@dataclass(frozen=True, slots=True)
class Chain:
    """The newest full export, and the changes that are read one after the other."""

    full_export: str
    """``generatedTime`` of the newest export that was delivered whole, as the service wrote it.

    Empty as long as none was, and when the state was lost and it is not known which.
    """
    since: Ticks | None
    """When the changes begin, in the service's time; ``None``: they cannot be gone on with."""
    read_at: Ticks
    """When the last reading that they go on from began, by this machine's clock."""


class DeltaStore:
    """The chain of one stream. How far the changes were read is the stream's cursor."""

    def __init__(self, store: StreamStore) -> None:
        self._store = store

    def read(self) -> Chain | None:
        """The chain; ``None`` as long as no export was begun."""
        row = self._store.database.execute(
            "SELECT full_export, since, read_at FROM delta WHERE scope = ?", (self._store.scope,)
        ).fetchone()
        return Chain(*row) if row else None

    def begin(self, since: Ticks, read_at: Ticks) -> None:
        """Rows of the export that was made at ``since`` are about to be delivered.

        Changes begin there, unless there are earlier ones to go on with: should a newer export
        take its place before it was read to its end, what was fixed in between is told by them.
        """
        with self._store.change() as database:
            database.execute(
                "INSERT INTO delta (scope, full_export, since, read_at) VALUES (?, '', ?, ?) "
                "ON CONFLICT DO UPDATE SET "
                "read_at = iif(since IS NULL, excluded.read_at, read_at), "
                "since = coalesce(since, excluded.since)",
                (self._store.scope, since, read_at),
            )

    def complete(self, full_export: str, since: Ticks, read_at: Ticks) -> None:
        """An export was delivered whole.

        Changes begin at ``since`` unless there are earlier ones to go on with.
        """
        with self._store.change() as database:
            database.execute(
                "INSERT INTO delta (scope, full_export, since, read_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET full_export = excluded.full_export, "
                "read_at = iif(since IS NULL, excluded.read_at, read_at), "
                "since = coalesce(since, excluded.since)",
                (self._store.scope, full_export, since, read_at),
            )

    def restore(self, since: Ticks, read_at: Ticks) -> None:
        """Changes go on at ``since``, which an earlier state had reached."""
        with self._store.change() as database:
            database.execute(
                "INSERT OR REPLACE INTO delta (scope, full_export, since, read_at) "
                "VALUES (?, '', ?, ?)",
                (self._store.scope, since, read_at),
            )

    def move(self, read_at: Ticks) -> None:
        """Changes were read to their end."""
        with self._store.change() as database:
            database.execute(
                "UPDATE delta SET read_at = ? WHERE scope = ?", (read_at, self._store.scope)
            )

    def give_up(self) -> None:
        """The changes cannot be gone on with; a pass that was reading them is over."""
        with self._store.change() as database:
            scope = (self._store.scope,)
            database.execute("UPDATE delta SET since = NULL WHERE scope = ?", scope)
            database.execute("UPDATE scope SET cursor = NULL WHERE id = ?", scope)
            database.execute("DELETE FROM pass WHERE scope = ? AND sweep = 0", scope)

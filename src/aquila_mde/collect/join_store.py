"""The partners that records are joined with, and the records that wait for theirs: on disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from aquila_mde.collect.state import StreamStore, Waiting
from aquila_mde.defender.times import Ticks

_CACHED_BYTES = 16 << 20
_LOOK_UP = 500
_PER_ENTRY = 300
"""What an entry of the cache costs beside its bytes."""


@dataclass(frozen=True, slots=True)
class Partner:
    """What is put beside a record: JSON, and the digest of what makes a new version of it."""

    value: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class JoinCursor:
    """How far a collection that is read only to be joined was read, and when."""

    cursor: Ticks | None
    read_at: Ticks


class JoinStore:
    """The partners of one join of one stream, with the most used ones in memory."""

    def __init__(self, store: StreamStore, name: str) -> None:
        self._store = store
        self._name = name
        self._cache: OrderedDict[str, Partner | None] = OrderedDict()
        self._cached = 0

    def find(self, keys: Iterable[str]) -> dict[str, Partner]:
        """The partners that are known of ``keys``."""
        found: dict[str, Partner] = {}
        unknown: list[str] = []
        for key in dict.fromkeys(keys):
            if key in self._cache:
                self._cache.move_to_end(key)
                partner = self._cache[key]
                if partner is not None:
                    found[key] = partner
            else:
                unknown.append(key)
        found |= self._look_up(unknown)
        for key in unknown:
            self._remember(key, found.get(key))
        return found

    def put(self, partners: dict[str, Partner]) -> None:
        """Keep ``partners``; one that says nothing new is not written."""
        with self._store.change() as database:
            database.executemany(
                "INSERT INTO joined (scope, name, key, value, digest) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET value = excluded.value, digest = excluded.digest "
                "WHERE value <> excluded.value",
                [(*self._place, key, each.value, each.digest) for key, each in partners.items()],
            )
        for key in partners:
            if key in self._cache:
                self._cached -= _size(self._cache.pop(key))

    def cursor(self) -> JoinCursor | None:
        """How far the collection was read; ``None`` when it never was."""
        row = self._store.database.execute(
            "SELECT cursor, read_at FROM join_cursor WHERE scope = ? AND name = ?", self._place
        ).fetchone()
        return JoinCursor(*row) if row else None

    def move_cursor(self, cursor: Ticks | None, read_at: Ticks) -> None:
        """Note how far the collection was read."""
        with self._store.change() as database:
            database.execute(
                "INSERT OR REPLACE INTO join_cursor (scope, name, cursor, read_at) "
                "VALUES (?, ?, ?, ?)",
                (*self._place, cursor, read_at),
            )

    def arrived(self, limit: int) -> list[Waiting]:
        """Up to ``limit`` waiting documents whose partner is known now."""
        rows = self._store.database.execute(
            "SELECT w.name, w.key, w.id, w.document FROM waiting w JOIN joined j "
            "ON j.scope = w.scope AND j.name = w.name AND j.key = w.key "
            "WHERE w.scope = ? AND w.name = ? LIMIT ?",
            (*self._place, limit),
        )
        return [Waiting(*row) for row in rows]

    def count_waiting(self) -> int:
        """How many documents wait."""
        row = self._store.database.execute(
            "SELECT count(*) FROM waiting WHERE scope = ? AND name = ?", self._place
        ).fetchone()
        return int(row[0])

    def settle(self, done: Iterable[Waiting]) -> None:
        """The documents ``done`` wait no longer."""
        with self._store.change() as database:
            database.executemany(
                "DELETE FROM waiting WHERE scope = ? AND name = ? AND key = ? AND id = ?",
                [(*self._place, each.key, each.document_id) for each in done],
            )

    def give_up(self, before: Ticks) -> int:
        """Forget the documents that have waited since before ``before``; how many."""
        with self._store.change() as database:
            return database.execute(
                "DELETE FROM waiting WHERE scope = ? AND name = ? AND since < ?",
                (*self._place, before),
            ).rowcount

    @property
    def _place(self) -> tuple[int, str]:
        return self._store.scope, self._name

    def _look_up(self, keys: list[str]) -> dict[str, Partner]:
        found: dict[str, Partner] = {}
        for start in range(0, len(keys), _LOOK_UP):
            part = keys[start : start + _LOOK_UP]
            marks = ",".join("?" * len(part))
            query = "SELECT key, value, digest FROM joined WHERE scope = ? AND name = ? AND key IN "
            rows = self._store.database.execute(query + f"({marks})", (*self._place, *part))
            found |= {key: Partner(value, digest) for key, value, digest in rows}
        return found

    def _remember(self, key: str, partner: Partner | None) -> None:
        self._cache[key] = partner
        self._cached += _size(partner)
        while self._cached > _CACHED_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._cached -= _size(oldest)


def _size(partner: Partner | None) -> int:
    return _PER_ENTRY + (len(partner.value) if partner else 0)

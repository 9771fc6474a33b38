"""The partners that records are joined with, and the records that wait for theirs: on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from aquila_mde.collect.state import StreamStore, Waiting
from aquila_mde.defender.times import Ticks

_CACHED_BYTES = 16 << 20
_LOOK_UP = 500
_PER_ENTRY = 300
"""What an entry of the cache costs beside its bytes."""


class Partner(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What is put beside a record: JSON, and the digest of what makes a new version of it."""

    value: bytes
    digest: bytes


Found = tuple[bytes, bytes]
"""What is made of a partner's value, and its digest."""
NOBODY: Found = (b"", b"")
"""Stands for a partner that is not known. Told by identity from what else is empty."""
_NO_KEY: Found = (NOBODY[0], NOBODY[1])


@dataclass(frozen=True, slots=True)
class JoinCursor:
    """How far a collection that is read only to be joined was read, and when."""

    cursor: Ticks | None
    read_at: Ticks


class JoinStore:
    """The partners of one join of one stream, with those used lately in memory.

    They are in two halves. What is used comes into the younger one; when that is full it becomes
    the older one, and what was the older one until then is forgotten.
    """

    def __init__(self, store: StreamStore, name: str) -> None:
        self._store = store
        self._name = name
        self._form: Callable[[bytes], bytes] | None = None
        self.lacking = False
        """Whether :data:`NOBODY` was found at all since :meth:`form`."""
        self._younger: dict[str | None, Found] = {}
        self._older: dict[str | None, Found] = {}
        self._bytes = 0
        """What the younger half takes."""

    def form(self, form: Callable[[bytes], bytes]) -> None:
        """Let :meth:`find_each` give what ``form`` makes of a value, once for each partner."""
        if form != self._form:
            self._form = form
            self.lacking = False
            self._younger, self._older, self._bytes = {}, {}, 0

    def find(self, keys: Iterable[str]) -> dict[str, Partner]:
        """The partners that are known of ``keys``."""
        return {key: Partner(value, digest) for key, value, digest in self._read(list(keys))}

    def find_each(self, keys: Sequence[str | None]) -> list[Found]:
        """What is found for each of ``keys``, in order; :data:`NOBODY` where nothing is known.

        There may be records without a key among them, for which nothing is looked for.
        """
        try:
            return list(map(self._younger.__getitem__, keys))
        except KeyError:
            pairs = [(key, self._younger.get(key)) for key in keys]
        loaded = self._load({key for key, partner in pairs if partner is None})
        return [loaded[key] if partner is None else partner for key, partner in pairs]

    def put(self, partners: dict[str, Partner]) -> None:
        """Keep ``partners``; one that says nothing new is not written."""
        with self._store.change() as database:
            changed = database.executemany(
                "INSERT INTO joined (scope, name, key, value, digest) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET value = excluded.value, digest = excluded.digest "
                "WHERE value <> excluded.value",
                [(*self._place, key, each.value, each.digest) for key, each in partners.items()],
            ).rowcount
        if changed > 0:
            self._store.looked.discard(self._place)
        for key in partners:
            self._older.pop(key, None)
            if key in self._younger:
                self._bytes -= _size(self._younger.pop(key))

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
        if self._place in self._store.looked:
            return []
        # The keys first: their index holds no documents, and many wait for the same one.
        rows = self._store.database.execute(
            "WITH known AS (SELECT key FROM ("
            "SELECT DISTINCT key FROM waiting INDEXED BY waiting_key WHERE scope = ?1 AND name = ?2"
            ") AS w WHERE EXISTS ("
            "SELECT 1 FROM joined WHERE scope = ?1 AND name = ?2 AND key = w.key)) "
            "SELECT name, key, id, document FROM waiting "
            "WHERE scope = ?1 AND name = ?2 AND key IN known LIMIT ?3",
            (*self._place, limit),
        ).fetchall()
        if not rows:
            self._store.looked.add(self._place)
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

    def _load(self, keys: set[str | None]) -> dict[str | None, Found]:
        """What is found for ``keys``, in the older half or on disk; it is younger then."""
        found = {key: self._older[key] for key in keys if key in self._older}
        unknown = [key for key in keys if key and key not in found]
        for key, value, digest in self._read(unknown):
            found[key] = (value if self._form is None else self._form(value), digest)
        for each in keys:
            partner = found.setdefault(each, NOBODY if each else _NO_KEY)
            self.lacking = self.lacking or partner is NOBODY
            size = _size(partner)
            if self._bytes + size > _CACHED_BYTES // 2:
                self._older, self._younger, self._bytes = self._younger, {}, 0
            self._younger[each] = partner
            self._bytes += size
        return found

    def _read(self, keys: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
        for start in range(0, len(keys), _LOOK_UP):
            part = keys[start : start + _LOOK_UP]
            marks = ",".join("?" * len(part))
            query = "SELECT key, value, digest FROM joined WHERE scope = ? AND name = ? AND key IN "
            rows = self._store.database.execute(query + f"({marks})", (*self._place, *part))
            for key, value, digest in rows:
                # A line break can only be white space between tokens; in a bulk request it is none.
                yield key, value.replace(b"\n", b" "), digest


def _size(found: Found) -> int:
    return _PER_ENTRY + len(found[0])

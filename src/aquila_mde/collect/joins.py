"""What is put beside a record: which properties, where they come from, and what comes too late.

Partners are cut out of their records when these are read and kept on disk in the form in which
they go into a document, so that joining costs one look-up and no decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from aquila_mde.collect.document import with_join
from aquila_mde.collect.join_store import NOBODY, Found, JoinStore, Partner
from aquila_mde.collect.state import StreamStore, Waiting
from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.page_reader import Collection
from aquila_mde.defender.paging import read_since
from aquila_mde.defender.times import Ticks, format_ticks, ticks_of
from aquila_mde.elastic.bulk import Item
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.replace import replace
from aquila_mde.streams.casing import camel_case, spellings
from aquila_mde.streams.collect_spec import JoinedEndpoint, JoinSpec
from aquila_mde.streams.stream import Stream

_log = structlog.get_logger(__name__)
_FILLED_TOGETHER = 500
_MOST_WAITING = 100_000
"""Documents of one join that are kept to be completed: they lie in the state as a whole."""
_KEYS = frozenset({str, type(None)})
_JOINED_AT = "joinedAt"
"""Stands among the properties of a join whose documents shall say when they were joined."""


Missing = tuple[tuple[str, str], ...]
"""Name and key of each join of one record that has a key and found nothing."""


class Joined(msgspec.Struct, gc=False):
    """What the joins of some records found. Each list has an item for every record."""

    count: int
    members: list[list[bytes]]
    """Members of ``mde.join``, each beginning with its comma; nothing where nothing was found."""
    digests: list[list[bytes]]
    """One list for each join, in their order; empty where it found nothing."""
    missing: dict[int, Missing]
    """Of the records, by their place, of which a join with a key found nothing."""

    def told(self) -> list[tuple[bytes, ...]]:
        """The digests of each record."""
        return list(zip(*self.digests, strict=True)) if self.digests else [()] * self.count

    def only(self, places: Sequence[int]) -> Joined:
        """The same of those at ``places``, which are in order."""
        if len(places) == self.count:
            return self
        return Joined(
            len(places),
            [[column[place] for place in places] for column in self.members],
            [[column[place] for place in places] for column in self.digests],
            {new: self.missing[place] for new, place in enumerate(places) if place in self.missing},
        )


class Join:
    """One join of one stream."""

    def __init__(self, stream: Stream, name: str, store: StreamStore) -> None:
        self.name = name
        self.stream = stream.name
        self.spec: JoinSpec = stream.collect.joins[name]
        self.store = JoinStore(store, name)
        properties = stream.joined_properties[name]
        self._now: Ticks | None = None
        self._dated = _JOINED_AT in properties
        self._cut = _Cutter([each for each in properties if each != _JOINED_AT], self.spec.volatile)

    def values(self, now: Ticks, before: bytes = b"") -> Callable[[bytes], bytes]:
        """Makes of a partner its value in a document that is joined ``now``, behind ``before``."""
        if not self._dated:
            return lambda partner: before + partner
        end = f'"{_JOINED_AT}":"{format_ticks(now)}"}}'.encode()
        return lambda partner: before + partner[:-1] + (b"" if partner == b"{}" else b",") + end

    def find(self, keys: Sequence[str | None], now: Ticks) -> list[Found]:
        """For each of ``keys`` the member of ``mde.join``, beginning with its comma, and digest."""
        if now != self._now:
            self._now = now
            self.store.form(self.values(now, b',"%b":' % self.name.encode()))
        return self.store.find_each(keys)

    def learn(self, records: Iterable[msgspec.Raw | bytes], id_property: str) -> None:
        """Keep what the join takes of each of ``records``, named by ``id_property``."""
        partners: dict[str, Partner] = {}
        for record in records:
            key, partner = self._cut(record, id_property)
            if key:
                partners[key] = partner
        self.store.put(partners)


class Joins:
    """All joins of one stream; ``enabled`` are the streams that partners may still come from."""

    def __init__(self, stream: Stream, store: StreamStore, *, enabled: Iterable[str]) -> None:
        self.each = [Join(stream, name, store) for name in stream.collect.joins]
        self._keys = tuple(join.spec.key for join in self.each)
        """The properties that records are joined by, one for each join."""
        sources = frozenset(enabled)
        self._room = {
            join.name: _MOST_WAITING - join.store.count_waiting()
            for join in self.each
            if join.spec.fill_in is not None
            and (join.spec.stream is None or join.spec.stream in sources)
        }

    def find(self, values: Sequence[dict[str, Any]], now: Ticks) -> Joined:
        """What the joins find ``now`` for records with these ``values``."""
        keys = {name: [each.get(name) for each in values] for name in self._keys}
        return self.find_by(keys, len(values), now)

    def find_by(self, keys: Mapping[str, list[Any]], count: int, now: Ticks) -> Joined:
        """What the joins find ``now`` for ``count`` records whose properties these ``keys`` are."""
        found = Joined(count, [], [], {})
        missing: dict[int, list[tuple[str, str]]] = {}
        for join, name in zip(self.each, self._keys, strict=True):
            own = keys[name]
            if not _KEYS.issuperset(map(type, own)):
                own = [key if isinstance(key, str) else None for key in own]
            partners = join.find(own, now)
            members, digests = zip(*partners, strict=True) if partners else ((), ())
            found.members.append(list(members))
            found.digests.append(list(digests))
            if join.store.lacking:
                for place, partner in enumerate(partners):
                    if partner is NOBODY:
                        missing.setdefault(place, []).append((join.name, own[place]))
        if missing:
            found.missing = {place: tuple(each) for place, each in missing.items()}
            told = [b""] * count
            for place, each in missing.items():
                told[place] = b',"missing":' + msgspec.json.encode([name for name, _ in each])
            found.members.append(told)
        return found

    def wait(self, missing: Missing) -> bool:
        """Whether a document that has ``missing`` partners is remembered."""
        return any(self._room.get(name, 0) > 0 for name, _ in missing)

    def waiting(self, document_id: str, document: bytes, missing: Missing) -> list[Waiting]:
        """What has to be remembered to complete ``document`` when its partners arrive."""
        found = []
        for name, key in missing:
            room = self._room.get(name, 0)
            if room > 0:
                found.append(Waiting(name, key, document_id, document))
                self._room[name] = room - 1
        return found


async def refresh(join: Join, client: DefenderClient, *, now: Ticks) -> None:
    """Read what is new in the collection that ``join`` takes its partners from, if it has one."""
    source = join.spec.source
    if source is None:
        return
    held = join.store.cursor()
    if held is not None and 0 <= now - held.read_at < ticks_of(source.refresh):
        return
    cursor = held.cursor if held else None
    since = 0 if cursor is None else max(0, cursor - ticks_of(source.overlap))
    async for page in read_since(client, _collection(source), since, None, stream=join.stream):
        join.learn(page.records, source.id)
        if page.done_until is not None:
            cursor = page.done_until
    join.store.move_cursor(cursor, now)


async def fill_in(join: Join, engine: Engine, index: str, *, now: Ticks) -> int:
    """Complete the documents whose partner has arrived since; how many were.

    A document is replaced where it lies, so that there is still one of it.
    """
    if join.spec.fill_in is None:
        return 0
    filled, valued = 0, join.values(now)
    while waiting := join.store.arrived(_FILLED_TOGETHER):
        partners = join.store.find(each.key for each in waiting)
        items = [
            Item(
                each.document_id,
                with_join(each.document, join.name, valued(partners[each.key].value)),
            )
            for each in waiting
        ]
        filled += await replace(engine, index, items)
        join.store.settle(waiting)
    given_up = join.store.give_up(now - ticks_of(join.spec.fill_in))
    if filled or given_up:
        _log.info(
            "Records were joined after all",
            stream=join.stream,
            join=join.name,
            filled=filled,
            given_up=given_up,
        )
    return filled


class _Cutter:
    """Cuts the wanted properties out of a raw record without decoding them."""

    def __init__(self, properties: Sequence[str], volatile: Sequence[str]) -> None:
        self._volatile = frozenset(volatile)
        self._names: dict[str, str] = {}
        for name in ("id", *properties):
            for spelling in spellings(name):
                self._names.setdefault(spelling, name)
        self._wanted = frozenset(properties)
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def __call__(self, record: msgspec.Raw | bytes, id_property: str) -> tuple[str, Partner]:
        try:
            fields = self._decoder.decode(record)
        except msgspec.DecodeError:
            return "", Partner(b"", b"")
        key, kept = "", {}
        for spelling, value in fields.items():
            name = self._names.get(spelling) or camel_case(spelling)
            if name == id_property:
                key = _key(msgspec.json.decode(value))
            if name in self._wanted and bytes(value) != b"null":
                kept[name] = value
        steady = {name: value for name, value in kept.items() if name not in self._volatile}
        digest = hashlib.blake2b(msgspec.json.encode(steady, order="sorted"), digest_size=16)
        return key, Partner(msgspec.json.encode(kept, order="sorted"), digest.digest())


def _collection(source: JoinedEndpoint) -> Collection:
    return Collection(
        path=source.endpoint.path,
        page_size=source.endpoint.page_size,
        id_property=source.id,
        time_field=source.time_field,
        empty_on=source.endpoint.empty_on,
    )


def _key(value: Any) -> str:
    return value if isinstance(value, str) else ""

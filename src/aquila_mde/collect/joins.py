"""What is put beside a record: which properties, where they come from, and what comes too late.

Partners are cut out of their records when these are read and kept on disk in the form in which
they go into a document, so that joining costs one look-up and no decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from aquila_mde.collect.document import with_join
from aquila_mde.collect.join_store import JoinStore, Partner
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
_JOINED_AT = "joinedAt"
"""Stands among the properties of a join whose documents shall say when they were joined."""


class Joined(msgspec.Struct, frozen=True, gc=False):
    """What the joins of one record found."""

    names: tuple[str, ...]
    values: tuple[bytes, ...]
    """Members of ``mde.join`` by these names, each of them JSON."""
    digests: tuple[bytes, ...]
    """One for each join, in their order; empty where it found nothing."""
    missing: tuple[tuple[str, str], ...] = ()
    """Name and key of each join that has a key and found nothing."""


_ALONE = Joined((), (), ())


class Join:
    """One join of one stream."""

    def __init__(self, stream: Stream, name: str, store: StreamStore) -> None:
        self.name = name
        self.stream = stream.name
        self.spec: JoinSpec = stream.collect.joins[name]
        self.store = JoinStore(store, name)
        properties = stream.joined_properties[name]
        self._dated = _JOINED_AT in properties
        self._cut = _Cutter([each for each in properties if each != _JOINED_AT], self.spec.volatile)

    def member(self, partner: Partner, now: Ticks) -> bytes:
        """What ``partner`` is in a document that is joined ``now``."""
        return self.members([partner], now)[0]

    def members(self, partners: Iterable[Partner], now: Ticks) -> list[bytes]:
        """What each of ``partners`` is in a document that is joined ``now``; of nobody, nothing."""
        values = [partner.value for partner in partners]
        if not self._dated:
            return values
        date = f'"{_JOINED_AT}":"{format_ticks(now)}"}}'.encode()
        return [
            value and b"%b%b%b" % (value[:-1], b"" if value == b"{}" else b",", date)
            for value in values
        ]

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
        self._names = tuple(join.name for join in self.each)
        self._keys = tuple(join.spec.key for join in self.each)
        """The properties that records are joined by, one for each join."""
        sources = frozenset(enabled)
        self._room = {
            join.name: _MOST_WAITING - join.store.count_waiting()
            for join in self.each
            if join.spec.fill_in is not None
            and (join.spec.stream is None or join.spec.stream in sources)
        }

    def find(self, values: Sequence[dict[str, Any]], now: Ticks) -> list[Joined]:
        """What the joins find ``now`` for records with these ``values``, in order."""
        keys = {name: [each.get(name) for each in values] for name in self._keys}
        return self.find_by(keys, now) if keys else [_ALONE] * len(values)

    def find_by(self, keys: Mapping[str, list[Any]], now: Ticks) -> list[Joined]:
        """What the joins find ``now`` for records whose properties these ``keys`` are, in order."""
        own = [[key if key.__class__ is str else "" for key in keys[name]] for name in self._keys]
        partners = [join.store.find_each(each) for join, each in zip(self.each, own, strict=True)]
        members = [join.members(each, now) for join, each in zip(self.each, partners, strict=True)]
        digests = [[partner.digest for partner in each] for each in partners]
        return [
            Joined(self._names, found, told)
            if b"" not in found
            else self._in_part(found, told, key)
            for found, told, key in zip(
                zip(*members, strict=True),
                zip(*digests, strict=True),
                zip(*own, strict=True),
                strict=True,
            )
        ]

    def _in_part(
        self, members: tuple[bytes, ...], digests: tuple[bytes, ...], keys: tuple[str, ...]
    ) -> Joined:
        """What was found by some joins only; a join without a key misses nothing."""
        each = list(zip(self.each, members, keys, strict=True))
        found = {join.name: member for join, member, _ in each if member}
        missing = tuple((join.name, key) for join, member, key in each if key and not member)
        if missing:
            found["missing"] = msgspec.json.encode([name for name, _ in missing])
        return Joined(tuple(found), tuple(found.values()), digests, missing)

    def waiting(self, document_id: str, document: bytes, joined: Joined) -> list[Waiting]:
        """What has to be remembered to complete ``document`` when its partners arrive."""
        found = []
        for name, key in joined.missing:
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
    filled = 0
    while waiting := join.store.arrived(_FILLED_TOGETHER):
        partners = join.store.find(each.key for each in waiting)
        items = [
            Item(
                each.document_id,
                with_join(each.document, join.name, join.member(partners[each.key], now)),
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

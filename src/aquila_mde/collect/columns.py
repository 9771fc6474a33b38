"""The identity of a whole chunk of similar lines, read column by column.

An export has millions of rows, and what happens once for each of them is what it costs. So the
rows of a chunk are not looked at one after the other: each step is done for all of them at once,
by functions that are written in C. It gives the same ids as :class:`IdentityReader`, to which a
chunk is left that holds anything unusual.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import msgspec
from msgspec.structs import astuple

from aquila_mde.collect.document import escaped_lines
from aquila_mde.collect.identity import (
    ID_BYTES,
    PassContext,
    id_prefix,
    part_properties,
    part_reader,
    written_ids,
)
from aquila_mde.collect.properties import NO_TEXT, decoder
from aquila_mde.streams.casing import spellings
from aquila_mde.streams.collect_spec import CollectSpec

_REMEMBERED = 16_384
"""Ends of ids that are held: about 400 bytes each."""
_APART = "\n"
"""Put between what is worked on as one text."""


class Columns(msgspec.Struct, gc=False):
    """The lines of a chunk. What is a list has one item for each of them."""

    records: list[bytes]
    """As the content of a JSON string."""
    entities: list[str]
    keys: dict[str, list[Any]]
    """The properties that rows are joined by."""
    texts: list[tuple[msgspec.Raw, ...]]
    """The JSON texts of what else goes into an id, a list for each property."""
    others: list[list[bytes]]
    """The other spellings of each of these, as ``records`` would have them."""


class ColumnReader:
    """Reads the ids of whole chunks. Made by :meth:`of`, for streams that it can serve."""

    def __init__(self, spec: CollectSpec, tenant_id: str) -> None:
        parts, joins = spec.identity.parts, list(spec.joins)
        self._entity = spec.identity.entity
        self._prefix = _APART + id_prefix(tenant_id) + "\0"
        self._parts = [part_reader(part, joins) for part in parts[1:]]
        self._told_by = _told_by(spec)
        self._names = list(
            dict.fromkeys((self._entity, *(join.key for join in spec.joins.values())))
        )
        self._texts = list(dict.fromkeys(part_properties(parts[1:])))
        self._casings = [_Casing(self._names, self._texts, choice) for choice in (1, 0)]
        self._ends: dict[bytes, str] = {}
        self._ends_of: PassContext | None = None

    @classmethod
    def of(cls, spec: CollectSpec, tenant_id: str) -> ColumnReader | None:
        """A reader for the stream, if its rows are told by an id and by what many of them share."""
        first, *others = spec.identity.parts
        keys = {join.key for join in spec.joins.values()}
        fits = (
            spec.strategy == "export"
            and first.candidates == (spec.identity.entity,)
            and any(part.digest_of for part in others)
            and not any(part.content_except or part.otherwise for part in others)
            and keys.isdisjoint(part_properties(others))
            and len(_told_by(spec)) <= 1
        )
        return cls(spec, tenant_id) if fits else None

    def read(self, text: bytes) -> Columns | None:
        """The columns of the lines of ``text``; ``None`` where they have to be read one by one.

        That is when one of them is not an object, has no id, or when they are spelled in different
        ways.
        """
        records = None if b"\r" in text else escaped_lines(text)
        if records is None:
            return None
        readings = (casing.read(text, records) for casing in self._casings)
        return next((found for found in readings if found is not None), None)

    def ids(
        self, columns: Columns, context: PassContext, joined: Sequence[Sequence[bytes]]
    ) -> list[bytes] | None:
        """The ids of the rows; ``joined`` are the digests of what each join found.

        ``None`` where the rows have to be read one by one after all.
        """
        ends = self._ends_for(columns, context, [joined[place] for place in self._told_by])
        if ends is None:
            return None
        return written_ids(map(_digest, map(_hash, self._told(columns.entities, ends))))

    def _told(self, entities: list[str], ends: list[str]) -> list[bytes]:
        """What the ids are digests of: put together and parted again without a step for each."""
        pieces = [self._prefix] * (3 * len(entities))
        pieces[1::3] = entities
        pieces[2::3] = ends
        pieces[0] = self._prefix.removeprefix(_APART)
        found = "".join(pieces).encode().split(_APART.encode())
        if len(found) != len(entities):
            # An id has such a character in it.
            return [
                f"{pieces[0]}{entity}{end}".encode()
                for entity, end in zip(entities, ends, strict=True)
            ]
        return found

    def _ends_for(
        self, columns: Columns, context: PassContext, joined: Sequence[Sequence[bytes]]
    ) -> list[str] | None:
        """What is told of each row behind its name; few rows are the only ones with theirs."""
        if context is not self._ends_of or len(self._ends) > _REMEMBERED:
            self._ends.clear()
            self._ends_of = context
        # The digest comes last: it is the only one that may have such a byte in it.
        keys = list(map(b"\0".join, zip(*columns.texts, *joined, strict=True)))
        try:
            return list(map(self._ends.__getitem__, keys))
        except KeyError:
            for place, key in enumerate(keys):
                if key not in self._ends:
                    texts = [column[place] for column in columns.texts]
                    if _spelled_otherwise(texts, columns.others, columns.records[place]):
                        return None
                    self._ends[key] = self._end(texts, [each[place] for each in joined], context)
            return list(map(self._ends.__getitem__, keys))

    def _end(
        self, texts: Sequence[msgspec.Raw], digests: Sequence[bytes], context: PassContext
    ) -> str:
        values = {
            name: msgspec.json.decode(text)
            for name, text in zip(self._texts, texts, strict=True)
            if text is not NO_TEXT
        }
        found = dict(zip(self._told_by, digests, strict=True))
        joined = [found.get(place, b"") for place in range(max(found, default=-1) + 1)]
        return "".join("\0" + part(values, None, context, joined) for part in self._parts)


class _Casing:
    """Reads lines in which all properties are spelled in the same way."""

    def __init__(self, names: list[str], texts: list[str], choice: int) -> None:
        spelled = {name: spellings(name)[: choice + 1][-1] for name in (*names, *texts)}
        kinds: dict[str, Any] = {spelled[name]: Any for name in names}
        kinds |= {spelled[name]: msgspec.Raw for name in texts}
        self._decode = decoder(kinds, absent=msgspec.UNSET).decode_lines
        self._names = names
        self._others = {name: _others(name, spelled[name]) for name in spelled}
        self._others_of_texts = [self._others[name] for name in texts]

    def read(self, text: bytes, records: list[bytes]) -> Columns | None:
        """The columns of ``text`` with the lines ``records``; ``None`` if spelled otherwise."""
        try:
            columns = list(zip(*map(astuple, self._decode(text)), strict=True))
        except msgspec.DecodeError:
            return None
        entities, count = columns[0], len(self._names)
        if len(entities) != len(records) or set(map(type, entities)) != {str} or "" in entities:
            return None
        keys = dict(zip(self._names, map(list, columns[:count]), strict=True))
        for name, column in keys.items():
            if msgspec.UNSET in column:
                lacking = [at for at, value in enumerate(column) if value is msgspec.UNSET]
                if any(other in records[at] for other in self._others[name] for at in lacking):
                    return None
                for at in lacking:
                    column[at] = None
        texts = columns[count:]
        return Columns(records, keys[self._names[0]], keys, texts, self._others_of_texts)


def _told_by(spec: CollectSpec) -> list[int]:
    """The places of the joins whose digests go into an id."""
    names = [part.digest_of_join for part in spec.identity.parts]
    return [list(spec.joins).index(name) for name in names if name is not None]


def _others(name: str, spelling: str) -> list[bytes]:
    """The other spellings of ``name`` as an escaped record would have them."""
    return [b'\\"%b\\"' % each.encode() for each in spellings(name) if each != spelling]


def _spelled_otherwise(
    texts: Sequence[msgspec.Raw], others: Sequence[list[bytes]], record: bytes
) -> bool:
    """Whether what ``record`` lacks is there under another name.

    Looked at once for all rows that are alike in what goes into an id.
    """
    pairs = zip(texts, others, strict=True)
    return any(each in record for text, names in pairs if text is NO_TEXT for each in names)


_hash = partial(hashlib.blake2b, digest_size=ID_BYTES)
_digest = methodcaller("digest")

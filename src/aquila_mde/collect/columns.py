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
from operator import itemgetter, methodcaller
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
from aquila_mde.collect.properties import REFUSED, decoder
from aquila_mde.streams.casing import spellings
from aquila_mde.streams.collect_spec import CollectSpec

_REMEMBERED = 16_384
"""Ends of ids that are held: about 400 bytes each."""
_APART = "\n"
"""Put between what is worked on as one text."""
_FIRST_BYTES = set(b"{")


class Columns(msgspec.Struct, gc=False):
    """The lines of a chunk. What is a list has one item for each of them."""

    records: list[bytes]
    """As the content of a JSON string."""
    entities: list[str]
    keys: dict[str, list[Any]]
    """The properties that rows are joined by."""
    texts: list[bytes]
    """The JSON texts of what else goes into an id."""


class ColumnReader:
    """Reads the ids of whole chunks. Made by :meth:`of`, for streams that it can serve."""

    def __init__(self, spec: CollectSpec, tenant_id: str) -> None:
        parts, joins = spec.identity.parts, list(spec.joins)
        self._entity = spec.identity.entity
        self._prefix = _APART + id_prefix(tenant_id) + "\0"
        self._parts = [part_reader(part, joins) for part in parts[1:]]
        self._told_by = [
            joins.index(part.digest_of_join) for part in parts if part.digest_of_join is not None
        ]
        self._names = list(
            dict.fromkeys((self._entity, *(join.key for join in spec.joins.values())))
        )
        self._texts = list(dict.fromkeys(part_properties(parts[1:])))
        self._casings = [_Casing(self._names, self._texts, choice) for choice in (1, 0)]
        self._ends: dict[tuple[bytes, ...], str] = {}
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
        )
        return cls(spec, tenant_id) if fits else None

    def read(self, text: bytes) -> Columns | None:
        """The columns of the lines of ``text``; ``None`` where they have to be read one by one.

        That is when one of them is not an object, has no id, or when they are spelled in different
        ways.
        """
        records = None if b"\r" in text else escaped_lines(text)
        # A record across several lines, or several on one line, would be told apart wrongly.
        if not records or not all(records) or set(map(_first_byte, records)) != _FIRST_BYTES:
            return None
        for casing in self._casings:
            found = casing.read(text)
            if found is not None and len(found.entities) == len(records):
                found.records = records
                return found
        return None

    def ids(
        self, columns: Columns, context: PassContext, joined: Sequence[Sequence[bytes]]
    ) -> list[bytes]:
        """The ids of the rows; ``joined`` are the digests of what each join found."""
        ends = self._ends_for(columns, context, [joined[place] for place in self._told_by])
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
    ) -> list[str]:
        """What is told of each row behind its name; few rows are the only ones with theirs."""
        if context is not self._ends_of or len(self._ends) > _REMEMBERED:
            self._ends.clear()
            self._ends_of = context
        keys = list(zip(columns.texts, *joined, strict=True))
        try:
            return list(map(self._ends.__getitem__, keys))
        except KeyError:
            for key in set(keys).difference(self._ends):
                self._ends[key] = self._end(key, context)
            return list(map(self._ends.__getitem__, keys))

    def _end(self, key: tuple[bytes, ...], context: PassContext) -> str:
        texts = zip(self._texts, key[0].split(b"\0"), strict=True)
        values = {name: msgspec.json.decode(text) for name, text in texts if text}
        joined = dict(zip(self._told_by, key[1:], strict=True))
        digests = [joined.get(place, b"") for place in range(max(joined, default=-1) + 1)]
        return "".join("\0" + part(values, None, context, digests) for part in self._parts)


class _Casing:
    """Reads lines in which all properties are spelled in the same way."""

    def __init__(self, names: list[str], texts: list[str], choice: int) -> None:
        spelled = {name: spellings(name)[: choice + 1][-1] for name in (*names, *texts)}
        kinds: dict[str, Any] = {spelled[name]: Any for name in names}
        kinds |= {spelled[name]: msgspec.Raw for name in texts}
        # The others come last, so that what is looked for is found first.
        refused: dict[str, Any] = {
            spelling: REFUSED
            for name in spelled
            for spelling in spellings(name)
            if spelling not in kinds
        }
        self._decode = decoder(kinds | refused).decode_lines
        self._names = names
        self._of_names = itemgetter(slice(0, len(names)))
        self._of_texts = itemgetter(slice(len(names), len(kinds)))

    def read(self, text: bytes) -> Columns | None:
        """The columns of ``text`` without its records; ``None`` if it is spelled otherwise."""
        try:
            rows = list(map(astuple, self._decode(text)))
        except msgspec.DecodeError:
            return None
        columns = map(list, zip(*map(self._of_names, rows), strict=True))
        keys = dict(zip(self._names, columns, strict=True))
        entities = next(iter(keys.values()))
        if not all(entities) or set(map(type, entities)) != {str}:
            return None
        texts = list(map(b"\0".join, map(self._of_texts, rows)))
        return Columns([], entities, keys, texts)


_hash = partial(hashlib.blake2b, digest_size=ID_BYTES)
_digest = methodcaller("digest")
_first_byte = itemgetter(0)

"""The identity of a whole batch of similar rows, read column by column.

An export has millions of rows, and what happens once for each of them is what it costs. So the
rows of a batch are not looked at one after the other: each step is done for all of them at once,
by functions that are written in C. It gives the same ids as :class:`IdentityReader`, to which a
batch is left that holds anything unusual.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from aquila_mde.collect.identity import (
    ID_BYTES,
    PassContext,
    Version,
    id_prefix,
    part_properties,
    part_reader,
    written_ids,
)
from aquila_mde.collect.properties import NO_TEXT, Slots, picker, slots_decoder
from aquila_mde.streams.casing import spellings
from aquila_mde.streams.collect_spec import CollectSpec

_REMEMBERED = 16_384
"""Ends of ids that are held: about 400 bytes each."""


class Columns(msgspec.Struct, gc=False):
    """The rows of a batch. What is a list has one item for each of them."""

    entities: list[str]
    keys: dict[str, list[Any]]
    """The properties that rows are joined by."""
    texts: list[bytes]
    """The JSON texts of what else goes into an id."""


class ColumnReader:
    """Reads the versions of whole batches. Made by :meth:`of`, for streams that it can serve."""

    def __init__(self, spec: CollectSpec, tenant_id: str) -> None:
        parts, joins = spec.identity.parts, list(spec.joins)
        self._entity = spec.identity.entity
        self._prefix = id_prefix(tenant_id) + "\0"
        self._parts = [part_reader(part, joins) for part in parts[1:]]
        self._told_by = [
            joins.index(part.digest_of_join) for part in parts if part.digest_of_join is not None
        ]
        names = dict.fromkeys((self._entity, *(join.key for join in spec.joins.values())))
        self._names = list(names)
        self._texts = list(dict.fromkeys(part_properties(parts[1:])))
        kinds: dict[str, Any] = {each: Any for name in names for each in spellings(name)}
        kinds |= {each: msgspec.Raw for name in self._texts for each in spellings(name)}
        self._decode = slots_decoder(kinds)
        self._casings = [_Casing(self._names, self._texts, list(kinds), at) for at in (0, 1)]
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

    def read(self, records: Sequence[msgspec.Raw | bytes]) -> Columns | None:
        """The columns of ``records``; ``None`` where they have to be read one by one.

        That is when one of them is not an object, has no id, or when they are spelled in different
        ways.
        """
        try:
            slots = list(map(astuple, map(self._decode, records)))
        except msgspec.DecodeError:
            return None
        for casing in self._casings if slots else ():
            if casing.has_all_of(slots):
                names = dict(
                    zip(self._names, zip(*map(casing.names, slots), strict=True), strict=True)
                )
                entities = list(names[self._entity])
                if not all(entities) or set(map(type, entities)) != {str}:
                    return None
                texts = list(map(b"\0".join, map(casing.texts, slots)))
                return Columns(entities, {name: list(each) for name, each in names.items()}, texts)
        return None

    def versions(
        self, columns: Columns, context: PassContext, joined: Sequence[Sequence[bytes]]
    ) -> list[Version]:
        """The versions of the rows; ``joined`` are the digests of what each join found."""
        prefix, entities = self._prefix, columns.entities
        ends = self._ends_for(columns, context, [joined[place] for place in self._told_by])
        told = [prefix + entity + end for entity, end in zip(entities, ends, strict=True)]
        digest = hashlib.blake2b
        digests = [digest(text, digest_size=ID_BYTES).digest() for text in map(str.encode, told)]
        return [
            Version(document_id, entity, None, None, "", "")
            for document_id, entity in zip(written_ids(digests), entities, strict=True)
        ]

    def _ends_for(
        self, columns: Columns, context: PassContext, joined: Sequence[Sequence[bytes]]
    ) -> list[str]:
        """What is told of each row behind its name; few rows are the only ones with theirs."""
        if context is not self._ends_of or len(self._ends) > _REMEMBERED:
            self._ends.clear()
            self._ends_of = context
        keys = list(zip(columns.texts, *joined, strict=True))
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
    """Where the properties are when all are spelled in one way, and where there is nothing then."""

    def __init__(self, names: list[str], texts: list[str], slots: list[str], choice: int) -> None:
        spelled = {name: spellings(name)[: choice + 1][-1] for name in (*names, *texts)}
        self.names = picker([slots.index(spelled[name]) for name in names])
        self.texts: Callable[[Slots], Slots] = picker([slots.index(spelled[n]) for n in texts])
        others = [place for place, spelling in enumerate(slots) if spelling not in spelled.values()]
        self._others = picker(others)
        plain = {spelling for name in names for spelling in spellings(name)}
        self._nothing = tuple(None if slots[at] in plain else NO_TEXT for at in others)

    def has_all_of(self, rows: list[Slots]) -> bool:
        """Whether none of ``rows`` is spelled otherwise."""
        return all(map(self._nothing.__eq__, map(self._others, rows)))

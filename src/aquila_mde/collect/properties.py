"""Reads the few properties of a raw record that its identity is made of, in whichever spelling.

All spellings of all of them are fields of one struct, so that the rest of a record is skipped over
and never becomes an object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from msgspec.structs import astuple

from aquila_mde.streams.casing import camel_case, spellings

Slots = tuple[Any, ...]


class PropertyReader:
    """Reads the properties ``names``."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        slots = [spelling for name in self._names for spelling in spellings(name)]
        self._decode = decoder(dict.fromkeys(slots, Any)).decode
        self._places = [[slots.index(each) for each in spellings(name)] for name in self._names]
        self._camel, self._pascal = self._picker(0), self._picker(1)
        self._nothing = (None,) * len(self._names)

    def __call__(self, record: msgspec.Raw | bytes) -> dict[str, Any]:
        """The values of ``record``; of what is missing ``None``.

        Raises ``msgspec.DecodeError`` when it is no JSON object.
        """
        slots = astuple(self._decode(record))
        found = self._camel(slots)
        if found == self._nothing:
            found = self._pascal(slots)
        values = dict(zip(self._names, found, strict=True))
        if None in found:
            for name, places in zip(self._names, self._places, strict=True):
                values[name] = next((slots[at] for at in places if slots[at] is not None), None)
        return values

    def columns(self, records: Iterable[msgspec.Raw | bytes]) -> dict[str, list[Any]]:
        """The values of all ``records``, property by property, as they are called one by one.

        Raises ``msgspec.DecodeError`` when one of them is no JSON object.
        """
        # No tuple for each record: it is the garbage collector that would look at them.
        found = list(map(self._decode, records))
        columns = {}
        for name, places in zip(self._names, self._places, strict=True):
            column = list(map(attrgetter(slot(places[0])), found))
            for other in places[1:]:
                if None in column:
                    column = [
                        second if first is None else first
                        for first, second in zip(
                            column, map(attrgetter(slot(other)), found), strict=True
                        )
                    ]
            columns[name] = column
        return columns

    def _picker(self, choice: int) -> Callable[[Slots], Slots]:
        """Picks all names by their first or second spelling; some have one only."""
        return picker([places[: choice + 1][-1] for places in self._places])


def decoder(kinds: dict[str, Any], *, absent: Any = None) -> msgspec.json.Decoder[Any]:
    """Decodes the properties of these spellings, as ``Any``, or as ``Raw`` for its text.

    Each is an attribute of what is decoded, called by its :func:`slot`. What is missing is
    ``absent``, or :data:`NO_TEXT`.
    """
    fields = [
        (
            slot(place),
            kind,
            msgspec.field(name=spelling, default=NO_TEXT if kind is msgspec.Raw else absent),
        )
        for place, (spelling, kind) in enumerate(kinds.items())
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Record", fields, gc=False))


def slot(place: int) -> str:
    """The attribute that the property at ``place`` becomes."""
    return f"slot{place}"


NO_TEXT = msgspec.Raw()


def picker(places: Sequence[int]) -> Callable[[Slots], Slots]:
    """Picks what is at ``places``."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda slots: tuple(slots[place] for place in places)


def whole(record: msgspec.Raw | bytes) -> dict[str, Any]:
    """Every property of ``record`` that is not null, by its name in camel case.

    Raises ``msgspec.DecodeError`` when it is no JSON object.
    """
    decoded = msgspec.json.decode(record)
    if not isinstance(decoded, dict):
        raise msgspec.DecodeError("the record is not a JSON object")
    values: dict[str, Any] = {}
    for name, value in decoded.items():
        if value is not None:
            values.setdefault(camel_case(name), value)
    return values


def digest_of(values: dict[str, Any], paths: Sequence[str]) -> str:
    """128 bits over what is at ``paths``, in hexadecimal."""
    found = []
    for path in paths:
        value = _follow(values, path.split("."))
        # The order of a list of paths on disk says nothing; that of the commands of an action does.
        found.append(value if "[]" in path else canonical(value))
    encoded = msgspec.json.encode(found, order="sorted")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def canonical(value: Any) -> Any:
    """``value`` without nulls, and without order and repetition in its lists."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        items = [canonical(item) for item in value if item is not None]
        unique = {msgspec.json.encode(item, order="sorted"): item for item in items}
        return [unique[key] for key in sorted(unique)]
    return value


def top_of(path: str) -> str:
    """The property that ``path`` begins with."""
    return path.partition(".")[0].removesuffix("[]")


def _follow(value: Any, path: list[str]) -> Any:
    for position, step in enumerate(path):
        if not isinstance(value, dict):
            return None
        name = step.removesuffix("[]")
        value = next((value[key] for key in spellings(name) if key in value), None)
        if step.endswith("[]") and isinstance(value, list):
            return [_follow(item, path[position + 1 :]) for item in value]
    return value

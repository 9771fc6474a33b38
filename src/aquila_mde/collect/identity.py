"""Which version of which record this is: the document id, made from what collect.yml declares.

An id is 128 bits of BLAKE2b over the tenant and the declared parts, as 22 characters of URL-safe
base64: short of the 512 bytes that the engine allows whatever the parts hold, and the same on
every engine. Times enter as received, with all seven digits.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from operator import methodcaller
from typing import Any

import msgspec

from aquila_mde.collect.properties import (
    PropertyReader,
    canonical,
    digest_of,
    top_of,
    whole,
)
from aquila_mde.defender.times import Ticks, parse_each, parse_ticks, ticks_of
from aquila_mde.streams.casing import camel_case
from aquila_mde.streams.collect_spec import CollectSpec, Identity, Part

_SCHEME = "1"
ID_BYTES = 16
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_hash = partial(hashlib.blake2b, digest_size=ID_BYTES)
_digest = methodcaller("digest")


@dataclass(frozen=True, slots=True)
class PassContext:
    """What a part of an identity may need beside the record."""

    started: Ticks
    generated: Ticks | None = None
    """When the export that is being read was made."""


class Version(msgspec.Struct, frozen=True, gc=False):
    """One version of one record."""

    document_id: str
    entity: str
    time: Ticks | None
    """The value of the cursor's field; ``None`` where there is none or it is no time."""
    content: bytes | None
    """Digest of the content, for streams whose versions are told by it."""
    renewal: str
    """The day on which an unchanged record is indexed anew, or empty."""
    status: str
    """The value that says whether the record may still change, or empty."""


PartReader = Callable[[dict[str, Any], Any, PassContext, Sequence[bytes]], str]


class IdentityReader:
    """Reads the :class:`Version` of raw records of one stream.

    ``tenant_id`` is the first part of every id: tenants may share a data stream. ``time_field`` is
    the property that the cursor follows in this pass.
    """

    def __init__(self, spec: CollectSpec, tenant_id: str, *, time_field: str | None) -> None:
        identity, joins = spec.identity, list(spec.joins)
        self._prefix = id_prefix(tenant_id)
        self._nothing_joined = (b"",) * len(joins)
        self._entity = identity.entity
        self._time_field = time_field
        otherwise = spec.cursor.otherwise if spec.cursor else None
        self._status_field = otherwise.open.field if otherwise else None
        self._renewed_by = identity.renew.day_of if identity.renew else None
        self._content = next(
            (part.content_except for part in identity.parts if part.content_except is not None),
            None,
        )
        self._plain = _plain(identity)
        self._parts = [part_reader(part, joins) for part in identity.parts]
        self._named_otherwise = [part.candidates for part in identity.parts if part.otherwise]
        names = (
            self._entity,
            *part_properties(identity.parts),
            *(join.key for join in spec.joins.values()),
            *(name for name in (self._time_field, self._status_field) if name),
        )
        all_of_it = identity.by_content or any(
            part.columns_or_all is not None for part in identity.parts
        )
        self._properties = None if all_of_it else PropertyReader(dict.fromkeys(names))

    def read(self, record: msgspec.Raw | bytes, context: PassContext) -> Version:
        """The version of ``record``, joined with nothing: :meth:`values` and :meth:`version`."""
        return self.version(record, self.values(record), context, self._nothing_joined)

    def values(self, record: msgspec.Raw | bytes) -> dict[str, Any]:
        """The properties of ``record`` that its version is told by and it is joined by.

        Raises ``msgspec.DecodeError`` when it is no JSON object.
        """
        values = whole(record) if self._properties is None else self._properties(record)
        for names in self._named_otherwise:
            for name in names:
                if values.get(name):
                    break
            else:
                return whole(record) | values
        return values

    def columns(self, records: Iterable[msgspec.Raw | bytes]) -> dict[str, list[Any]] | None:
        """:meth:`values` of all ``records``, property by property.

        ``None`` where their versions have to be told one by one: one of them is no JSON object or
        lacks a part of its identity, or something else than single properties tells them.
        """
        if not self._plain or self._properties is None:
            return None
        try:
            columns = self._properties.columns(records)
        except msgspec.DecodeError:
            return None
        for name in self._plain:
            column = columns[name]
            if set(map(type, column)) != {str} or "" in column:
                return None
        return columns

    def versions(self, columns: dict[str, list[Any]]) -> list[Version]:
        """The version of each record of which :meth:`columns` has read ``columns``."""
        entities = columns[self._entity]
        parts = [columns[name] for name in self._plain]
        told = map("\0".join, zip(repeat(self._prefix), *parts, strict=False))
        digests = map(_digest, map(_hash, map(str.encode, told)))
        statuses = map(_text, columns[self._status_field]) if self._status_field else repeat("")
        return list(
            map(
                Version,
                b"\n".join(written_ids(digests)).decode().split("\n"),
                entities,
                _times(columns[self._time_field]) if self._time_field else repeat(None),
                repeat(None),
                repeat(""),
                statuses,
            )
        )

    def version(
        self,
        record: msgspec.Raw | bytes,
        values: dict[str, Any],
        context: PassContext,
        joined: Sequence[bytes],
    ) -> Version:
        """The version that ``record`` with these ``values`` is.

        ``joined`` are the digests of what its joins found, in their order; empty for nothing.
        """
        content = None
        if self._content is not None:
            content = content_digest(values, self._content)
        parts = [part(values, content, context, joined) for part in self._parts]
        renewal = ""
        if self._renewed_by:
            # A pass that is gone on with on another day would take the new day's for the old one.
            renewal = _text(values.get(self._renewed_by))[:10]
            parts.append(renewal)
        digest = hashlib.blake2b("\0".join((self._prefix, *parts)).encode(), digest_size=ID_BYTES)
        entity = _text(values.get(self._entity))
        if not entity:
            # Without a name of its own the record is told by everything it says.
            digest.update(record)
            entity = digest.hexdigest()
        return Version(
            written_ids([digest.digest()])[0].decode(),
            entity,
            _ticks(values.get(self._time_field)) if self._time_field else None,
            content,
            renewal,
            _text(values.get(self._status_field)) if self._status_field else "",
        )


def _plain(identity: Identity) -> tuple[str, ...]:
    """The properties that versions are told by, the entity among them, if nothing else is."""
    names = tuple(part.candidates[0] for part in identity.parts if part.candidates)
    simple = all(len(part.candidates) == 1 and not part.otherwise for part in identity.parts)
    if simple and identity.entity in names and identity.renew is None:
        return names
    return ()


def id_prefix(tenant_id: str) -> str:
    """What the text begins with that an id of this tenant is a digest of."""
    return f"{_SCHEME}\0{tenant_id}"


def written_ids(digests: Iterable[bytes]) -> list[bytes]:
    """Digests as the ids that they are written as, which are ASCII."""
    lines = b"".join(map(binascii.b2a_base64, digests))
    return lines.translate(_URL_SAFE, b"=").split(b"\n")[:-1]


def content_digest(values: dict[str, Any], except_paths: Iterable[str]) -> bytes:
    """128 bits over ``values`` without ``except_paths``, whatever the order of lists and keys."""
    kept = values
    for path in except_paths:
        kept = _without(kept, path.split("."))
    encoded = msgspec.json.encode(canonical(kept), order="sorted")
    return hashlib.blake2b(encoded, digest_size=16).digest()


def part_properties(parts: Iterable[Part]) -> Iterator[str]:
    """What ``parts`` read of a record, but for what stands in when something is missing."""
    for part in parts:
        yield from part.candidates
        yield from map(top_of, part.digest_of or ())


def part_reader(part: Part, joins: list[str]) -> PartReader:  # noqa: PLR0911 - one a kind
    """What reads ``part`` of a record; ``joins`` are the names of the joins, in order."""
    if part.digest_of is not None:
        paths = part.digest_of
        return lambda values, _content, _context, _joined: digest_of(values, paths)
    if part.content_except is not None:
        return lambda _values, content, _context, _joined: content.hex()
    if part.start_of is not None:
        return lambda _values, _content, context, _joined: str(context.started)
    if part.bucket_of_export is not None:
        length = ticks_of(part.bucket_of_export)
        return lambda _values, _content, context, _joined: str((context.generated or 0) // length)
    if part.digest_of_join is not None:
        place = joins.index(part.digest_of_join)
        return lambda _values, _content, _context, joined: joined[place].hex()
    if part.text is not None:
        text = part.text
        return lambda _values, _content, _context, _joined: text
    if part.columns_or_all is not None:
        columns = part.columns_or_all
        return lambda values, _content, _context, _joined: _columns_or_all(values, columns)
    return _named(part.candidates, part.otherwise)


def _named(names: tuple[str, ...], otherwise: tuple[str, ...]) -> PartReader:
    def named(
        values: dict[str, Any], _content: Any, _context: PassContext, _joined: Sequence[bytes]
    ) -> str:
        for name in names:
            value = values.get(name)
            if value is not None and value != "":
                return _text(value)
        return "\x01".join([_text(values.get(name)) for name in otherwise])

    return named


def _columns_or_all(values: dict[str, Any], columns: tuple[str, ...]) -> str:
    """What ``columns`` say or, where one of them says nothing, a digest of all ``values``."""
    found = [_text(values.get(name)) for name in columns]
    if found and all(found):
        return "\x01".join(found)
    return content_digest(values, ()).hex()


def _without(value: Any, path: list[str]) -> Any:
    if not isinstance(value, dict):
        return value
    name = path[0].removesuffix("[]")
    if len(path) == 1:
        return {key: item for key, item in value.items() if camel_case(key) != name}
    return {
        key: (
            [_without(element, path[1:]) for element in item]
            if isinstance(item, list)
            else _without(item, path[1:])
        )
        if camel_case(key) == name
        else item
        for key, item in value.items()
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(canonical(value), order="sorted").decode()


def _times(values: list[Any]) -> Sequence[Ticks | None]:
    try:
        return parse_each(values)
    except (TypeError, ValueError):
        return list(map(_ticks, values))


def _ticks(value: Any) -> Ticks | None:
    try:
        return parse_ticks(value) if isinstance(value, str) else None
    except ValueError:
        return None

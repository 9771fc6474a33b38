"""Which version of which record this is: the document id, made from what collect.yml declares.

An id is 128 bits of BLAKE2b over the tenant and the declared parts, as 22 characters of URL-safe
base64: short of the 512 bytes that the engine allows whatever the parts hold, and the same on
every engine. Times enter as received, with all seven digits.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from aquila_mde.defender.times import Ticks, parse_ticks, ticks_of
from aquila_mde.streams.casing import camel_case, spellings
from aquila_mde.streams.collect_spec import CollectSpec, Part

_SCHEME = "1"


@dataclass(frozen=True, slots=True)
class PassContext:
    """What a part of an identity may need beside the record."""

    started: Ticks
    generated: Ticks | None = None
    """When the export that is being read was made."""


@dataclass(frozen=True, slots=True)
class Version:
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


PartReader = Callable[[dict[str, Any], Any, PassContext, Mapping[str, bytes]], str]
_NO_JOINS: Mapping[str, bytes] = MappingProxyType({})


class IdentityReader:
    """Reads the :class:`Version` of raw records of one stream.

    ``tenant_id`` is the first part of every id: tenants may share a data stream. ``time_field`` is
    the property that the cursor follows in this pass.
    """

    def __init__(self, spec: CollectSpec, tenant_id: str, *, time_field: str | None) -> None:
        self._spec = spec
        self._prefix = f"{_SCHEME}\0{tenant_id}".encode()
        self._time_field = time_field
        otherwise = spec.cursor.otherwise if spec.cursor else None
        self._status_field = otherwise.open.field if otherwise else None
        self._renew = spec.identity.renew
        self._whole = spec.identity.by_content
        self._parts = [_reader(part) for part in spec.identity.parts]
        self._content = next(
            (
                part.content_except
                for part in spec.identity.parts
                if part.content_except is not None
            ),
            None,
        )
        self._names = {spelling: name for name in self._needed() for spelling in spellings(name)}
        self._decoder = msgspec.json.Decoder(
            type=msgspec.defstruct(
                "Identified",
                [
                    (f"p{number}", Any, msgspec.field(default=None, name=spelling))
                    for number, spelling in enumerate(self._names)
                ],
            )
        )
        self._fields = [(f"p{number}", name) for number, name in enumerate(self._names.values())]
        self._any = msgspec.json.Decoder()

    def read(self, record: msgspec.Raw | bytes, context: PassContext) -> Version:
        """The version of ``record``, joined with nothing: :meth:`values` and :meth:`version`."""
        return self.version(record, self.values(record), context, _NO_JOINS)

    def values(self, record: msgspec.Raw | bytes) -> dict[str, Any]:
        """The properties of ``record`` that its version is told by and it is joined by.

        Raises ``msgspec.DecodeError`` when it is no JSON object.
        """
        return self._values(record)

    def version(
        self,
        record: msgspec.Raw | bytes,
        values: dict[str, Any],
        context: PassContext,
        joined: Mapping[str, bytes],
    ) -> Version:
        """The version that ``record`` with these ``values`` is.

        ``joined`` are the digests of what its joins found, by name.
        """
        content = None
        if self._content is not None:
            content = content_digest(values, self._content)
        digest = hashlib.blake2b(self._prefix, digest_size=16)
        for part in self._parts:
            digest.update(b"\0")
            digest.update(part(values, content, context, joined).encode())
        entity = _text(values.get(self._spec.identity.entity))
        if not entity:
            # Without a name of its own the record is told by everything it says.
            digest.update(bytes(record))
            entity = digest.hexdigest()
        return Version(
            document_id=base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode(),
            entity=entity,
            time=_ticks(values.get(self._time_field)) if self._time_field else None,
            content=content,
            renewal=_text(values.get(self._renew.day_of))[:10] if self._renew else "",
            status=_text(values.get(self._status_field)) if self._status_field else "",
        )

    def _values(self, record: msgspec.Raw | bytes) -> dict[str, Any]:
        if self._whole:
            decoded = self._any.decode(record)
            if not isinstance(decoded, dict):
                raise msgspec.DecodeError("the record is not a JSON object")
            values: dict[str, Any] = {}
            for name, value in decoded.items():
                if value is not None:
                    values.setdefault(camel_case(name), value)
            return values
        struct = self._decoder.decode(record)
        values = {}
        for attribute, name in self._fields:
            value = getattr(struct, attribute)
            if value is not None:
                values.setdefault(name, value)
        return values

    def _needed(self) -> Iterable[str]:
        names = {self._spec.identity.entity: None}
        for part in self._spec.identity.parts:
            for name in (*part.candidates, *part.otherwise):
                names[name] = None
            for path in part.digest_of or ():
                names[path.split(".")[0].removesuffix("[]")] = None
        for join in self._spec.joins.values():
            names[join.key] = None
        for extra in (self._time_field, self._status_field):
            if extra:
                names[extra] = None
        return names


def content_digest(values: dict[str, Any], except_paths: Iterable[str]) -> bytes:
    """128 bits over ``values`` without ``except_paths``, whatever the order of lists and keys."""
    kept = values
    for path in except_paths:
        kept = _without(kept, path.split("."))
    encoded = msgspec.json.encode(_canonical(kept), order="sorted")
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _reader(part: Part) -> PartReader:
    if part.digest_of is not None:
        paths = [path.split(".") for path in part.digest_of]
        return lambda values, _content, _context, _joined: _digest(values, paths)
    if part.content_except is not None:
        return lambda _values, content, _context, _joined: content.hex()
    if part.start_of is not None:
        return lambda _values, _content, context, _joined: str(context.started)
    if part.bucket_of_export is not None:
        length = ticks_of(part.bucket_of_export)
        return lambda _values, _content, context, _joined: str((context.generated or 0) // length)
    if part.digest_of_join is not None:
        join = part.digest_of_join
        return lambda _values, _content, _context, joined: joined.get(join, b"").hex()
    names, otherwise = part.candidates, part.otherwise

    def named(
        values: dict[str, Any], _content: Any, _context: PassContext, _joined: Mapping[str, bytes]
    ) -> str:
        for name in names:
            value = values.get(name)
            if value is not None and value != "":
                return _text(value)
        return "\x01".join(_text(values.get(name)) for name in otherwise)

    return named


def _digest(values: dict[str, Any], paths: list[list[str]]) -> str:
    found = [_follow(values, path) for path in paths]
    # The order of a list of paths on disk says nothing; that of the commands of an action does.
    found = [
        value if any(step.endswith("[]") for step in path) else _canonical(value)
        for value, path in zip(found, paths, strict=True)
    ]
    encoded = msgspec.json.encode(found, order="sorted")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def _follow(value: Any, path: list[str]) -> Any:
    for position, step in enumerate(path):
        if not isinstance(value, dict):
            return None
        name = step.removesuffix("[]")
        value = next((value[key] for key in spellings(name) if key in value), None)
        if step.endswith("[]") and isinstance(value, list):
            return [_follow(item, path[position + 1 :]) for item in value]
    return value


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


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        items = [_canonical(item) for item in value if item is not None]
        unique = {msgspec.json.encode(item, order="sorted"): item for item in items}
        return [unique[key] for key in sorted(unique)]
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(_canonical(value), order="sorted").decode()


def _ticks(value: Any) -> Ticks | None:
    try:
        return parse_ticks(value) if isinstance(value, str) else None
    except ValueError:
        return None

"""The tenant's side of "the index holds what the tenant holds".

Counts and version keys are taken from the tenant's own state, with the identity that each stream's
``collect.yml`` declares, and with none of the collector's code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from aquila_mde.simulator.clock import duration, format_time
from aquila_mde.streams.collect_spec import CollectSpec, Part

VersionKey = tuple[str, ...]
"""One text for each part of the identity that the tenant can know.

A property stands as it is sent; a digest of properties or of the content is a hash of their
canonical JSON; a bucket of the export is the time it starts. ``start_of: pass`` is left out: only
the collector knows it.
"""


def version_key(
    spec: CollectSpec, record: Mapping[str, Any], generated: int | None = None
) -> VersionKey:
    """The key of the version that ``record`` is; ``generated`` is its export's time."""
    found: list[str] = []
    for part in spec.identity.parts:
        if part.candidates:
            found.append(_named(part, record))
        elif part.digest_of is not None:
            found.append(_digest([list(_values(record, path)) for path in part.digest_of]))
        elif part.content_except is not None:
            left_out = set(part.content_except)
            found.append(_digest({k: v for k, v in record.items() if k not in left_out}))
        elif part.bucket_of_export is not None and generated is not None:
            found.append(format_time(generated - generated % duration(part.bucket_of_export)))
    return tuple(found)


def entity_key(spec: CollectSpec, record: Mapping[str, Any]) -> str:
    """The id of the thing that ``record`` is a version of."""
    return str(record.get(spec.identity.entity))


def _named(part: Part, record: Mapping[str, Any]) -> str:
    for name in part.candidates:
        if record.get(name) is not None:
            return str(record[name])
    return "\0".join(str(record.get(name)) for name in part.otherwise)


def _values(record: Any, path: str) -> Iterable[Any]:
    name, _, rest = path.partition(".")
    held = record.get(name.removesuffix("[]")) if isinstance(record, Mapping) else None
    items = (held if isinstance(held, list) else []) if name.endswith("[]") else [held]
    for item in items:
        if rest:
            yield from _values(item, rest)
        else:
            yield item


def _digest(value: Any) -> str:
    canonical = msgspec.json.encode(_sorted(value), order="sorted")
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items()}
    if isinstance(value, list):
        items = [_sorted(item) for item in value]
        return sorted(items, key=lambda item: msgspec.json.encode(item, order="sorted"))
    return value

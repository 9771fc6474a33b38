"""The paths the tenant serves: who may read them, how often, and what lies behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aquila_mde.errors import ConfigurationError
from aquila_mde.simulator.changes import Changes
from aquila_mde.simulator.clock import parse_time
from aquila_mde.simulator.collection import Collection, EntityType
from aquila_mde.simulator.export_files import VulnerabilityExport
from aquila_mde.simulator.odata import Kind
from aquila_mde.simulator.tenant import Tenant
from aquila_mde.streams.collect_spec import Endpoint as DeclaredEndpoint
from aquila_mde.streams.stream import Stream

_SINGLE_QUOTA = (100, 1500)
Source = Collection | VulnerabilityExport | Changes
"""What may lie behind an endpoint."""


@dataclass(frozen=True)
class Endpoint:
    """One path below ``/api``."""

    path: str
    permission: str
    per_minute: int
    per_hour: int
    stream: Stream | None
    source: str | Source
    """The name of one of the tenant's own collections, or a source of its own."""

    def records(self, tenant: Tenant) -> Source:
        """What is read through the endpoint."""
        if isinstance(self.source, str):
            held: Source = getattr(tenant, self.source)
            return held
        return self.source

    @property
    def single_quota(self) -> tuple[str, int, int]:
        """The quota of ``path/{id}``."""
        return f"{self.path}/{{id}}", *_SINGLE_QUOTA


_OWN = {
    "/api/alerts": "alerts",
    "/api/machines": "machines",
    "/api/machineactions": "actions",
    "/api/machines/softwarevulnerabilitiesexport": "export",
    "/api/machines/softwarevulnerabilitychangesbymachine": "changes",
    "/api/vulnerabilities": "vulnerabilities",
}


def endpoints(
    streams: Sequence[Stream],
    extra: Mapping[str, Sequence[Mapping[str, Any]]],
    tenant: Tenant,
    folder: Path,
) -> dict[str, Endpoint]:
    """Every endpoint by its path in small letters.

    ``extra`` are objects for further paths. Each needs a stream, which says who may read it;
    a stream whose path nobody has objects for is an empty collection.
    """
    found: dict[str, Endpoint] = {}
    objects = {path.lower(): values for path, values in extra.items()}
    for stream in streams:
        if stream.collect.strategy == "hunting":
            # Queries are asked, not collections read: hunting_http.py.
            continue
        declared = stream.collect.endpoint
        path = declared.path.lower()
        source: str | Source
        if path in _OWN and path not in objects:
            source = _OWN[path]
        elif stream.collect.strategy == "export":
            source = _export_of(stream.name, objects.get(path, ()), tenant, folder)
        else:
            source = _collection_of(stream, objects.get(path, ()))
        quota = declared.quota
        found[path] = Endpoint(
            declared.path, declared.permission, quota.per_minute, quota.per_hour, stream, source
        )
    if unknown := sorted(path for path in extra if path.lower() not in found):
        raise ConfigurationError(
            f"No stream of the package reads {', '.join(unknown)}",
            hint="Add data_stream/<name>/collect.yml with that endpoint: it names the permission.",
        )
    for endpoint, own in _further_endpoints(streams, found):
        path = endpoint.path.lower()
        if path not in found and (own is not None or path in _OWN):
            quota = endpoint.quota
            found[path] = Endpoint(
                endpoint.path,
                endpoint.permission,
                quota.per_minute,
                quota.per_hour,
                None,
                own or _OWN[path],
            )
    return found


def _further_endpoints(
    streams: Sequence[Stream], found: Mapping[str, Endpoint]
) -> Iterator[tuple[DeclaredEndpoint, Source | None]]:
    """What streams read beside their own endpoint: changes, and collections to be joined.

    The changes of an export that was given are its own.
    """
    for stream in streams:
        spec = stream.collect
        if spec.strategy == "hunting":
            continue
        for endpoint in list(spec.endpoints())[1:]:
            export = found[spec.endpoint.path.lower()].source
            is_delta = spec.delta is not None and endpoint is spec.delta.endpoint
            if is_delta and isinstance(export, VulnerabilityExport):
                yield endpoint, export.changes
            else:
                yield endpoint, None


def _export_of(
    name: str, objects: Sequence[Mapping[str, Any]], tenant: Tenant, folder: Path
) -> VulnerabilityExport:
    made = tenant.empty_export(folder, name)
    made.added = {str(number): dict(values) for number, values in enumerate(objects)}
    current = tenant.export.current
    made.take_snapshot(current.generated, 0, (), current.casing, 0)
    return made


def _collection_of(stream: Stream, objects: Sequence[Mapping[str, Any]]) -> Collection:
    properties: dict[str, Kind] = {}
    for values in objects:
        for name, value in values.items():
            kind = _kind(value)
            if kind is not None:
                properties[name] = kind if properties.get(name, kind) == kind else "text"
    name = stream.collect.endpoint.path.rsplit("/", 1)[-1]
    expand = stream.collect.endpoint.expand
    entity = EntityType(
        name[0].upper() + name[1:],
        f"microsoft.windowsDefenderATP.api.{stream.name}",
        properties,
        expandable=expand[0] if expand else None,
        key=stream.collect.identity.entity,
    )
    return Collection(entity, objects)


def _kind(value: Any) -> Kind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "texts" if all(isinstance(item, str) for item in value) else None
    if not isinstance(value, str):
        return None
    try:
        parse_time(value)
    except ValueError:
        return "text"
    return "time"

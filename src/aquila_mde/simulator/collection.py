"""A collection of the tenant: serialised records, and the columns that a filter may name.

Records are kept as the JSON bytes they are sent as, so that a page is a join of bytes. They lie in
storage order, which is nobody's sort order: in one of several shards, told by the id, and there
at the end when they are new or were changed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aquila_mde.simulator.clock import parse_time
from aquila_mde.simulator.odata import Kind, Predicate

_EMPTY_LIST = msgspec.Raw(b"[]")
_SHARDS = 256


@dataclass(frozen=True)
class EntityType:
    """What one collection holds and what may be asked of it."""

    name: str
    """As in ``@odata.context``."""
    type_name: str
    properties: Mapping[str, Kind]
    """Documented for ``$filter``."""
    page_cap: int = 10_000
    expandable: str | None = None
    """The property that is empty unless it is expanded."""
    key: str = "id"
    more_properties: Mapping[str, Kind] = field(default_factory=dict)
    """Not documented for ``$filter``, taken by some services all the same."""


ALERTS = EntityType(
    "Alerts",
    "microsoft.windowsDefenderATP.api.Alert",
    {
        "id": "text",
        "alertCreationTime": "time",
        "lastUpdateTime": "time",
        "lastEventTime": "time",
        "incidentId": "number",
        "investigationId": "number",
        "assignedTo": "text",
        "detectionSource": "text",
        "status": "text",
        "severity": "text",
        "category": "text",
    },
    expandable="evidence",
)
MACHINES = EntityType(
    "Machines",
    "microsoft.windowsDefenderATP.api.Machine",
    {
        "id": "text",
        "computerDnsName": "text",
        "version": "text",
        "deviceValue": "text",
        "aadDeviceId": "text",
        "machineTags": "texts",
        "lastSeen": "time",
        "exposureLevel": "text",
        "onboardingStatus": "text",
        "lastIpAddress": "text",
        "healthStatus": "text",
        "osPlatform": "text",
        "riskScore": "text",
        "rbacGroupId": "number",
    },
)
ACTIONS = EntityType(
    "MachineActions",
    "microsoft.windowsDefenderATP.api.MachineAction",
    {
        "id": "text",
        "status": "text",
        "machineId": "text",
        "type": "text",
        "requestor": "text",
        "creationDateTimeUtc": "time",
    },
    more_properties={"lastUpdateDateTimeUtc": "time"},
)
VULNERABILITIES = EntityType(
    "Vulnerabilities",
    "microsoft.windowsDefenderATP.api.Vulnerability",
    {
        "id": "text",
        "name": "text",
        "description": "text",
        "cvssV3": "number",
        "publishedOn": "time",
        "severity": "text",
        "updatedOn": "time",
    },
    page_cap=8_000,
)


class Record(msgspec.Struct, frozen=True):
    """One version of one record."""

    id: str
    body: bytes
    lean: bytes
    """The body as it is when nothing is expanded."""
    columns: dict[str, Any]

    def values(self) -> dict[str, Any]:
        """The record as objects."""
        values: dict[str, Any] = msgspec.json.decode(self.body)
        return values


class Collection:
    """The records of one type, in storage order."""

    def __init__(self, entity: EntityType, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self.entity = entity
        self._kinds = {**entity.properties, **entity.more_properties}
        self._shards: list[dict[str, Record]] = [{} for _ in range(_SHARDS)]
        self._encoder = msgspec.json.Encoder()
        for values in records:
            self.put(values)

    def put(self, values: Mapping[str, Any]) -> Record:
        """Add the record, or replace the one with its id; it then lies last in its shard."""
        record = self._record(values)
        shard = self._shard(record.id)
        shard.pop(record.id, None)
        shard[record.id] = record
        return record

    def change(self, key: str, changes: Mapping[str, Any]) -> Record:
        """Replace properties of one record. Raises :class:`KeyError` when it is not there."""
        return self.put({**self._shard(key)[key].values(), **changes})

    def remove(self, key: str) -> None:
        """Take the record away. Raises :class:`KeyError` when it is not there."""
        del self._shard(key)[key]

    def get(self, key: str) -> Record | None:
        """The record, or None."""
        return self._shard(key).get(key)

    def select(self, predicate: Predicate | None) -> list[Record]:
        """The records that match, in storage order."""
        if predicate is None:
            return list(self)
        return [record for record in self if predicate(record.columns)]

    def ids(self) -> list[str]:
        """Every id, in storage order."""
        return [record.id for record in self]

    def __iter__(self) -> Iterator[Record]:
        for shard in self._shards:
            yield from shard.values()

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    def __contains__(self, key: str) -> bool:
        return key in self._shard(key)

    def _shard(self, key: str) -> dict[str, Record]:
        return self._shards[zlib.crc32(key.encode()) % _SHARDS]

    def _record(self, values: Mapping[str, Any]) -> Record:
        body = self._encoder.encode(values)
        lean = body
        if self.entity.expandable is not None:
            lean = self._encoder.encode({**values, self.entity.expandable: _EMPTY_LIST})
        columns = {name: _column(values.get(name), kind) for name, kind in self._kinds.items()}
        return Record(str(values[self.entity.key]), body, lean, columns)


def _column(value: Any, kind: Kind) -> Any:
    if value is None or isinstance(value, dict):
        return None
    if kind == "time":
        return parse_time(value)
    if kind == "texts":
        return tuple(value)
    return str(value) if kind == "text" else value

"""The tables of advanced hunting: rows that follow from the seed and the hour.

Nothing is kept of them. What happened in an hour is drawn from the seed and the number of the
hour, so a query makes just the hours that it looks at, and gets the same rows every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

from aquila_mde.simulator.clock import DAY, HOUR, duration, parse_time
from aquila_mde.simulator.kql.table import Table
from aquila_mde.simulator.kql.values import Moment
from aquila_mde.simulator.seeds import hex_of, random_of
from aquila_mde.simulator.signals import endpoint, logon, mail
from aquila_mde.simulator.signals.parts import Maker, Row
from aquila_mde.simulator.tenant import Tenant

HISTORY = 30 * DAY
"""How far back the tables reach."""
_HOURS_KEPT = 4_000


@dataclass(frozen=True)
class TableSpec:
    """One table."""

    usual: Maker
    """What happens in it all the time."""
    happens: tuple[Maker, ...]
    """What happens now and then: each about every second hour."""
    of_device: bool = True
    graph_only: bool = False


TABLES: dict[str, TableSpec] = {
    "DeviceProcessEvents": TableSpec(endpoint.usual_process, endpoint.PROCESS),
    "DeviceNetworkEvents": TableSpec(endpoint.usual_connection, endpoint.NETWORK),
    "DeviceFileEvents": TableSpec(endpoint.usual_file, endpoint.FILE),
    "DeviceRegistryEvents": TableSpec(endpoint.usual_value, endpoint.REGISTRY),
    "DeviceLogonEvents": TableSpec(logon.usual_logon, logon.LOGON),
    "DeviceEvents": TableSpec(endpoint.usual_event, endpoint.EVENT),
    "DeviceImageLoadEvents": TableSpec(endpoint.usual_image, endpoint.IMAGE),
    "EmailEvents": TableSpec(mail.usual_mail, mail.MAIL, False, True),
    "EmailAttachmentInfo": TableSpec(mail.usual_attachment, mail.ATTACHMENT, False, True),
    "EmailPostDeliveryEvents": TableSpec(mail.usual_removal, mail.REMOVED, False, True),
    "UrlClickEvents": TableSpec(mail.usual_click, mail.CLICK, False, True),
    "IdentityLogonEvents": TableSpec(logon.usual_identity, logon.IDENTITY, False, True),
    "IdentityDirectoryEvents": TableSpec(logon.usual_directory, logon.DIRECTORY, False, True),
    "IdentityQueryEvents": TableSpec(logon.usual_question, logon.QUESTION, False, True),
}
_OF_THE_TENANT = {
    "DeviceInfo": (
        *("Timestamp", "DeviceId", "DeviceName", "ReportId", "OSPlatform", "OSBuild"),
        *("OSArchitecture", "PublicIP", "MachineGroup", "OnboardingStatus", "SensorHealthState"),
        *("ExposureLevel", "IsInternetFacing", "DeviceType", "LoggedOnUsers"),
    ),
    "AlertInfo": (
        *("Timestamp", "AlertId", "Title", "Category", "Severity", "ServiceSource"),
        *("DetectionSource", "AttackTechniques"),
    ),
    "AlertEvidence": (
        *("Timestamp", "AlertId", "EntityType", "EvidenceRole", "DeviceId", "DeviceName"),
        *("FileName", "FolderPath", "SHA256", "RemoteIP", "AccountName", "AccountDomain"),
    ),
}
_NUMBERS = {name: number for number, name in enumerate(TABLES)}


class HuntingTables:
    """The tables of one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._hour = lru_cache(_HOURS_KEPT)(self._made)
        self._columns: dict[str, tuple[str, ...]] = {}

    def table(
        self, name: str, since: int | None, until: int | None, *, graph: bool
    ) -> Table | None:
        """What can be seen now of a table, by its time; None for no table of this API.

        Without ``since`` and ``until`` it is everything of the last 30 days.
        """
        now = self._tenant.clock.now()
        first = max(now - HISTORY, since or 0)
        last = min(now + 1, until if until is not None else now + 1)
        if name in _OF_THE_TENANT:
            rows = sorted(self._of_tenant(name, first, last), key=_time)
            return Table(_OF_THE_TENANT[name], rows)
        spec = TABLES.get(name)
        if spec is None or (spec.graph_only and not graph):
            return None
        found: list[Row] = []
        density = self._tenant.quirks.hunting_rows_per_hour
        late = (self._tenant.quirks.late_share, duration(self._tenant.quirks.hunting_late_by))
        for hour in range(first // HOUR, -(-last // HOUR)):
            for visible, row in self._hour(name, hour, density, late):
                if first <= row["Timestamp"].ticks < last and visible <= now:
                    found.append(row)
        return Table(self._columns_of(name), found)

    def _made(
        self, name: str, hour: int, density: int, late: tuple[float, int]
    ) -> list[tuple[int, Row]]:
        """The rows of one hour, each with the time from which on it can be seen."""
        spec = TABLES[name]
        rng = random_of(self._tenant.seed, "hunt", hour * len(TABLES) + _NUMBERS[name])
        devices = self._devices()
        if spec.of_device and not devices:
            return []
        columns = self._columns_of(name)
        found: list[tuple[int, Row]] = []
        for maker in [*[spec.usual] * density, *(m for m in spec.happens if rng.random() < 0.5)]:
            at = hour * HOUR + rng.randrange(HOUR)
            device = rng.choice(devices) if spec.of_device else {}
            for number, row in enumerate(maker(rng)):
                when = min(at + number * 7_654_321, hour * HOUR + HOUR - 1)
                visible = when + (rng.randrange(late[1] or 1) if rng.random() < late[0] else 0)
                head = {"Timestamp": Moment(when), **device, "ReportId": _report(rng, spec)}
                found.append((visible, dict.fromkeys(columns) | head | _times(row, when)))
        return sorted(found, key=lambda each: _time(each[1]))

    def _columns_of(self, name: str) -> tuple[str, ...]:
        if name not in self._columns:
            spec, rng = TABLES[name], Random(0)  # noqa: S311 - only for the names of the columns
            head = ["Timestamp", *(("DeviceId", "DeviceName") if spec.of_device else ())]
            made = [_times(row, 0) for maker in (spec.usual, *spec.happens) for row in maker(rng)]
            names = [*head, "ReportId", *(key for row in made for key in row)]
            self._columns[name] = tuple(dict.fromkeys(names))
        return self._columns[name]

    def _devices(self) -> list[Row]:
        return [
            {"DeviceId": each.id, "DeviceName": (each.name or "").lower()}
            for each in self._tenant.devices
        ]

    def _of_tenant(self, name: str, first: int, last: int) -> Iterator[Row]:
        make: Callable[[dict[str, Any]], Iterator[Row]]
        if name == "DeviceInfo":
            for record in self._tenant.machines:
                yield from _reports(record.values(), first, last)
            return
        make = _alert_info if name == "AlertInfo" else _alert_evidence
        for record in self._tenant.alerts:
            for row in make(record.values()):
                if first <= _time(row) < last:
                    yield row


def _time(row: Row) -> int:
    return int(row["Timestamp"].ticks)


def _report(rng: Random, spec: TableSpec) -> Any:
    return rng.randrange(1, 1_000_000) if spec.of_device else f"{hex_of(rng, 12)}-{hex_of(rng, 8)}"


def _times(row: Row, when: int) -> Row:
    """``row`` with the times of its processes."""
    if "ProcessId" in row:
        row["ProcessCreationTime"] = Moment(when)
    if "InitiatingProcessId" in row:
        row["InitiatingProcessCreationTime"] = Moment(max(0, when - HOUR))
    return row


def _reports(machine: dict[str, Any], first: int, last: int) -> Iterator[Row]:
    """A machine tells about itself every hour."""
    offset = int(machine["id"][:6], 16) * 1_000 % HOUR
    seen = parse_time(machine["lastSeen"])
    for hour in range((first - offset) // HOUR, (last - offset) // HOUR + 1):
        at = hour * HOUR + offset
        if not first <= at < last:
            continue
        yield {
            "Timestamp": Moment(at),
            "DeviceId": machine["id"],
            "DeviceName": (machine["computerDnsName"] or "").lower(),
            "ReportId": hour,
            "OSPlatform": machine["osPlatform"],
            "OSBuild": machine["osBuild"],
            "OSArchitecture": machine.get("osArchitecture"),
            "PublicIP": machine["lastExternalIpAddress"],
            "MachineGroup": machine["rbacGroupName"],
            "OnboardingStatus": machine.get("onboardingStatus"),
            "SensorHealthState": "Active" if seen > at - 7 * DAY else "Inactive",
            "ExposureLevel": machine.get("exposureLevel"),
            "IsInternetFacing": int(machine["id"][-1], 16) == 0,
            "DeviceType": "Server" if "Server" in str(machine["osPlatform"]) else "Workstation",
            "LoggedOnUsers": [
                {"UserName": "a.schmidt", "DomainName": "contoso", "Sid": "S-1-5-21"}
            ],
        }


def _alert_info(alert: dict[str, Any]) -> Iterator[Row]:
    yield {
        "Timestamp": Moment(parse_time(alert["alertCreationTime"])),
        "AlertId": alert["id"],
        "Title": alert["title"],
        "Category": alert["category"],
        "Severity": alert["severity"],
        "ServiceSource": "Microsoft Defender for Endpoint",
        "DetectionSource": alert["detectionSource"],
        "AttackTechniques": msgspec.json.encode(
            [f"Technique ({name})" for name in alert["mitreTechniques"] or ()]
        ).decode(),
    }


def _alert_evidence(alert: dict[str, Any]) -> Iterator[Row]:
    for piece in [{}, *(alert["evidence"] or ())]:
        yield {
            "Timestamp": Moment(parse_time(alert["alertCreationTime"])),
            "AlertId": alert["id"],
            "EntityType": piece.get("entityType") or "Machine",
            "EvidenceRole": "Related" if piece else "Impacted",
            "DeviceId": alert["machineId"],
            "DeviceName": alert["computerDnsName"],
            "FileName": piece.get("fileName"),
            "FolderPath": piece.get("filePath"),
            "SHA256": piece.get("sha256"),
            "RemoteIP": piece.get("ipAddress"),
            "AccountName": piece.get("accountName"),
            "AccountDomain": piece.get("domainName"),
        }

"""Records as Defender tells them, of which a case says only what it is about.

Everything that is not said is the same in all: the machine, the tenant, a medium alert that is
new, an action that succeeded. Times are given as how long ago they were, seen from the case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from aquila_mde.rules.spec import length
from aquila_mde.streams.hunts import NamedHunt, load_hunts
from aquila_mde.streams.tree import PackageTree

Record = dict[str, Any]
TREE = PackageTree.default()
MACHINE = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07"
NAME = "desk-1.contoso.com"
HUNTS: Mapping[str, NamedHunt] = {
    one.name: one for one in load_hunts([TREE.root / "data_stream/hunting/queries"])
}
_BASE: dict[str, Record] = {
    "alert": {
        "id": "da637718944206690001_1",
        "incidentId": 17,
        "assignedTo": None,
        "severity": "Medium",
        "status": "New",
        "classification": None,
        "determination": None,
        "detectionSource": "WindowsDefenderAtp",
        "category": "Execution",
        "title": "Suspicious process",
        "description": "A process did what it should not.",
        "machineId": MACHINE,
        "computerDnsName": NAME,
        "mitreTechniques": [],
        "evidence": [],
    },
    "machine": {
        "id": MACHINE,
        "computerDnsName": NAME,
        "osPlatform": "Windows11",
        "healthStatus": "Active",
        "onboardingStatus": "Onboarded",
        "deviceValue": "Normal",
        "riskScore": "None",
        "exposureLevel": "Low",
    },
    "machine_action": {
        "id": "5382f7ea-7557-4ab7-9782-d50480024a01",
        "type": "Isolate",
        "requestor": "analyst@contoso.com",
        "requestorComment": "Because of an alert",
        "requestSource": "Portal",
        "status": "Succeeded",
        "machineId": MACHINE,
        "computerDnsName": NAME,
        "commands": [],
    },
    "vulnerability": {
        "id": f"{MACHINE}_edge_120_CVE-2024-0001",
        "deviceId": MACHINE,
        "deviceName": NAME,
        "osPlatform": "Windows11",
        "softwareVendor": "microsoft",
        "softwareName": "edge",
        "softwareVersion": "120.0",
        "cveId": "CVE-2024-0001",
        "vulnerabilitySeverityLevel": "Critical",
        "exploitabilityLevel": "ExploitIsVerified",
        "cvssScore": 9.8,
        "isOnboarded": True,
    },
    "hunting": {"ReportId": 4711, "DeviceId": MACHINE, "DeviceName": NAME},
}
_TIMES = {
    "alert": ("lastUpdateTime", "alertCreationTime"),
    "machine": ("lastSeen",),
    "machine_action": ("lastUpdateDateTimeUtc", "creationDateTimeUtc"),
    "vulnerability": ("lastSeenTimestamp",),
    "hunting": ("Timestamp",),
}


def document(said: Mapping[str, Any], now: datetime) -> tuple[str, Record]:
    """The stream of one record of a case, and its document as the collector sends it.

    ``said`` has the stream, how long ago it was, and what of ``record``, ``join``, ``tenant`` and
    ``hunt`` differs.
    """
    stream = str(said["stream"])
    at = now - length(str(said["ago"]))
    time = _text(at)
    record = deepcopy(_BASE[stream]) | dict.fromkeys(_TIMES[stream], time)
    record |= said.get("record") or {}
    tenant = str(said.get("tenant", "contoso"))
    join: Record = {
        "tenant": {"id": f"tenant-{tenant}", "name": tenant, "portal": "https://example.com"}
    }
    if stream == "vulnerability":
        join["export"] = {"generated": time}
    if stream == "hunting":
        join["hunt"] = _told(HUNTS[str(said["hunt"])], at)
    join |= said.get("join") or {}
    return stream, {
        "@timestamp": time,
        "message": json.dumps(record),
        "data_stream": {"type": "logs", "dataset": f"aquila_mde.{stream}"},
        "mde": {"join": join},
    }


def _told(hunt: NamedHunt, at: datetime) -> Record:
    return {
        "name": hunt.name,
        "title": hunt.hunt.title,
        "description": hunt.hunt.description.strip(),
        "query_hash": hunt.digest,
        "table": hunt.table,
        "tactics": list(hunt.hunt.tactics),
        "techniques": list(hunt.hunt.techniques),
        "mapping": {},
        "slice_start": _text(at),
        "slice_end": _text(at + timedelta(minutes=15)),
    }


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f0Z")

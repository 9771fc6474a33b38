"""Alerts as ``/api/alerts`` tells them, and what an analyst or the service changes on them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from aquila_mde.simulator.catalogue import Family
from aquila_mde.simulator.clock import HOUR, MINUTE, SECOND, format_time
from aquila_mde.simulator.records_evidence import PEOPLE, evidence
from aquila_mde.simulator.records_machine import Device
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of


@dataclass(frozen=True)
class _Story:
    title: str
    category: str
    severity: str
    source: str
    techniques: tuple[str, ...]
    kinds: tuple[str, ...]
    family: Family | None = None
    threat: tuple[str, str] | None = None


_STORIES = (
    _Story(
        "Suspicious PowerShell command line",
        "Execution",
        "Medium",
        "WindowsDefenderAtp",
        ("T1059.001", "T1027"),
        ("User", "Process", "Process", "File"),
        "windows",
    ),
    _Story(
        "An active 'Meterpreter' malware was detected",
        "Malware",
        "High",
        "WindowsDefenderAv",
        (),
        ("File", "File", "Process", "User"),
        None,
        ("Meterpreter", "Trojan:Win32/Meterpreter.O"),
    ),
    _Story(
        "Ransomware behavior detected in the file system",
        "Ransomware",
        "High",
        "WindowsDefenderAtp",
        ("T1486", "T1490"),
        ("User", "Process", "File", "File", "File"),
        "windows",
        ("Lockbit", "Ransom:Win32/Lockbit.RPA!MTB"),
    ),
    _Story(
        "Registry run key was changed for persistence",
        "Persistence",
        "Low",
        "WindowsDefenderAtp",
        ("T1547.001",),
        ("User", "Process", "Registry", "Registry"),
        "windows",
    ),
    _Story(
        "Connection to a custom network indicator",
        "CommandAndControl",
        "Medium",
        "CustomerTI",
        ("T1071",),
        ("Process", "Ip", "Url"),
    ),
    _Story(
        "Possible attempt to steal credentials",
        "CredentialAccess",
        "High",
        "WindowsDefenderAtp",
        ("T1003.001", "T1003"),
        ("User", "User", "Process", "File"),
        "windows",
    ),
    _Story(
        "Suspicious remote session",
        "LateralMovement",
        "Medium",
        "WindowsDefenderAtp",
        ("T1021.002", "T1570"),
        ("User", "Ip", "Process"),
    ),
    _Story(
        "Network discovery from an unusual account",
        "Discovery",
        "Informational",
        "CustomDetection",
        ("T1018", "T1087"),
        ("User", "Process", "Process"),
    ),
    _Story(
        "Phishing page was opened",
        "InitialAccess",
        "Low",
        "WindowsDefenderSmartScreen",
        ("T1566.002",),
        ("User", "Url", "Url", "Process"),
    ),
    _Story(
        "Coin miner on a Linux server",
        "Malware",
        "Medium",
        "WindowsDefenderAv",
        ("T1496",),
        ("File", "Process", "Ip"),
        "linux",
        ("CoinMiner", "Trojan:Linux/CoinMiner.A!MTB"),
    ),
    _Story(
        "Unusual launch agent was loaded",
        "Persistence",
        "Low",
        "WindowsDefenderAtp",
        ("T1543.001",),
        ("File", "Process", "User"),
        "macos",
    ),
    _Story(
        "Potentially unwanted application was blocked",
        "UnwantedSoftware",
        "Informational",
        "WindowsDefenderAv",
        (),
        ("File",),
        None,
        ("Presenoker", "PUA:Win32/Presenoker"),
    ),
    _Story(
        "Data was uploaded to an unusual place",
        "Exfiltration",
        "Medium",
        "MTP",
        ("T1567.002",),
        ("User", "Url", "File", "CloudApplication"),
    ),
)
_TEXT = (
    "An activity was seen on a device that matches what attackers do. Look at the processes and "
    "files in the evidence, at who was signed in, and at what happened on the device before.\n\n"
    "If the activity is not expected, isolate the device and start an investigation package. "
    "This text was written by the simulator."
)
# Ids begin with the creation time in ticks since the year 1.
_YEAR_1 = 621_355_968_000_000_000
_ANALYSTS = ("analyst@contoso.com", "soc.lead@contoso.com", "Automation")
_DETERMINATIONS = {
    "TruePositive": ("Malware", "MultiStagedAttack", "CompromisedUser", "Phishing"),
    "FalsePositive": ("Clean", "InsufficientData", "Other"),
    "InformationalExpectedActivity": ("SecurityTesting", "LineOfBusinessApplication"),
}
_COMMENTS = (
    "Looking into it",
    "Asked the owner of the device",
    "Known administrative script",
    "Duplicate of an earlier incident, see there",
    "Gelöst, Gerät neu aufgesetzt",
)


def alert(
    seed: int, index: int, created: int, tenant_id: str, devices: list[Device]
) -> dict[str, Any]:
    """Alert number ``index``, created at ``created``, as it is at first."""
    rng = random_of(seed, "alert", index)
    device, story = _place(rng, devices)
    family: Family = device.family if device else "windows"
    first_event = created - rng.randrange(MINUTE, 40 * MINUTE)
    last_event = first_event + rng.randrange(10 * MINUTE)
    items = [evidence(rng, kind, family, created) for kind in story.kinds]
    person = next((item for item in items if item["entityType"] == "User"), None)
    values: dict[str, Any] = {
        "id": f"da{_YEAR_1 + created}_{rng.randrange(-(2**31), 2**31)}",
        "incidentId": index // 3 + 1000,
        "investigationId": rng.randrange(10_000) if rng.random() < 0.4 else None,
        "assignedTo": None,
        "severity": story.severity,
        "status": "New",
        "classification": None,
        "determination": None,
        "investigationState": rng.choice(("Queued", "UnsupportedAlertType", "Running", "Benign")),
        "detectionSource": story.source,
        "detectorId": guid_of(rng),
        "category": story.category,
        "threatFamilyName": story.threat[0] if story.threat else None,
        "title": f"{story.title} on one endpoint" if rng.random() < 0.2 else story.title,
        "description": _TEXT,
        "alertCreationTime": format_time(created),
        "firstEventTime": format_time(first_event),
        "lastEventTime": format_time(last_event),
        "lastUpdateTime": format_time(created + rng.randrange(SECOND, 90 * SECOND)),
        "resolvedTime": None,
        "machineId": device.id if device else None,
        "computerDnsName": device.name if device else None,
        "rbacGroupName": device.group if device else None,
        "aadTenantId": tenant_id,
        "threatName": story.threat[1] if story.threat else None,
        "mitreTechniques": list(story.techniques),
        "relatedUser": (
            {"userName": person["accountName"], "domainName": person["domainName"]}
            if person
            else None
        ),
        "loggedOnUsers": _logged_on(rng) if device else [],
        "comments": [],
        "evidence": items,
    }
    if rng.random() < 0.02:
        # Enumerations grow, and columns come without notice.
        values |= {"severity": "UnSpecified", "alertProduct": "Microsoft Defender for Endpoint"}
    if rng.random() < 0.03:
        values["mitreTechniques"] = None
        del values["detectorId"]
    return values


def update(rng: Random, values: dict[str, Any], at: int, family: Family) -> dict[str, Any]:
    """What one update of an alert at ``at`` changes; its status never goes back."""
    changes: dict[str, Any] = {"lastUpdateTime": format_time(at)}
    what = rng.random()
    if what < 0.25:
        kind = rng.choice(("Process", "File", "Ip", "Url", "User"))
        changes["evidence"] = [*(values["evidence"] or []), evidence(rng, kind, family, at)]
        changes["lastEventTime"] = format_time(at - rng.randrange(SECOND, 5 * MINUTE))
    elif what < 0.5:
        changes["comments"] = [
            *(values["comments"] or []),
            {
                "comment": rng.choice(_COMMENTS),
                "createdBy": rng.choice(_ANALYSTS),
                "createdTime": format_time(at),
            },
        ]
    elif values["status"] == "New":
        changes |= {"status": "InProgress", "assignedTo": rng.choice(_ANALYSTS[:2])}
    elif values["status"] == "InProgress":
        classification = rng.choice(tuple(_DETERMINATIONS))
        changes |= {
            "status": "Resolved",
            "resolvedTime": format_time(at),
            "classification": classification,
            "determination": rng.choice(_DETERMINATIONS[classification]),
            "investigationState": "SuccessfullyRemediated",
        }
    else:
        changes["incidentId"] = values["incidentId"] + 1
    return changes


def next_update(rng: Random, created: int) -> int:
    """When an alert of ``created`` is updated, as tenants see it: soon, or a day later."""
    return created + rng.choice((rng.randrange(HOUR), rng.randrange(HOUR, 30 * HOUR)))


def _place(rng: Random, devices: list[Device]) -> tuple[Device | None, _Story]:
    chance = rng.random()
    if chance < 0.02 or not devices:
        # Cloud alerts have no device.
        return None, rng.choice([s for s in _STORIES if s.family is None])
    if chance < 0.04:
        # A device the machine list no longer holds.
        gone = Device(hex_of(rng, 40), "retired-0042.corp.contoso.com", "windows", "None", "")
        return gone, rng.choice([s for s in _STORIES if s.family in (None, "windows")])
    device = rng.choice(devices)
    return device, rng.choice([s for s in _STORIES if s.family in (None, device.family)])


def _logged_on(rng: Random) -> list[dict[str, Any]]:
    people = rng.sample(PEOPLE, rng.randint(0, 2))
    return [{"accountName": name, "domainName": "CONTOSO"} for name in people]

"""Machines as ``/api/machines`` tells them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from aquila_mde.simulator.catalogue import Family
from aquila_mde.simulator.clock import DAY, format_time
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of

GROUPS = ((140, "Workstations"), (151, "Servers"), (163, "Berlin"), (177, "Executives"))
TAGS = ("PCI", "DMZ", "Lab", "Kiosk", "VIP", "Legacy", "Building 7", "tag with ünïcode")
DOMAINS = ("corp.contoso.com", "emea.contoso.com", "fabrikam.local")
RISKS = ("None", "Informational", "Low", "Medium", "High")
EXPOSURES = ("None", "Low", "Medium", "High")

# Addresses of the networks that the public test databases for geolocation know.
_EXTERNAL = ("81.2.69.{}", 142, 193), ("89.160.20.{}", 112, 127), ("216.160.83.{}", 56, 63)
_WINDOWS = (
    ("Windows11", "23H2", 22631),
    ("Windows11", "24H2", 26100),
    ("Windows10", "22H2", 19045),
    ("Windows10", "1809", 17763),
)
_WINDOWS_SERVERS = (
    ("WindowsServer2022", "21H2", 20348),
    ("WindowsServer2019", "1809", 17763),
    ("WindowsServer2016", "1607", 14393),
    ("WindowsServer2012R2", "Other", 9600),
)
_LINUX = (
    ("Ubuntu", "22.4", 0),
    ("Ubuntu", "20.4", 0),
    ("RedHatEnterpriseLinux", "9.4", 0),
    ("Debian", "12.0", 0),
    ("SUSE", "15.5", 0),
    ("Linux", "Other", 5),
)
_MACOS = (("macOS", "14.7.2", None), ("macOS", "15.2", None), ("macOS", "13.6.7", None))


@dataclass(frozen=True, slots=True)
class Device:
    """What other records say of a machine."""

    id: str
    name: str | None
    family: Family
    group: str
    address: str


def machine(seed: int, index: int, now: int) -> tuple[dict[str, Any], Device]:
    """Machine number ``index`` as it is at ``now``."""
    rng = random_of(seed, "machine", index)
    family: Family = rng.choices(("windows", "linux", "macos"), weights=(78, 15, 7))[0]
    server = family == "linux" or (family == "windows" and rng.random() < 0.2)
    platform, version, build = rng.choice(_systems(family, server))
    identity, name = hex_of(rng, 40), _name(rng, family, server)
    group_id, group = _group(rng, server)
    active = rng.random() < 0.9
    age = rng.randrange(DAY) if active else rng.randrange(7 * DAY, 29 * DAY)
    last_seen = now - age
    joined = family == "windows" and not server
    interfaces = _interfaces(rng)
    address = next(item["ipAddress"] for item in interfaces if item["type"] == "Ethernet")
    network, low, high = rng.choice(_EXTERNAL)
    values = {
        "id": identity,
        "mergedIntoMachineId": None,
        "isPotentialDuplication": rng.random() < 0.01,
        "isExcluded": False,
        "exclusionReason": None,
        "computerDnsName": name,
        "firstSeen": format_time(last_seen - rng.randrange(30 * DAY, 700 * DAY)),
        "lastSeen": format_time(last_seen),
        "osPlatform": platform,
        "osVersion": None,
        "osProcessor": _processor(rng, family),
        "version": version,
        "lastIpAddress": address,
        "lastExternalIpAddress": network.format(rng.randint(low, high)),
        "agentVersion": _agent(rng, family, build),
        "osBuild": build,
        "healthStatus": _health(rng, active=active),
        "deviceValue": rng.choices(("Normal", "Low", "High"), weights=(90, 4, 6))[0],
        "rbacGroupId": group_id,
        "rbacGroupName": group,
        "riskScore": rng.choices(RISKS, weights=(60, 12, 14, 9, 5))[0],
        "exposureLevel": rng.choices(EXPOSURES, weights=(10, 45, 30, 15))[0],
        "isAadJoined": joined,
        "aadDeviceId": guid_of(rng) if joined else rng.choice((None, _NO_DEVICE)),
        "machineTags": rng.sample(TAGS, rng.choices((0, 1, 2, 3), weights=(60, 25, 10, 5))[0]),
        "onboardingStatus": "Onboarded",
        "osArchitecture": "64-bit",
        "managedBy": rng.choice(("Intune", "MicrosoftDefenderForEndpoint", "Unknown", "")),
        "managedByStatus": rng.choice(("Success", "Unknown")),
        "defenderAvStatus": rng.choices(("Updated", "NotUpdated", "Unknown"), weights=(8, 1, 1))[0],
        "ipAddresses": interfaces,
        "vmMetadata": _cloud(rng) if server and rng.random() < 0.6 else None,
    }
    if rng.random() < 0.02:
        # Devices seen on the network but not onboarded tell little.
        values |= {
            "onboardingStatus": rng.choice(("CanBeOnboarded", "Unsupported", "InsufficientInfo")),
            "riskScore": None,
            "agentVersion": None,
            "version": "",
            "osBuild": None,
            "ipAddresses": [],
        }
        del values["defenderAvStatus"]
    return values, Device(identity, name, family, group, address)


_NO_DEVICE = "00000000-0000-0000-0000-000000000000"


def family_of(platform: str | None) -> Family:
    """The platform family of ``osPlatform``."""
    lower = (platform or "").lower()
    if lower.startswith("windows"):
        return "windows"
    return "macos" if lower.startswith("macos") else "linux"


def _systems(family: Family, server: bool) -> tuple[tuple[str, str, int | None], ...]:
    if family == "windows":
        return _WINDOWS_SERVERS if server else _WINDOWS
    return _LINUX if family == "linux" else _MACOS


def _name(rng: Random, family: Family, server: bool) -> str | None:
    if rng.random() < 0.01:
        return None
    number = rng.randrange(100_000)
    if server:
        host = f"{rng.choice(('srv', 'sql', 'web', 'app', 'dc'))}-{number:05}"
    else:
        host = f"{'mac' if family == 'macos' else 'desktop'}-{number:05x}{hex_of(rng, 2)}"
    if rng.random() < 0.05:
        return host.upper()
    return f"{host}.{rng.choice(DOMAINS)}"


def _group(rng: Random, server: bool) -> tuple[int, str]:
    if server:
        return GROUPS[1]
    if rng.random() < 0.1:
        return 0, "Unassigned"
    return rng.choice((GROUPS[0], GROUPS[0], GROUPS[2], GROUPS[3]))


def _processor(rng: Random, family: Family) -> str:
    if family == "macos":
        return rng.choice(("arm64", "x64"))
    return "x64" if rng.random() < 0.96 else "arm64"


def _agent(rng: Random, family: Family, build: int | None) -> str:
    if family == "windows":
        return f"10.8760.{build}.{rng.randrange(1000, 5000)}"
    return f"101.24{rng.randrange(10, 99)}.{rng.randrange(10_000):04}"


def _health(rng: Random, *, active: bool) -> str:
    if not active:
        return "Inactive"
    troubled = ("ImpairedCommunication", "NoSensorData", "NoSensorDataImpairedCommunication")
    return "Active" if rng.random() < 0.94 else rng.choice(troubled)


def _interfaces(rng: Random) -> list[dict[str, Any]]:
    address = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    mac = hex_of(rng, 12).upper()
    found: list[dict[str, Any]] = [_interface(address, mac, "Ethernet", "Up")]
    if rng.random() < 0.6:
        # The link-local address of the same card comes as a row of its own.
        tail = ":".join(hex_of(rng, 4) for _ in range(4))
        found.append(_interface(f"fe80::{tail}", mac, "Ethernet", "Up"))
    if rng.random() < 0.3:
        wireless = f"192.168.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        state = rng.choice(("Up", "Down"))
        found.append(_interface(wireless, hex_of(rng, 12).upper(), "Wireless80211", state))
    if rng.random() < 0.5:
        found.append(_interface("127.0.0.1", None, "SoftwareLoopback", "Up"))
    if rng.random() < 0.1:
        found.append(_interface(f"2001:db8::{hex_of(rng, 4)}", mac, "Ethernet", "Up"))
    return found


def _interface(address: str, mac: str | None, kind: str, state: str) -> dict[str, Any]:
    return {"ipAddress": address, "macAddress": mac, "type": kind, "operationalStatus": state}


def _cloud(rng: Random) -> dict[str, Any]:
    provider = rng.choice(("Azure", "azure", "AWS", "GCP"))
    machine_id, subscription = guid_of(rng), guid_of(rng)
    if provider.lower() != "azure":
        return {
            "vmId": f"i-{hex_of(rng, 17)}" if provider == "AWS" else str(rng.getrandbits(62)),
            "cloudProvider": provider,
            "resourceId": None,
            "subscriptionId": str(rng.randrange(10**11, 10**12)),
        }
    return {
        "vmId": machine_id,
        "cloudProvider": provider,
        "resourceId": (
            f"/subscriptions/{subscription}/resourceGroups/rg-prod/providers/"
            f"Microsoft.Compute/virtualMachines/vm-{hex_of(rng, 6)}"
        ),
        "subscriptionId": subscription,
    }


def next_report(rng: Random, at: int) -> dict[str, Any]:
    """What a full report of a machine changes."""
    changes: dict[str, Any] = {"lastSeen": format_time(at)}
    if rng.random() < 0.1:
        changes["lastIpAddress"] = f"10.{rng.randrange(256)}.{rng.randrange(256)}.17"
    return changes


def next_assessment(rng: Random, values: dict[str, Any]) -> dict[str, Any]:
    """What changes of a machine without a report: tags, risk, exposure, value, group, name."""
    what = rng.choices(
        ("tags", "risk", "exposure", "value", "group", "name"), weights=(30, 30, 25, 10, 4, 1)
    )[0]
    if what == "tags":
        tags = set(values["machineTags"]) ^ {rng.choice(TAGS)}
        return {"machineTags": sorted(tags)}
    if what == "risk":
        return {"riskScore": rng.choice([r for r in RISKS if r != values["riskScore"]])}
    if what == "exposure":
        return {"exposureLevel": rng.choice([e for e in EXPOSURES if e != values["exposureLevel"]])}
    if what == "value":
        return {"deviceValue": "High" if values["deviceValue"] != "High" else "Normal"}
    if what == "group":
        number, name = rng.choice([g for g in GROUPS if g[0] != values["rbacGroupId"]])
        return {"rbacGroupId": number, "rbacGroupName": name}
    return {"computerDnsName": f"renamed-{hex_of(rng, 6)}.{DOMAINS[0]}"}

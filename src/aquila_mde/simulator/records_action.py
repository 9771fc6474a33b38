"""Machine actions as ``/api/machineactions`` tells them."""

from __future__ import annotations

from random import Random
from typing import Any

from aquila_mde.simulator.clock import DAY, HOUR, MINUTE, SECOND, format_time
from aquila_mde.simulator.records_machine import Device
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of

FINAL = ("Succeeded", "Failed", "TimeOut", "Cancelled")
Step = tuple[int, dict[str, Any]]

_TYPES = (
    ("RunAntiVirusScan", 30),
    ("CollectInvestigationPackage", 15),
    ("Isolate", 10),
    ("Unisolate", 8),
    ("StopAndQuarantineFile", 12),
    ("LiveResponse", 15),
    ("RestrictCodeExecution", 4),
    ("UnrestrictCodeExecution", 3),
    ("Offboard", 2),
    ("RequestSample", 1),
)
_REQUESTORS = ("analyst@contoso.com", "soc.lead@contoso.com", "Automation", None)


def action(
    seed: int, index: int, created: int, device: Device
) -> tuple[dict[str, Any], list[Step]]:
    """A new action on ``device``, and the changes that are still to come, each with its time."""
    rng = random_of(seed, "action", index)
    kind = rng.choices([t for t, _ in _TYPES], weights=[w for _, w in _TYPES])[0]
    requestor = rng.choice(_REQUESTORS) or guid_of(rng)
    values: dict[str, Any] = {
        "id": guid_of(rng),
        "type": kind,
        "title": None,
        "requestor": requestor,
        "requestorComment": rng.choice(("", "Triage of incident", "Routine check", "Test")),
        "status": "Pending",
        "machineId": device.id,
        "computerDnsName": device.name,
        "creationDateTimeUtc": format_time(created),
        "lastUpdateDateTimeUtc": format_time(created),
        "cancellationRequestor": None,
        "cancellationComment": None,
        "cancellationDateTimeUtc": None,
        "errorHResult": 0,
        "scope": _scope(rng, kind),
        "externalId": guid_of(rng) if rng.random() < 0.1 else None,
        "requestSource": rng.choice(("Portal", "PublicApi")),
        "relatedFileInfo": _file(rng) if kind == "StopAndQuarantineFile" else None,
        "commands": _commands(rng) if kind == "LiveResponse" else [],
        "troubleshootInfo": None,
    }
    return values, _steps(rng, values, created)


def _scope(rng: Random, kind: str) -> str | None:
    if kind == "RunAntiVirusScan":
        return rng.choice(("Quick", "Full"))
    return rng.choice(("Full", "Selective")) if kind == "Isolate" else None


def _file(rng: Random) -> dict[str, Any]:
    if rng.random() < 0.8:
        return {"fileIdentifier": hex_of(rng, 40), "fileIdentifierType": "Sha1"}
    return {"fileIdentifier": hex_of(rng, 64), "fileIdentifierType": "Sha256"}


def _commands(rng: Random) -> list[dict[str, Any]]:
    script = rng.choice(("collect-logs.ps1", "kill-process.ps1", "minidump.ps1"))
    run = {
        "type": "RunScript",
        "params": [
            {"key": "ScriptName", "value": script},
            {"key": "Args", "value": f"-Id {rng.randrange(9999)}"},
        ],
    }
    fetch = {"type": "GetFile", "params": [{"key": "Path", "value": "C:\\Windows\\Temp\\out.zip"}]}
    return [
        {
            "index": index,
            "startTime": None,
            "endTime": None,
            "commandStatus": "Created",
            "errors": [],
            "command": command,
        }
        for index, command in enumerate([run, fetch][: rng.randint(1, 2)])
    ]


def _steps(rng: Random, values: dict[str, Any], created: int) -> list[Step]:
    started = created + rng.randrange(5 * SECOND, 5 * MINUTE)
    slow = rng.random()
    longest = 4 * DAY if slow < 0.05 else 3 * HOUR if slow < 0.3 else 10 * MINUTE
    ended = started + rng.randrange(10 * SECOND, longest)
    outcome = rng.choices(FINAL, weights=(82, 10, 4, 4))[0]
    running = {
        "status": "InProgress",
        "lastUpdateDateTimeUtc": format_time(started),
        "commands": [{**c, "startTime": format_time(started)} for c in values["commands"]],
    }
    final: dict[str, Any] = {
        "status": outcome,
        "lastUpdateDateTimeUtc": format_time(ended),
        "commands": [
            {
                **command,
                "startTime": format_time(started),
                "endTime": format_time(ended),
                "commandStatus": "Completed" if outcome == "Succeeded" else "Failed",
                "errors": [] if outcome == "Succeeded" else ["The script ended with exit code 1"],
            }
            for command in values["commands"]
        ],
    }
    if outcome == "Failed":
        final |= {"errorHResult": -2147467260, "troubleshootInfo": "The device did not answer"}
    if outcome == "Cancelled":
        final |= {
            "cancellationRequestor": "soc.lead@contoso.com",
            "cancellationComment": "No longer needed",
            "cancellationDateTimeUtc": format_time(ended),
        }
    return [(started, running), (ended, final)]


def next_step(values: dict[str, Any], at: int) -> dict[str, Any]:
    """The change that brings an action one status further, or a final one nowhere."""
    status = {"Pending": "InProgress", "InProgress": "Succeeded"}.get(values["status"])
    if status is None:
        return {"lastUpdateDateTimeUtc": format_time(at)}
    done = "Completed" if status == "Succeeded" else "Created"
    return {
        "status": status,
        "lastUpdateDateTimeUtc": format_time(at),
        "commands": [{**command, "commandStatus": done} for command in values["commands"]],
    }

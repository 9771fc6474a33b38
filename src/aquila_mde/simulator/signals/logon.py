"""Who signs in, to a machine or to the directory, and what is changed and asked there.

Each function makes the rows of one occurrence, without their time and their machine.
"""

from __future__ import annotations

from random import Random
from typing import Any

from aquila_mde.simulator.records_evidence import PEOPLE
from aquila_mde.simulator.signals.parts import (
    Maker,
    Row,
    account,
    initiator,
    private_ip,
    public_ip,
)

_GROUPS = ("Domain Admins", "Enterprise Admins", "Backup Operators")


def _logon(rng: Random, action: str, kind: str, ip: str, **more: Any) -> Row:
    return {
        "ActionType": action,
        "LogonType": kind,
        "LogonId": rng.randint(100_000, 900_000),
        "IsLocalAdmin": False,
        "FailureReason": "InvalidUserNameOrPassword" if action == "LogonFailed" else None,
        "Protocol": "NTLM",
        "RemoteIP": ip,
        "RemoteIPType": "Private" if ip.startswith("10.") else "Public",
        "RemoteDeviceName": None,
        **account(rng),
        **initiator(rng, "lsass.exe"),
        **more,
    }


def usual_logon(rng: Random) -> list[Row]:
    """Somebody comes to work."""
    return [_logon(rng, "LogonSuccess", "Interactive", "")]


def _spray(rng: Random) -> list[Row]:
    ip = private_ip(rng)
    names = [f"user{number:03}" for number in range(14)]
    return [_logon(rng, "LogonFailed", "Network", ip) | account(rng, name=name) for name in names]


def _guessed(rng: Random) -> list[Row]:
    person, ip = account(rng), private_ip(rng)
    failed = [_logon(rng, "LogonFailed", "Network", ip) | person for _ in range(12)]
    return [*failed, _logon(rng, "LogonSuccess", "Network", ip) | person]


LOGON: tuple[Maker, ...] = (
    _spray,
    _guessed,
    lambda rng: [_logon(rng, "LogonSuccess", "RemoteInteractive", public_ip(rng))],
    lambda rng: [_logon(rng, "LogonSuccess", "Network", private_ip(rng), IsLocalAdmin=True)],
)


def _identity(rng: Random, action: str, ip: str, name: str | None = None) -> Row:
    return {
        "ActionType": action,
        "Application": "Active Directory",
        "LogonType": "Resource access",
        "Protocol": "Kerberos",
        "FailureReason": "WrongPassword" if action == "LogonFailed" else None,
        **account(rng, name=name),
        "AccountDisplayName": name or "Somebody",
        "DeviceName": "pc-17.corp.contoso.com",
        "IPAddress": ip,
        "Port": rng.randint(49_152, 65_535),
        "DestinationDeviceName": "dc-1.corp.contoso.com",
        "DestinationIPAddress": "10.0.0.10",
        "DestinationPort": 88,
        "TargetDeviceName": "DC-1",
    }


def usual_identity(rng: Random) -> list[Row]:
    """A ticket for a service."""
    return [_identity(rng, "LogonSuccess", private_ip(rng))]


def _identity_spray(rng: Random) -> list[Row]:
    ip = private_ip(rng)
    return [_identity(rng, "LogonFailed", ip, f"user{number:03}") for number in range(14)]


def _group_change(rng: Random) -> list[Row]:
    person = rng.choice(PEOPLE)
    return [
        {
            "ActionType": "Group Membership changed",
            "Application": "Active Directory",
            "TargetAccountUpn": f"{rng.choice(PEOPLE)}@contoso.com",
            "TargetAccountDisplayName": "Somebody",
            **account(rng, name=person),
            "DestinationDeviceName": "dc-1.corp.contoso.com",
            "AdditionalFields": {"TO.GROUP": rng.choice(_GROUPS), "ACTOR.ACCOUNT": person},
        }
    ]


def usual_directory(rng: Random) -> list[Row]:
    """A password that was changed in time."""
    row = _group_change(rng)[0]
    return [row | {"ActionType": "Account Password changed", "AdditionalFields": {}}]


def _question(rng: Random, text: str, target: str) -> Row:
    return {
        "ActionType": "LDAP query",
        "Application": "Active Directory",
        "QueryType": "AllUsers",
        "QueryTarget": target,
        "Query": text,
        "Protocol": "Ldap",
        **account(rng),
        "DeviceName": "pc-17.corp.contoso.com",
        "IPAddress": private_ip(rng),
        "DestinationDeviceName": "dc-1.corp.contoso.com",
    }


def usual_question(rng: Random) -> list[Row]:
    """A name that is looked up."""
    return [_question(rng, "(sAMAccountName=printer)", "printer")]


IDENTITY: tuple[Maker, ...] = (_identity_spray,)
DIRECTORY: tuple[Maker, ...] = (_group_change,)
QUESTION: tuple[Maker, ...] = (
    lambda rng: [_question(rng, "(servicePrincipalName=*)", "Domain Admins")],
)

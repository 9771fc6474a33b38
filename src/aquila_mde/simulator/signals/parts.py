"""What the rows of several tables of advanced hunting are made of.

Names of people, domains and files are invented; public addresses are those that
test databases know.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from aquila_mde.simulator.records_evidence import PEOPLE
from aquila_mde.simulator.seeds import hex_of

Row = dict[str, Any]
Maker = Callable[[Random], list[Row]]
DOMAIN = "contoso"
SYSTEM32 = "C:\\Windows\\System32"
USER_TEMP = "C:\\Users\\{}\\AppData\\Local\\Temp"
OFFICE = "C:\\Program Files\\Microsoft Office\\root\\Office16"


def public_ip(rng: Random) -> str:
    """An address outside."""
    return rng.choice(("81.2.69.{}", "89.160.20.{}", "216.160.83.{}")).format(rng.randint(56, 190))


def private_ip(rng: Random) -> str:
    """An address inside."""
    return f"10.{rng.randint(0, 9)}.{rng.randint(0, 250)}.{rng.randint(2, 250)}"


def account(rng: Random, prefix: str = "Account", name: str | None = None) -> Row:
    """Somebody, in the columns of an account."""
    name = name or rng.choice(PEOPLE)
    return {
        f"{prefix}Name": name,
        f"{prefix}Domain": DOMAIN,
        f"{prefix}Sid": f"S-1-5-21-1004336348-1177238915-682003330-{1100 + len(name)}",
        f"{prefix}Upn": f"{name}@contoso.com",
    }


def hashes(rng: Random, prefix: str = "") -> Row:
    """The hashes of a file."""
    return {
        f"{prefix}SHA1": hex_of(rng, 40),
        f"{prefix}SHA256": hex_of(rng, 64),
        f"{prefix}MD5": hex_of(rng, 32),
    }


def initiator(rng: Random, image: str, line: str = "", folder: str = SYSTEM32) -> Row:
    """The process that did it, in the columns of the one that initiates."""
    return {
        "InitiatingProcessId": rng.randint(400, 30_000),
        "InitiatingProcessFileName": image,
        "InitiatingProcessFolderPath": f"{folder}\\{image}".lower(),
        "InitiatingProcessCommandLine": line or image,
        "InitiatingProcessIntegrityLevel": "Medium",
        "InitiatingProcessParentId": rng.randint(400, 30_000),
        "InitiatingProcessParentFileName": "explorer.exe",
        **hashes(rng, "InitiatingProcess"),
        **account(rng, "InitiatingProcessAccount"),
    }

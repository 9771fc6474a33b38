"""The rows of the vulnerability export, rendered one by one from their number.

Ten million rows are never held: a row is joined from the bytes of its device, of its finding and of
its times, and whether it is there in the snapshot of a given age follows from its number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from aquila_mde.simulator.catalogue import EXPLOITABILITY, Catalogue, Cve, Family, Product
from aquila_mde.simulator.clock import DAY, SECOND, format_export_time, parse_time
from aquila_mde.simulator.records_machine import family_of
from aquila_mde.simulator.seeds import mixed

Casing = Literal["pascal", "camel"]

_TURNOVER = 500
"""One row of so many is fixed, one is new and one is updated with each snapshot."""
_SCORES = 3
"""Different sets of scores that a row has in turn as it is updated."""
_STEP = 7919
"""A prime that divides no number of findings."""
_DEVICES_KEPT = 20_000
_PASCAL = {"id": "Id", "osPlatform": "OSPlatform", "osVersion": "OSVersion"} | {
    "osArchitecture": "OSArchitecture"
}


def cased(name: str, casing: Casing) -> str:
    """A property name as an export file spells it."""
    if casing == "camel":
        return name
    return _PASCAL.get(name) or name[0].upper() + name[1:]


class Turnover:
    """Which of the rows are there in the snapshot of an age, and how often each was updated.

    The age is the number of snapshots since the first. ``count`` rows are there at age 0; the
    rows that are found later follow them in number.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._found = -(-count // _TURNOVER)
        self._oldest = 1 << 32

    def numbered(self, age: int) -> int:
        """How many rows there have ever been at ``age``."""
        return self._count + age * self._found

    def born(self, row: int) -> int:
        """The age at which ``row`` is found."""
        return 0 if row < self._count else (row - self._count) // self._found + 1

    def alive(self, row: int, bits: int, age: int) -> bool:
        """Whether ``row``, whose :func:`~seeds.mixed` bits are given, is not fixed yet."""
        lived = age - self.born(row)
        return lived == 0 or bits < self._oldest * math.exp(-lived / _TURNOVER)

    def updates(self, bits: int, age: int) -> int:
        """How often the row was updated by ``age``."""
        return (age + bits % _TURNOVER) // _TURNOVER

    def changed(self, before: int, after: int) -> Iterator[int]:
        """The rows that may be found, fixed or updated between two ages."""
        for born in range(after + 1):
            first = 0 if born == 0 else self._count + (born - 1) * self._found
            last = self._count if born == 0 else first + self._found
            if born > before:
                yield from range(first, last)
                continue
            stay = self._oldest * math.exp((born - after) / _TURNOVER)
            were = self._oldest * math.exp((born - before) / _TURNOVER)
            for row in range(first, last):
                bits = mixed(row, self._seed)
                if stay <= bits < were or (
                    bits < stay and self.updates(bits, before) != self.updates(bits, after)
                ):
                    yield row

    def rows(self, first: int, last: int, age: int) -> Iterator[tuple[int, int]]:
        """Number and bits of the rows from ``first`` to before ``last`` that are there."""
        for row in range(first, min(last, self.numbered(age))):
            bits = mixed(row, self._seed)
            if age == 0 or self.alive(row, bits, age):
                yield row, bits


class DevicePart:
    """What a row says of its device, as bytes."""

    __slots__ = ("body", "family", "id", "last_seen")

    def __init__(self, machine: dict[str, Any], casing: Casing) -> None:
        self.family: Family = family_of(machine.get("osPlatform"))
        self.id = str(machine["id"]).encode()
        arch = machine.get("osProcessor")
        build = machine.get("osBuild")
        self.body = _members(
            {
                "deviceId": machine["id"],
                "deviceName": machine.get("computerDnsName") or "",
                "osPlatform": machine.get("osPlatform"),
                "osVersion": _os_version(machine, build),
                "osArchitecture": arch,
                "rbacGroupId": machine.get("rbacGroupId"),
                "rbacGroupName": machine.get("rbacGroupName"),
                "isOnboarded": machine.get("onboardingStatus") == "Onboarded",
            },
            casing,
        )
        seen = format_export_time(parse_time(machine["lastSeen"]))
        self.last_seen = _members({"lastSeenTimestamp": seen}, casing)


class SoftwarePart:
    """What a row says of its software, as bytes."""

    __slots__ = ("body", "id_part")

    def __init__(self, product: Product, version: str, casing: Casing) -> None:
        self.id_part = f"_{product.name}_{version}_".encode()
        self.body = _members(
            {
                "softwareVendor": product.vendor,
                "softwareName": product.name,
                "softwareVersion": version,
                "diskPaths": [product.disk_path] if product.disk_path else [],
                "registryPaths": [product.registry_path] if product.registry_path else [],
                "recommendationReference": f"va-_-{product.vendor}-_-{product.name}",
                "cveBatchTitle": None,
                "cveBatchUrl": None,
            },
            casing,
        )


class CvePart:
    """What a row says of its CVE, as bytes; some software has none that is known."""

    __slots__ = ("bodies", "id_part")

    def __init__(self, cve: Cve | None, casing: Casing) -> None:
        self.id_part = f"{cve.id if cve else ''}_".encode()
        fixed = _members(_cve_members(cve), casing)
        self.bodies = tuple(fixed + _members(_scores(cve, n), casing) for n in range(_SCORES))
        """By the number of updates."""


class RowWriter:
    """Renders the rows of one snapshot in one casing.

    ``machines`` are the bodies of the machines at the time of the snapshot; None where the machine
    is gone, and its rows with it.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        turnover: Turnover,
        machines: Sequence[bytes | None],
        generated: int,
        casing: Casing,
    ) -> None:
        self._catalogue = catalogue
        self._turnover = turnover
        self._machines = machines
        self._casing = casing
        self._devices: dict[int, DevicePart] = {}
        self._software: dict[Family, list[tuple[SoftwarePart, list[CvePart]]]] = {}
        self._opening = f'{{"{cased("id", casing)}":"'.encode()
        self._first_seen = _first_seen_times(generated, casing)

    def rows(self, first: int, last: int, age: int) -> Iterator[bytes]:
        """The rows from ``first`` to before ``last``, one JSON object each, without newline."""
        machines, count = self._machines, len(self._machines)
        times = self._first_seen
        for row, bits in self._turnover.rows(first, last, age):
            number = row % count
            body = machines[number]
            if body is None:
                continue
            device = self._devices.get(number) or self._device(number, body)
            installed = self._software.get(device.family) or self._install(device.family)
            cves_each = len(installed[0][1])
            # A step that has no divisor in common with the length comes by every pair once.
            pair = (row // count * _STEP + number * 31) % (len(installed) * cves_each)
            software, cves = installed[pair // cves_each]
            cve = cves[pair % cves_each]
            yield b"".join(
                (
                    self._opening,
                    device.id,
                    software.id_part,
                    cve.id_part,
                    b'"',
                    device.body,
                    software.body,
                    cve.bodies[self._turnover.updates(bits, age) % _SCORES],
                    times[bits % len(times)],
                    device.last_seen,
                    b"}",
                )
            )

    def _device(self, number: int, body: bytes) -> DevicePart:
        if len(self._devices) >= _DEVICES_KEPT:
            self._devices.clear()
        part = DevicePart(msgspec.json.decode(body), self._casing)
        self._devices[number] = part
        return part

    def _install(self, family: Family) -> list[tuple[SoftwarePart, list[CvePart]]]:
        none = CvePart(None, self._casing)
        cves = {
            product: [none, *(CvePart(cve, self._casing) for cve in self._catalogue.cves(product))]
            for product, _ in self._catalogue.software(family)
        }
        self._software[family] = [
            (SoftwarePart(product, version, self._casing), cves[product])
            for product, version in self._catalogue.software(family)
        ]
        return self._software[family]


@dataclass(frozen=True)
class Snapshot:
    """The state of the export at one time."""

    age: int
    generated: int
    machines: Sequence[bytes | None]
    added: tuple[dict[str, Any], ...]
    removed: frozenset[str]
    casing: Casing | Literal["mixed"]
    bad_lines: int
    writers: dict[Casing, RowWriter] = field(default_factory=dict)


def id_of(line: bytes) -> str:
    """The id of a rendered row."""
    start = line.index(b'":"') + 3
    return line[start : line.index(b'"', start)].decode()


def _members(values: dict[str, Any], casing: Casing) -> bytes:
    encoded = msgspec.json.encode({cased(name, casing): value for name, value in values.items()})
    return b"," + encoded[1:-1]


def _cve_members(cve: Cve | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "cveId": cve.id if cve else None,
        "securityUpdateAvailable": cve is not None and cve.serial % 9 != 0,
    }
    if cve is not None and cve.update_id is not None:
        values |= {
            "recommendedSecurityUpdate": "Cumulative Security Updates",
            "recommendedSecurityUpdateId": cve.update_id,
            "recommendedSecurityUpdateUrl": (
                f"https://catalog.update.microsoft.com/v7/site/Search.aspx?q=KB{cve.update_id}"
            ),
        }
    elif cve is None or cve.serial % 3:
        # Null where the service knows of no update; for some the columns are missing.
        values |= {
            "recommendedSecurityUpdate": None,
            "recommendedSecurityUpdateId": None,
            "recommendedSecurityUpdateUrl": "" if cve is None else None,
        }
    return values


def _scores(cve: Cve | None, updates: int) -> dict[str, Any]:
    if cve is None:
        return {
            "cvssScore": None,
            "vulnerabilitySeverityLevel": None,
            "exploitabilityLevel": EXPLOITABILITY[0],
        }
    return {
        "cvssScore": round(min(10.0, cve.score + updates * 0.1), 1),
        "vulnerabilitySeverityLevel": cve.severity,
        "exploitabilityLevel": EXPLOITABILITY[min(3, cve.exploitability + updates)],
    }


def _first_seen_times(generated: int, casing: Casing) -> list[bytes]:
    # Two thirds without a fraction, as the documentation shows both.
    found = []
    for number in range(1024):
        ticks = generated - mixed(number, 1) % 300 * DAY - mixed(number, 2) % 86_400 * SECOND
        if number % 3 == 0:
            ticks += mixed(number, 3) % SECOND
        found.append(_members({"firstSeenTimestamp": format_export_time(ticks)}, casing))
    return found


def _os_version(machine: dict[str, Any], build: int | None) -> str:
    platform = str(machine.get("osPlatform") or "")
    version = str(machine.get("version") or "")
    if platform.lower().startswith("windows"):
        return f"{'6.3' if build == 9600 else '10.0'}.{build}.{1000 + (build or 0) % 900}"
    prefix = {
        "ubuntu": "ubuntu_linux_",
        "redhatenterpriselinux": "enterprise_linux_",
        "debian": "debian_linux_",
        "suse": "suse_linux_",
    }.get(platform.lower(), "")
    return prefix + (version.replace(".4", ".04") if platform == "Ubuntu" else version)

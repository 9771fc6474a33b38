"""Faults in declarative files, each with its place, collected so that one run shows them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aquila_mde.errors import ConfigurationError


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong in one place of one file. ``line`` counts from 1."""

    file: Path
    line: int
    field: str
    problem: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return (
            f"{place}: {self.field}: {self.problem}" if self.field else f"{place}: {self.problem}"
        )


class FaultsFoundError(ConfigurationError):
    """At least one file has a fault; ``faults`` holds all of them, in file and line order."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        listing = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{count} in the declarative files:\n{listing}")


def raise_if_any(faults: list[Fault]) -> None:
    """Raise one error for all ``faults``, or return when there are none."""
    if faults:
        raise FaultsFoundError(faults)

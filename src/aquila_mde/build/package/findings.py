"""What a check of a package finds: values, not exceptions, so that one run shows all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a finding keeps the package from being installed as it is meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong in one place of one file of a package."""

    file: str
    """Its path inside the package; empty for the package as a whole."""
    line: int
    """From 1; 1 also where the thing has no line of its own."""
    rule: str
    """A short name, the same for every finding of this kind."""
    problem: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else "package"
        return f"{place}: {self.severity}: {self.problem} [{self.rule}]"


Found = Iterator[Finding]
Json = dict[str, Any]

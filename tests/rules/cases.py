"""The cases of ``tests/rules/cases/``: for each rule, what must make it fire and what must not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aquila_mde.streams.faults import raise_if_any
from aquila_mde.streams.yaml_source import load
from tests.rules.records import Record, document

FOLDER = Path(__file__).parent / "cases"
_FIRST = datetime(2020, 1, 1, 12, tzinfo=UTC)
# Further apart than any rule looks back.
_APART = timedelta(days=100)


class Said(BaseModel):
    """One case of a file."""

    model_config = ConfigDict(extra="forbid")
    about: str
    records: list[dict[str, Any]]
    times: int = 1
    """How many detections there must be, of a case that fires."""


class Cases(BaseModel):
    """One file: those that fire and those that are quiet."""

    model_config = ConfigDict(extra="forbid")
    fires: list[Said] = Field(min_length=1)
    quiet: list[Said] = Field(min_length=2)


@dataclass(frozen=True)
class Case:
    """One case, at a time that no other has."""

    rule: str
    about: str
    times: int
    """How many detections there must be."""
    now: datetime
    records: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.about}"

    def documents(self) -> Iterator[tuple[str, Record]]:
        """Each record with its stream, as the collector sends it."""
        for said in self.records:
            yield document(said, self.now)


def read_cases() -> list[Case]:
    """Every case of every file. Raises an error that lists what is wrong in them."""
    found: list[Case] = []
    faults = []
    for file in sorted(FOLDER.glob("*.yml")):
        cases, _, wrong = load(Cases, file)
        faults += wrong
        for said in [*cases.fires, *cases.quiet] if cases else ():
            times = said.times if cases and said in cases.fires else 0
            now = _FIRST + len(found) * _APART
            found.append(Case(file.stem, said.about, times, now, tuple(said.records)))
    raise_if_any(faults)
    return found

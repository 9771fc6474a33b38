"""Hunting queries as files: what one says, and which of them are run.

One YAML file is one query; its name is the name of the file. The package has some below
``data_stream/hunting/queries``, and the settings may name a folder with others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from aquila_mde.errors import ConfigurationError
from aquila_mde.streams import kql
from aquila_mde.streams.collect_spec import Declared, Duration
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.yaml_source import load

Column = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")]
Technique = Annotated[str, Field(pattern=r"^T\d{4}(\.\d{3})?$")]
Tactic = Literal[
    "Reconnaissance",
    "ResourceDevelopment",
    "InitialAccess",
    "Execution",
    "Persistence",
    "PrivilegeEscalation",
    "DefenseEvasion",
    "CredentialAccess",
    "Discovery",
    "LateralMovement",
    "Collection",
    "CommandAndControl",
    "Exfiltration",
    "Impact",
]
Api = Literal["defender", "graph"]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DAY = timedelta(days=1)
LONGEST = timedelta(days=30)
"""What the service keeps."""


class Hunt(Declared):
    """One file of queries."""

    title: str = Field(min_length=1, max_length=200)
    description: str = Field(min_length=1)
    query: str = Field(min_length=1)
    """The KQL, with WindowStart and WindowEnd where its time goes."""
    api: Api | None = None
    """The only API that has the tables of the query; none: both have."""
    table: Column | None = None
    """The table that its rows are taken for; else the one that the query begins with."""
    interval: Duration | None = None
    """How long after a run the next one is due; else at every pass of the stream."""
    look_back: Duration | None = None
    """How far back the first run reaches."""
    overlap: Duration | None = None
    """How far behind the last run each one starts, for rows that become visible late. With bin:
    how long after the end of a bin it is read."""
    bin: Duration | None = None
    """The stretch of time that one row stands for, in a query that makes one row of several."""
    tactics: tuple[Tactic, ...] = ()
    techniques: tuple[Technique, ...] = ()
    ids: tuple[Column, ...] = ()
    """The columns that tell a row from all others; none: everything that it says."""
    mapping: dict[Column, Column] = Field(default_factory=dict)
    """Columns of the query by the column of a table that they are to be mapped as."""


@dataclass(frozen=True)
class NamedHunt:
    """A query and the name of its file."""

    name: str
    file: Path
    hunt: Hunt

    @property
    def table(self) -> str:
        """The table that the rows are taken for."""
        return self.hunt.table or kql.table_of(self.hunt.query) or ""

    @property
    def digest(self) -> str:
        """What changes when the text of the query does."""
        return hashlib.blake2b(self.hunt.query.encode(), digest_size=8).hexdigest()


def _problems(hunt: Hunt) -> Iterator[tuple[str, str]]:
    """What keeps ``hunt`` from being run slice by slice: the key, and what is wrong with it."""
    if not kql.says_its_time(hunt.query):
        yield "query", f"say where its time goes, with {kql.WINDOW!r} behind each table"
    if word := kql.takes_anything(hunt.query):
        yield "query", f"{word} gives other rows each time; leave it out"
    together = kql.puts_together(hunt.query)
    if together and hunt.bin is None:
        yield (
            "query",
            f"{together} makes one row of several, so bin has to say which time one row stands "
            "for, such as bin: 1h with 'by bin(Timestamp, 1h)'",
        )
    if hunt.bin is not None and (hunt.bin > _DAY or _DAY % hunt.bin):
        yield "bin", "a day must be a multiple of it, such as 5m, 1h or 1d"
    if hunt.look_back is not None and hunt.look_back > LONGEST:
        yield "look_back", "the service keeps 30d"
    if (hunt.table or kql.table_of(hunt.query)) is None:
        yield "query", "it does not begin with a table, so table has to say which it is"


def load_hunts(folders: Sequence[Path]) -> list[NamedHunt]:
    """Every query of ``folders``, by name. Raises one error that lists every fault there is."""
    found: dict[str, NamedHunt] = {}
    faults: list[Fault] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(
                f"There is no folder {folder} with hunting queries.",
                hint="Make it, or change hunting.folder (AQUILA_HUNTING__FOLDER).",
            )
        for file in sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")]):
            hunt, source, wrong = load(Hunt, file)
            faults += wrong
            if hunt is not None and source is not None:
                faults += [source.fault((key,), problem) for key, problem in _problems(hunt)]
            if not _NAME.fullmatch(file.stem):
                problem = "the name of the file must be of small letters, digits and _"
                faults.append(Fault(file, 1, "", problem))
            elif file.stem in found:
                faults.append(
                    Fault(file, 1, "", f"there is another one in {found[file.stem].file}")
                )
            elif hunt is not None:
                found[file.stem] = NamedHunt(file.stem, file, hunt)
    raise_if_any(faults)
    return [found[name] for name in sorted(found)]


def chosen_hunts(
    hunts: Sequence[NamedHunt], names: Sequence[str] | None, api: Api
) -> list[NamedHunt]:
    """Those of ``hunts`` that are run: the ones called ``names``, or all that ``api`` can answer.

    Raises an error for a name that does not exist or that ``api`` has no tables for.
    """
    fitting = [each for each in hunts if each.hunt.api in (None, api)]
    if names is None:
        return fitting
    known = {each.name: each for each in hunts}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"The settings name hunting queries that do not exist: {', '.join(unknown)}.",
            hint=f"The queries are: {', '.join(known)}.",
        )
    others = [name for name in names if known[name] not in fitting]
    if others:
        raise ConfigurationError(
            f"The hunting queries {', '.join(others)} read tables that the {api} API lacks.",
            hint="Set hunting.api to the other one (defender or graph), or leave them out of "
            "hunting.queries.",
        )
    return [known[name] for name in dict.fromkeys(names)]

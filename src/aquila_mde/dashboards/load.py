"""Reads ``package/dashboards/`` and finds what is wrong in it, each fault with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from aquila_mde.dashboards.palettes import PALETTES
from aquila_mde.dashboards.spec import DashboardSpec
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.latest import latest_alias, streams_with_latest
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import Location, YamlSource, load

PACKAGE = "aquila_mde"
Types = Mapping[str, Mapping[str, str]]
"""The type of every field, by data stream."""

_NUMBERS = frozenset(
    ("long", "integer", "short", "byte", "unsigned_long", "double", "float", "half_float")
) | {"scaled_float"}
_DATES = frozenset(("date", "date_nanos"))
_VALUES = frozenset(("keyword", "constant_keyword", "ip", "boolean", "version")) | _NUMBERS
FITTING: dict[str, frozenset[str]] = {
    "values": _VALUES,
    "unique": _VALUES | _DATES,
    "last": _VALUES | _DATES,
    "average": _NUMBERS,
    "sum": _NUMBERS,
    "median": _NUMBERS,
    "ranges": _NUMBERS,
    "min": _NUMBERS | _DATES,
    "max": _NUMBERS | _DATES,
    "time": _DATES,
    "filter": _VALUES | _DATES | {"wildcard", "match_only_text", "text", "flattened"},
}
"""The types that a field may have, by what it is used for."""


@dataclass(frozen=True)
class Dashboard:
    """One dashboard, its name and where it was read from."""

    name: str
    spec: DashboardSpec
    source: YamlSource

    @property
    def id(self) -> str:
        """Of the saved object."""
        return f"{PACKAGE}-{self.name}"


def dataset(stream: str) -> str:
    """The value of ``data_stream.dataset`` in the documents of ``stream``."""
    return f"{PACKAGE}.{stream}"


def searched(stream: str, *, latest: bool = False) -> str:
    """What is searched for the versions of ``stream``, or for the newest ones only."""
    return latest_alias(dataset(stream)) if latest else f"logs-{dataset(stream)}-*"


def load_dashboards(tree: PackageTree, types: Types | None = None) -> list[Dashboard]:
    """Every dashboard in the order of its navigation. Raises an error that lists all faults.

    With ``types`` the fields are looked up as well: whether they exist, and fit what they are
    used for.
    """
    found: list[Dashboard] = []
    faults: list[Fault] = []
    for file in sorted((tree.package / "dashboards").glob("*.yml")):
        spec, source, wrong = load(DashboardSpec, file)
        faults += wrong
        if spec is not None and source is not None:
            found.append(Dashboard(file.stem, spec, source))
    names = {dashboard.name for dashboard in found}
    if not faults:
        streams = {folder.name for folder in tree.data_streams()}
        with_latest = streams_with_latest(tree)
        for dashboard in found:
            faults += _faults(dashboard, names, streams, with_latest)
            if types is not None:
                faults += field_faults(dashboard, types)
    raise_if_any(faults)
    return sorted(found, key=lambda one: (one.spec.order, one.name))


def _faults(
    dashboard: Dashboard, names: set[str], streams: set[str], with_latest: set[str]
) -> Iterator[Fault]:
    panels, source = dashboard.spec.panels, dashboard.source
    for (first, one), (second, other) in combinations(enumerate(panels), 2):
        if one.at.overlaps(other.at):
            problem = f"covers the panel {one.title} (panels[{first}])"
            yield source.fault(("panels", second, "at"), problem)
        if one.title == other.title:
            yield source.fault(("panels", second, "title"), "is the title of another panel too")
    for number, panel in enumerate(panels):
        place = ("panels", number)
        if panel.stream is not None and panel.stream not in streams:
            yield source.fault((*place, "stream"), f"there is no data stream {panel.stream}")
        elif panel.latest and panel.stream not in with_latest:
            problem = f"the mapping.yml of {panel.stream} has no latest"
            yield source.fault((*place, "latest"), problem)
        if panel.drill is not None and panel.drill not in names:
            yield source.fault((*place, "drill"), f"there is no dashboard {panel.drill}")
        coloured = [((*where, "colours"), split.colours) for where, split in panel.placed_splits()]
        coloured += [
            (("metrics", index, "colours"), metric.colours)
            for index, metric in enumerate(panel.metrics)
        ]
        for where, colours in coloured:
            if colours is not None and colours not in PALETTES:
                yield source.fault((*place, *where), f"there is no palette {colours}")
    subject = dashboard.spec.subject
    if subject is not None and subject.stream not in streams:
        yield source.fault(("subject", "stream"), f"there is no data stream {subject.stream}")


def field_faults(dashboard: Dashboard, types: Types) -> Iterator[Fault]:
    """The fields that do not exist, or whose type does not fit what they are used for."""
    spec, source = dashboard.spec, dashboard.source
    for number, panel in enumerate(spec.panels):
        known = types.get(panel.stream or "")
        for where, name, use in panel.fields() if known is not None else ():
            place: Location = ("panels", number, *where)
            if problem := misuse(name, use, known or {}, panel.stream or ""):
                yield source.fault(place, problem)
    used = {panel.stream for panel in spec.panels if panel.stream is not None}
    for number, control in enumerate(spec.controls):
        for stream in sorted(used):
            if control.field in types.get(stream, {}):
                break
        else:
            place = ("controls", number, "field")
            yield source.fault(place, f"{control.field} is in none of the streams that are shown")
    if spec.subject is not None and spec.subject.stream in types:
        known = types[spec.subject.stream]
        if problem := misuse(spec.subject.field, "values", known, spec.subject.stream):
            yield source.fault(("subject", "field"), problem)


def misuse(name: str, use: str, known: Mapping[str, str], stream: str) -> str | None:
    """What is wrong with using the field ``name`` for ``use``; ``None`` when nothing is."""
    kind = known.get(name)
    if kind is None:
        return f"{name} is no field of {stream}"
    parts = name.split(".")
    above = (".".join(parts[:length]) for length in range(1, len(parts)))
    if any(known.get(parent) == "nested" for parent in above):
        return f"{name} lies in nested objects, which neither charts nor rules look into"
    if kind not in FITTING[use]:
        return f"{name} is {kind} and cannot be used for {use}"
    return None

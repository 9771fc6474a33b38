"""Reads ``package/hunting/`` and finds what is wrong in it, each fault with its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aquila_mde.dashboards.filters import parse_filter
from aquila_mde.dashboards.load import PACKAGE, Types, misuse, searched
from aquila_mde.esql import EsqlError, read_query
from aquila_mde.hunting_pack.spec import Question
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.latest import streams_with_latest
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import YamlSource, load


@dataclass(frozen=True)
class PackQuery:
    """One question of the pack, its name and where it was read from."""

    name: str
    spec: Question
    source: YamlSource

    @property
    def id(self) -> str:
        """Of the saved search."""
        return f"{PACKAGE}-{self.name.replace('_', '-')}"

    @property
    def index(self) -> str:
        """What is searched."""
        if self.spec.stream is None:
            return read_query(self.spec.query).index
        return searched(self.spec.stream, latest=self.spec.latest)

    @property
    def streams(self) -> tuple[str, ...]:
        """The data streams that are read."""
        if self.spec.stream is not None:
            return (self.spec.stream,)
        return read_query(self.spec.query).streams


def load_pack(tree: PackageTree, types: Types | None = None) -> list[PackQuery]:
    """Every question by its order. Raises an error that lists all faults.

    With ``types`` the fields are looked up as well: whether they exist, and fit their use.
    """
    found: list[PackQuery] = []
    faults: list[Fault] = []
    titles: dict[str, str] = {}
    streams = {folder.name for folder in tree.data_streams()}
    with_latest = streams_with_latest(tree)
    for file in sorted((tree.package / "hunting").glob("*.yml")):
        spec, source, wrong = load(Question, file)
        faults += wrong
        if spec is None or source is None:
            continue
        first = titles.setdefault(spec.title, file.name)
        if first != file.name:
            faults.append(source.fault(("title",), f"is the title of {first} too"))
        one = PackQuery(file.stem, spec, source)
        faults += _faults(one, streams, with_latest, types)
        found.append(one)
    raise_if_any(faults)
    return sorted(found, key=lambda one: (one.spec.order, one.name))


def _faults(
    one: PackQuery, streams: set[str], with_latest: set[str], types: Types | None
) -> Iterator[Fault]:
    spec = one.spec
    if spec.stream is not None:
        if spec.stream not in streams:
            yield one.source.fault(("stream",), f"there is no data stream {spec.stream}")
        elif spec.latest and spec.stream not in with_latest:
            yield one.source.fault(("latest",), f"the mapping.yml of {spec.stream} has no latest")
        elif types is not None:
            yield from _kql_faults(one, spec.stream, types)
        return
    try:
        query = read_query(spec.query)
        for stream in query.streams:
            if stream not in streams:
                yield one.source.fault(("query",), f"there is no data stream {stream}")
                return
            if stream in query.latest - with_latest:
                yield one.source.fault(("query",), f"the mapping.yml of {stream} has no latest")
        if types is not None:
            query.check(types)
    except EsqlError as error:
        yield one.source.fault(("query",), str(error))


def _kql_faults(one: PackQuery, stream: str, types: Types) -> Iterator[Fault]:
    known = types[stream]
    for name in parse_filter(one.spec.query).fields():
        if problem := misuse(name, "filter", known, stream):
            yield one.source.fault(("query",), problem)
    for number, name in enumerate(one.spec.columns):
        if name not in known:
            yield one.source.fault(("columns", number), f"{name} is no field of {stream}")

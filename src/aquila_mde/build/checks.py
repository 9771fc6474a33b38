"""What a ``mapping.yml`` can get wrong although every key in it is known.

Faults are collected, each with its line, so that one run shows all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aquila_mde.build import ecs
from aquila_mde.build.library import FunctionKind, Library, Need
from aquila_mde.build.plan import conversion_of
from aquila_mde.streams.faults import Fault
from aquila_mde.streams.mapping_spec import MappingSpec, Row, Step, snake_case
from aquila_mde.streams.yaml_source import Location, YamlSource

_FITS: dict[str, frozenset[str]] = {
    "keyword": frozenset({"keyword"}),
    "constant_keyword": frozenset({"keyword"}),
    "wildcard": frozenset({"keyword"}),
    "match_only_text": frozenset({"keyword"}),
    "flattened": frozenset({"flattened"}),
    "boolean": frozenset({"boolean"}),
    "byte": frozenset({"long"}),
    "long": frozenset({"long"}),
    "float": frozenset({"float", "long"}),
    "date": frozenset({"date"}),
    "date_nanos": frozenset({"date"}),
    "ip": frozenset({"ip"}),
}
"""The kinds of value that each field type takes."""


def check_mapping(spec: MappingSpec, source: YamlSource, library: Library) -> list[Fault]:
    """Every fault of one mapping, each with its line."""
    checker = _Checker(spec, source, library)
    checker.event()
    checker.rows()
    checker.names(("properties",), spec.properties, ())
    for name, join in spec.joins.items():
        under = (join.under,) if join.under else ()
        checker.names(("joins", name, "properties"), join.properties, under)
    checker.rules()
    checker.rest()
    return checker.faults


@dataclass
class _Checker:
    spec: MappingSpec
    source: YamlSource
    library: Library
    faults: list[Fault] = field(default_factory=list)
    _filled: dict[str, str] = field(default_factory=dict)
    _own: dict[str, str] = field(default_factory=dict)
    _spellings: dict[str, str] = field(default_factory=dict)

    def fault(self, location: Location, problem: str) -> None:
        self.faults.append(self.source.fault(location, problem))

    def event(self) -> None:
        event, legal = self.spec.event, ecs.values()
        if event.kind not in legal["kind"]:
            self.fault(("event", "kind"), f"{event.kind} is no event.kind of ECS")
        allowed: set[str] = set()
        for category in event.category:
            if category in legal["category"]:
                allowed |= set(legal["category"][category])
            else:
                self.fault(("event", "category"), f"{category} is no event.category of ECS")
        for kind in event.type:
            if allowed and kind not in allowed:
                self.fault(("event", "type"), f"{kind} does not go with the category in ECS")

    def rows(self) -> None:
        for place, row in self.spec.walk():
            self._row(place, row, in_list="list" in place)
            known = place[-1]
            names = [known] if place[:-1] == ("properties",) else []
            for alias in row.otherwise:
                if self._spellings.setdefault(alias, known) != known:
                    self.fault((*place, "or"), f"{alias} is a property of its own as well")
            for name in names:
                if self._spellings.setdefault(name, known) != known:
                    self.fault(place, f"{name} is another spelling of {self._spellings[name]}")

    def _row(self, place: Location, row: Row, *, in_list: bool) -> None:
        transforms = self.library.transforms
        named = (
            ("as", row.conversion, transforms.conversions, "conversion"),
            ("block", row.block, transforms.blocks, "block"),
            ("each", row.each, transforms.items, "function for members of a list"),
            ("table", row.table, self.library.tables, "table"),
        )
        unknown = [
            (key, name, what) for key, name, all_, what in named if name and name not in all_
        ]
        for key, name, what in unknown:
            self.fault((*place, key), _unknown(name, what))
        if in_list and (row.to or row.block or row.table or row.list):
            self.fault(place, "inside a list there is only as, or, keep, name, related and object")
        if row.rule is not None:
            self._read_by_rule(place, row, row.rule)
        if unknown or row.object is not None:
            return
        if row.list is None:
            kind = transforms.conversions[conversion_of(row, self.library)].type
            self._values(place, row, kind)
        if row.block is not None:
            self._block(place, row, transforms.blocks[row.block])
        elif row.table is not None:
            columns = self.library.tables[row.table].columns
            for column in columns:
                self._fill((*place, "table"), column, None, later=False)
            if not columns:
                self.fault((*place, "table"), f"table {row.table} names no columns to fill")

    def _read_by_rule(self, place: Location, row: Row, name: str) -> None:
        if name not in {one.rule for one in self.spec.rules}:
            self.fault((*place, "rule"), "must be one of the rules")
            return
        known = self.library.transforms.rules.get(name)
        needed: Need = "join" if place[0] == "joins" else "record"
        if known is not None and needed not in known.needs:
            self.fault((*place, "rule"), f"{name} does not read the {needed}")
        for target in set(row.fills) - set(known.writes if known is not None else ()):
            self.fault((*place, "fills"), f"{name} does not fill {target}")

    def _block(self, place: Location, row: Row, block: FunctionKind) -> None:
        if "table" in block.needs and row.table is None:
            self.fault((*place, "block"), f"block {row.block} needs a table")
        for target in block.writes:
            self._exists((*place, "block"), target)
        if row.block == "locate" and not self.spec.geo:
            self.fault((*place, "block"), "locate needs a geo entry that says where to")

    def _values(self, place: Location, row: Row, kind: str) -> None:
        if row.keep is not None and kind not in _FITS.get(row.keep, ()):
            self.fault((*place, "keep"), f"{row.keep} cannot hold what is read as {kind}")
        for target, steps in row.to.items():
            later = any(step.name == "unless" for step in steps)
            self._fill(
                (*place, "to", target), target, self._after(place, "to", steps, kind), later=later
            )
        for related, steps in row.related.items():
            result = self._after(place, "related", steps, kind)
            if result is not None and result != ("ip" if related == "ip" else "keyword"):
                self.fault((*place, "related"), f"related.{related} cannot hold {result}")

    def _after(self, place: Location, key: str, steps: tuple[Step, ...], kind: str) -> str | None:
        """The kind of value that the steps leave, or ``None`` when a step is wrong."""
        for position, step in enumerate(steps):
            known = self.library.transforms.steps.get(step.name)
            problem = ""
            if known is None:
                problem = _unknown(step.name, "step")
            elif step.name == "unless" and (step.words != ("set",) or position != len(steps) - 1):
                problem = "unless set is the last step"
            elif known.argument is None and step.words:
                problem = f"{step.name} takes no argument"
            elif known.argument == "number" and not _is_number(step.words):
                problem = f"{step.name} takes one whole number"
            elif known.argument in ("words", "text") and not step.words:
                problem = f"{step.name} needs a word"
            elif known.argument == "table":
                if len(step.words) != 1 or step.words[0] not in self.library.tables:
                    problem = _unknown(" ".join(step.words), "table")
                else:
                    kind = _kind_of(self.library, step.words[0])
            if problem or known is None:
                self.fault((*place, key), problem)
                return None
            kind = known.type or kind
        return kind

    def _fill(self, location: Location, target: str, kind: str | None, *, later: bool) -> None:
        if not self._exists(location, target):
            return
        holds = self._type_of(target)
        if kind is not None and kind not in _FITS.get(holds, ()):
            self.fault(location, f"{target} is {holds} and cannot hold {kind}")
        source = str(location[-1] if target not in location else location[-3])
        if target in self._filled and not later:
            self.fault(
                location,
                f"{target} is filled from {self._filled[target]} already; "
                'say "unless set" where it is the second choice',
            )
        self._filled.setdefault(target, source)

    def _exists(self, location: Location, target: str) -> bool:
        if target.startswith("~"):
            if target[1:] not in self.spec.own:
                self.fault(location, f"{target} needs an entry with its type under own")
                return False
            return True
        if target in ecs.fields() or target in self.spec.beyond_ecs:
            return True
        self.fault(
            location,
            f"{target} is no field of ECS {ecs.VERSION}; "
            "a field that ECS lacks needs an entry under beyond_ecs",
        )
        return False

    def _type_of(self, target: str) -> str:
        if target.startswith("~"):
            return self.spec.own[target[1:]].type
        if target in self.spec.beyond_ecs:
            return self.spec.beyond_ecs[target].type
        return ecs.fields()[target].type

    def names(self, place: Location, rows: dict[str, Row], under: tuple[str, ...]) -> None:
        """Whether two rows keep their value in one field of the stream."""
        for name, row in rows.items():
            own = row.name or snake_case(name)
            if row.object is not None:
                below = under if row.inline else (*under, own)
                self.names((*place, name, "object"), row.object, below)
            elif row.keep is not None:
                path = ".".join((*under, own))
                before = self._own.setdefault(path, row.keep)
                if before != row.keep:
                    self.fault((*place, name, "keep"), f"{path} is kept as {before} by another row")
                if path in self.spec.own or path in self.library.common.own:
                    self.fault((*place, name), f"{path} is a field of own as well")
            if row.list is not None:
                outside, self._own = self._own, {}
                self.names((*place, name, "list"), row.list, ())
                self._own = outside

    def rules(self) -> None:
        for number, rule in enumerate(self.spec.rules):
            known = self.library.transforms.rules.get(rule.rule)
            if known is None:
                self.fault(("rules", number, "rule"), _unknown(rule.rule, "rule"))
                continue
            for target in known.writes:
                self._exists(("rules", number, "rule"), target)

    def rest(self) -> None:
        for name in self.spec.beyond_ecs:
            if name in ecs.fields():
                self.fault(("beyond_ecs", name), f"{name} is a field of ECS {ecs.VERSION}")
        for number, geo in enumerate(self.spec.geo):
            for name in self.library.common.geo:
                self._exists(("geo", number, "to"), f"{geo.to}.{name}")
        if self.spec.portal is not None:
            self._exists(("portal", "id"), self.spec.portal.id)
        for number, name in enumerate(self.spec.unpack):
            if name not in self.spec.properties:
                self.fault(("unpack", number), f"{name} is none of the properties")
        for number, name in enumerate(self.spec.timestamp):
            if not name.startswith("join.") and name not in self.spec.properties:
                self.fault(("timestamp", number), f"{name} is none of the properties")


def _unknown(name: str, what: str) -> str:
    return f"there is no {what} {name}"


def _is_number(words: tuple[str, ...]) -> bool:
    return len(words) == 1 and words[0].isdigit()


def _kind_of(library: Library, table: str) -> str:
    """The kind of the answers of a table."""
    answers = [answer for answer in library.tables[table].values.values() if answer is not None]
    if all(isinstance(answer, bool) for answer in answers):
        return "boolean"
    if all(isinstance(answer, int) for answer in answers):
        return "long"
    return "keyword"

"""The way from a row of ``mapping.yml`` to what has to be done for it, before it is rendered.

A plan says which function takes the property out of the record and which values go where. It
knows nothing of how a pipeline writes that down, so a template decides between one script and
one processor a field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aquila_mde.build import ecs
from aquila_mde.build.library import FunctionKind, Library, StepKind
from aquila_mde.streams.casing import spellings
from aquila_mde.streams.mapping_spec import Join, MappingSpec, Row, Step, snake_case

_ROWS_PER_FUNCTION = 20
"""Java compiles only methods below 8,000 bytes of byte code; a longer one runs interpreted."""


@dataclass(frozen=True)
class Assignment:
    """One value and the place it goes to: ``root`` is ``ctx`` or ``own``."""

    root: str
    path: tuple[str, ...]
    value: str
    unless_set: bool = False
    duplicate: bool = False


@dataclass(frozen=True)
class RowPlan:
    """Everything that is done for one property."""

    property: str
    take: str
    assignments: tuple[Assignment, ...] = ()
    related: tuple[tuple[str, str], ...] = ()
    block: str = ""
    table: str = ""
    cells: tuple[Assignment, ...] = ()
    """What the columns of ``table`` fill; the value is the number of the column."""
    object: tuple[RowPlan, ...] = ()
    list: ListPlan | None = None


@dataclass(frozen=True)
class ListPlan:
    """A list of objects, read by a function of its own."""

    function: str
    property: str
    scalar: str | None
    rows: tuple[RowPlan, ...]
    each: str
    extra: bool


@dataclass(frozen=True)
class SectionPlan:
    """Rows that share one Painless function."""

    function: str
    rows: tuple[RowPlan, ...]


@dataclass(frozen=True)
class JoinPlan:
    """The sections that read what the collector put beside the record."""

    name: str
    sections: tuple[SectionPlan, ...]


@dataclass(frozen=True)
class MappingPlan:
    """All that a template needs to render one stream."""

    stream: str
    spec: MappingSpec
    sections: tuple[SectionPlan, ...]
    joins: tuple[JoinPlan, ...]
    rules: tuple[tuple[str, str], ...]
    params: dict[str, Any]
    lists: tuple[ListPlan, ...] = field(default=())


def plan_mapping(stream: str, spec: MappingSpec, library: Library) -> MappingPlan:
    """The plan of one stream whose mapping has no fault."""
    planner = _Planner(library)
    sections = planner.sections("fields", spec.properties, ())
    joins = tuple(planner.join(name, join) for name, join in spec.joins.items())
    rules = tuple(
        (rule.rule, planner.call(library.transforms.rules[rule.rule], "", None))
        for rule in spec.rules
    )
    tables = {name: library.tables[name].params() for name in sorted(planner.tables)}
    return MappingPlan(
        stream,
        spec,
        sections,
        joins,
        rules,
        {"names": _names(spec), **tables},
        tuple(planner.lists),
    )


def _names(spec: MappingSpec) -> dict[str, str]:
    """The other spellings of the properties, with the one that the mapping knows.

    Two for each name, as it is and with one capital; the script itself works out the rest.
    """
    names: dict[str, str] = {}
    for place, row in spec.walk():
        known = place[-1]
        for one in (known, *row.otherwise):
            for spelling in spellings(one)[:2]:
                if spelling != known:
                    names[spelling] = known
    return dict(sorted(names.items()))


@dataclass
class _Planner:
    library: Library
    lists: list[ListPlan] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)

    def join(self, name: str, join: Join) -> JoinPlan:
        under = (join.under,) if join.under else ()
        function = "join" + name.title().replace("_", "")
        return JoinPlan(name, self.sections(function, join.properties, under, joined=True))

    def sections(
        self, function: str, rows: dict[str, Row], under: tuple[str, ...], *, joined: bool = False
    ) -> tuple[SectionPlan, ...]:
        plans = [
            self.row(name, row, under, function, joined=joined)
            for name, row in rows.items()
            if row.places or row.rows
        ]
        parts = [
            tuple(plans[start : start + _ROWS_PER_FUNCTION])
            for start in range(0, len(plans), _ROWS_PER_FUNCTION)
        ]
        return tuple(
            SectionPlan(f"{function}{number}", part) for number, part in enumerate(parts, 1)
        )

    def row(
        self, name: str, row: Row, under: tuple[str, ...], function: str, *, joined: bool
    ) -> RowPlan:
        own_name = row.name or snake_case(name)
        if row.object is not None:
            below = under if row.inline else (*under, own_name)
            return RowPlan(
                name,
                f"object(r, '{name}')",
                object=tuple(
                    self.row(key, one, below, function, joined=joined)
                    for key, one in row.object.items()
                ),
            )
        assignments: list[Assignment] = []
        if row.keep:
            assignments.append(Assignment("own", (*under, own_name), "v"))
        elif not joined and row.list is None and (row.to or row.block or row.table):
            assignments.append(Assignment("own", (*under, own_name), "v", duplicate=True))
        block = ""
        if row.block:
            block = self.call(self.library.transforms.blocks[row.block], "v", row.table)
        if row.list is not None:
            read = self.list_plan(name, row, function)
            return RowPlan(
                name,
                f"{read.function}(r, rel)",
                tuple(assignments),
                block=block,
                list=read,
            )
        conversion = self.library.transforms.conversions[conversion_of(row, self.library)]
        assignments += [
            self.assignment(target, steps, many=conversion.many) for target, steps in row.to.items()
        ]
        return RowPlan(
            name,
            f"{conversion.function}(r, '{name}')",
            tuple(assignments),
            tuple((kind, self.value(steps)) for kind, steps in row.related.items()),
            block,
            self.table(row.table) if row.table and not row.block else "",
            self.cells(row.table) if row.table and not row.block else (),
        )

    def list_plan(self, name: str, row: Row, function: str) -> ListPlan:
        rows = row.list or {}
        read = "read" + function.title().removeprefix("Fields") + name[:1].upper() + name[1:]
        plan = ListPlan(
            read,
            name,
            row.scalar,
            tuple(self.row(key, one, (), function, joined=True) for key, one in rows.items()),
            self.call(self.library.transforms.items[row.each], "n", None) if row.each else "",
            row.extra,
        )
        self.lists.append(plan)
        return plan

    def assignment(self, target: str, steps: tuple[Step, ...], *, many: bool) -> Assignment:
        unless_set = any(step.name == "unless" for step in steps)
        value = self.value(steps)
        if target.startswith("~"):
            return Assignment("own", tuple(target[1:].split(".")), value, unless_set)
        known = ecs.fields().get(target)
        firsts = any(step.name == "first" for step in steps)
        if known is not None and known.many and (not many or firsts):
            value = f"alone({value})"
        return Assignment("ctx", tuple(target.split(".")), value, unless_set)

    def value(self, steps: tuple[Step, ...]) -> str:
        value = "v"
        for step in steps:
            if step.name == "unless":
                continue
            kind = self.library.transforms.steps[step.name]
            value = f"{kind.function}({value}{self._argument(kind, step)})"
        return value

    def _argument(self, kind: StepKind, step: Step) -> str:
        match kind.argument:
            case "number":
                return f", {int(step.words[0])}"
            case "words":
                return f", [{', '.join(_quoted(word) for word in step.words)}]"
            case "text":
                return f", {_quoted(' '.join(step.words))}"
            case "table":
                return f", {self.table(step.words[0])}"
        return ""

    def call(self, kind: FunctionKind, value: str, table: str | None) -> str:
        """The call of a block, an item or a rule."""
        arguments = [value] if value else []
        if value != "n":
            arguments.append("ctx")
        for need in kind.needs:
            if need == "table":
                arguments.append(self.table(table or ""))
            else:
                arguments.append("r" if need == "record" else need)
            if need == "params":
                self.tables |= {
                    name
                    for name in self.library.tables
                    if f"'{name}'" in self._whole_text(kind.function)
                }
        return f"{kind.function}({', '.join(arguments)})"

    def _whole_text(self, function: str) -> str:
        return "".join(one.text for one in self.library.needed(f"{function}("))

    def table(self, name: str) -> str:
        self.tables.add(name)
        return f"(Map) params.get('{name}')"

    def cells(self, name: str) -> tuple[Assignment, ...]:
        return tuple(
            Assignment("ctx", tuple(column.split(".")), str(number))
            for number, column in enumerate(self.library.tables[name].columns)
        )


def conversion_of(row: Row, library: Library) -> str:
    """The name of the conversion of a row: what it says, or what its types ask for."""
    if row.conversion:
        return row.conversion
    wanted = next(_types(row), None)
    if wanted is not None:
        return library.transforms.by_type.get(wanted, "text")
    return library.transforms.blocks[row.block].takes if row.block else "text"


def _types(row: Row) -> Iterator[Any]:
    if row.keep:
        yield row.keep
    for target, steps in row.to.items():
        if not any(step.name == "table" for step in steps):
            known = ecs.fields().get(target)
            if known is not None:
                yield known.type


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""What becomes of each property, as lines of a table: from, to, type, and what is done to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aquila_mde.build import ecs
from aquila_mde.build.library import FunctionKind, Library
from aquila_mde.streams.mapping_spec import MappingSpec, Row, Step, snake_case


@dataclass(frozen=True)
class Line:
    """One property and one field that it fills. A property may have several lines."""

    source: str
    """As Microsoft writes it; ``evidence[].sha1`` is in each member of a list."""
    target: str
    type: str
    about: str


@dataclass(frozen=True)
class Counts:
    """How many documented properties go where; objects count by what is in them."""

    ecs: int
    """Fill at least one field of ECS."""
    custom: int
    """Fill fields of the stream itself only."""
    overflow: int
    """Have no field of their own, so that they would end in the extra field."""

    @property
    def all(self) -> int:
        """Every documented property."""
        return self.ecs + self.custom + self.overflow


class FieldTable:
    """The lines of one stream."""

    def __init__(self, stream: str, spec: MappingSpec, library: Library) -> None:
        self._spec = spec
        self._library = library
        self._prefix = f"mde.{stream}"

    def properties(self) -> list[Line]:
        """Of the record itself."""
        return list(self._rows(self._spec.properties, "", (), joined=False))

    def join(self, name: str) -> list[Line]:
        """Of what the join ``name`` puts beside the record."""
        join = self._spec.joins[name]
        under = (join.under,) if join.under else ()
        return list(self._rows(join.properties, "", under, joined=True))

    def derived(self) -> list[Line]:
        """Of what no single property gives."""
        lines = []
        for rule in self._spec.rules:
            kind = self._library.transforms.rules[rule.rule]
            lines += [self._line("", target, rule.about) for target in kind.writes]
        for geo in self._spec.geo:
            about = f"{geo.about[:1].upper()}{geo.about[1:]}."
            lines += [self._line("", f"{geo.to}.{one}", about) for one in self._library.common.geo]
            if geo.network:
                network = f"{self._prefix}.{geo.network}"
                lines.append(Line("", f"{network}.number", "long", about))
                lines.append(Line("", f"{network}.organization.name", "keyword", about))
        lines += [
            Line("", f"{self._prefix}.{name}", one.type, one.about)
            for name, one in (*self._spec.own.items(), *self._library.common.own.items())
        ]
        return lines

    def counts(self) -> Counts:
        """Where the documented properties of the record go."""
        found = [self._kind(row) for _, row in self._properties(self._spec.properties)]
        return Counts(found.count("ecs"), found.count("custom"), found.count("overflow"))

    def names(self) -> set[str]:
        """Every documented property, as in :attr:`Line.source`."""
        return {name for name, _ in self._properties(self._spec.properties)}

    def _properties(self, rows: dict[str, Row], before: str = "") -> Iterator[tuple[str, Row]]:
        for name, row in rows.items():
            if row.object is not None:
                yield from self._properties(row.object, f"{before}{name}.")
                continue
            yield f"{before}{name}", row
            if row.list is not None:
                yield from self._properties(row.list, f"{before}{name}[].")

    def _kind(self, row: Row) -> str:
        filled = [target for target in self._filled(row) if target in ecs.fields()]
        if filled or row.related or row.fills or row.block == "locate":
            return "ecs"
        return "custom" if row.keep or row.to or row.block or row.table else "overflow"

    def _filled(self, row: Row) -> Iterator[str]:
        yield from row.to
        if row.block:
            yield from self._library.transforms.blocks[row.block].writes
        elif row.table:
            yield from self._library.tables[row.table].columns

    def _rows(
        self, rows: dict[str, Row], before: str, under: tuple[str, ...], *, joined: bool
    ) -> Iterator[Line]:
        for name, row in rows.items():
            source, own = f"{before}{name}", row.name or snake_case(name)
            if row.object is not None:
                below = under if row.inline else (*under, own)
                yield from self._rows(row.object, f"{source}.", below, joined=joined)
                continue
            yield from self._row(source, row, ".".join((self._prefix, *under, own)))
            if row.list is not None:
                kept = row.keep is not None
                yield from self._list(f"{source}[].", row, (*under, own), kept=kept)

    def _list(self, before: str, row: Row, under: tuple[str, ...], *, kept: bool) -> Iterator[Line]:
        for line in self._rows(row.list or {}, before, under, joined=True):
            if kept or not line.target.startswith(f"{self._prefix}."):
                yield line
        if kept:
            path = ".".join((self._prefix, *under))
            for name, one in row.own.items():
                yield Line(before.removesuffix("."), f"{path}.{name}", one.type, one.about)

    def _row(self, source: str, row: Row, own: str) -> Iterator[Line]:
        if row.rule:
            about = next(one.about for one in self._spec.rules if one.rule == row.rule)
            yield from (self._line(source, target, about) for target in row.fills)
        for target, steps in row.to.items():
            yield self._line(source, target, self._said(steps))
        if row.block:
            yield from self._block(source, self._library.transforms.blocks[row.block])
        elif row.table:
            table = self._library.tables[row.table]
            for target in table.columns:
                yield self._line(source, target, table.about)
        if row.keep:
            yield Line(source, own, row.keep, row.about)
        for related, steps in row.related.items():
            yield self._line(source, f"related.{related}", self._said(steps))

    def _block(self, source: str, block: FunctionKind) -> Iterator[Line]:
        about = f"{block.about[:1].upper()}{block.about[1:]}."
        for target in block.writes:
            yield self._line(source, target, about)
        if not block.writes:
            for geo in self._spec.geo:
                yield Line(source, f"{geo.to}.*", "geo", about)

    def _line(self, source: str, target: str, about: str) -> Line:
        if target.startswith("~"):
            own = self._spec.own[target[1:]]
            return Line(source, f"{self._prefix}.{target[1:]}", own.type, about or own.about)
        beyond = self._spec.beyond_ecs.get(target)
        if beyond is not None:
            note = f"{about} Not a field of ECS.".strip()
            return Line(source, target, beyond.type, note)
        return Line(source, target, ecs.fields()[target].type, about)

    def _said(self, steps: tuple[Step, ...]) -> str:
        """What the steps do, in the words of the library."""
        text = "; ".join(self._step(step) for step in steps)
        return f"{text[:1].upper()}{text[1:]}." if text else ""

    def _step(self, step: Step) -> str:
        kind, words = self._library.transforms.steps[step.name], " ".join(step.words)
        about = kind.about.removeprefix("unless set: ")
        match kind.argument:
            case "table":
                return f"by the table {words}"
            case "number":
                return f"{about}, {words} of them"
            case "words":
                return about.replace("one of the words", " or ".join(step.words))
            case "text":
                return about.replace("the word", words)
        return about

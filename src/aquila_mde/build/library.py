"""What the mapping files draw on: Painless functions, the registry of transforms, and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from aquila_mde.streams.collect_spec import Declared
from aquila_mde.streams.faults import Fault
from aquila_mde.streams.mapping_spec import EcsName, FieldType, OwnField
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import load

_SIGNATURE = re.compile(r"^(?:void|def|[A-Za-z.]+) (\w+)\(([^)]*)\) \{$", re.MULTILINE)
_WORD = re.compile(r"\b(\w+)\(")
_NOT_CODE = re.compile(r"//[^\n]*|'(?:\\.|[^'\\])*'")

Need = Literal["record", "rel", "table", "own", "params", "join"]
Cell = str | int | bool | float | list[str] | None


class Conversion(Declared):
    """A way to take a property out of the record."""

    function: str
    type: FieldType
    many: bool = False
    about: str


class StepKind(Declared):
    """A change of a value on the way to one target."""

    function: str
    argument: Literal["number", "words", "table", "text"] | None = None
    type: FieldType | None = None
    """What it gives, where that is not what it was given."""
    about: str


class FunctionKind(Declared):
    """A function that fills several fields; ``~name`` is a field of the stream itself."""

    function: str
    takes: str = "text"
    """The conversion of a block's value, where the row names none and keeps nothing."""
    needs: tuple[Need, ...] = ()
    writes: tuple[str, ...] = ()
    about: str


class Transforms(Declared):
    """``pipelines/transforms.yml``."""

    conversions: dict[str, Conversion]
    by_type: dict[FieldType, str]
    steps: dict[str, StepKind]
    blocks: dict[str, FunctionKind]
    items: dict[str, FunctionKind] = Field(default_factory=dict)
    rules: dict[str, FunctionKind]


class Common(Declared):
    """``pipelines/common.yml``: the fields that every stream has."""

    base: dict[EcsName, OwnField]
    ecs: dict[EcsName, str]
    own: dict[str, OwnField]
    geo: tuple[str, ...]


class Table(Declared):
    """One file of ``pipelines/tables/``: what to write for a value, compared without case."""

    about: str
    columns: tuple[str, ...] = ()
    """The ECS fields that the cells of a row belong to; none: each value has one answer."""
    values: dict[str, Cell | list[Cell]] = Field(min_length=1)
    default: Cell | list[Cell] = None
    """The row or the answer for what the table does not know."""

    @model_validator(mode="after")
    def _rows_fit(self) -> Table:
        rows = [*self.values.values(), *([] if self.default is None else [self.default])]
        if self.columns and any(
            not isinstance(row, list) or len(row) != len(self.columns) for row in rows
        ):
            raise ValueError(f"every row needs {len(self.columns)} cells")
        lowered = [key.lower() for key in self.values]
        twice = sorted({key for key in lowered if lowered.count(key) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is there twice")
        return self

    def params(self) -> dict[str, Any]:
        """The table as the script reads it; the default row stands under the empty text."""
        rows: dict[str, Any] = {key.lower(): row for key, row in self.values.items()}
        if self.default is not None:
            rows[""] = self.default
        return rows


@dataclass(frozen=True)
class Function:
    """One Painless function, its comment, and the names it calls. Overloads share one entry."""

    name: str
    text: str
    calls: frozenset[str]


@dataclass(frozen=True)
class Library:
    """Everything in ``pipelines/`` that is not a template."""

    functions: dict[str, Function]
    transforms: Transforms
    common: Common
    tables: dict[str, Table]

    def needed(self, code: str) -> list[Function]:
        """The functions that ``code`` calls, with all that they call, in library order."""
        found: set[str] = set()
        waiting = set(calls(code))
        while waiting:
            name = waiting.pop()
            if name in self.functions and name not in found:
                found.add(name)
                waiting |= self.functions[name].calls
        return [function for name, function in self.functions.items() if name in found]


def calls(code: str) -> frozenset[str]:
    """The names that are called in a piece of Painless."""
    return frozenset(_WORD.findall(_NOT_CODE.sub("", code)))


def load_library(tree: PackageTree) -> tuple[Library | None, list[Fault]]:
    """Read ``pipelines/``; every fault of every file."""
    functions: dict[str, Function] = {}
    faults: list[Fault] = []
    for file in sorted((tree.pipelines / "painless").glob("*.painless")):
        for function in read_functions(file):
            before = functions.get(function.name)
            if before is None:
                functions[function.name] = function
            else:
                functions[function.name] = Function(
                    function.name,
                    f"{before.text}\n\n{function.text}",
                    before.calls | function.calls,
                )
    transforms, source, found = load(Transforms, tree.pipelines / "transforms.yml")
    faults += found
    if transforms is not None and source is not None:
        for section in ("conversions", "steps", "blocks", "items", "rules"):
            for name, entry in getattr(transforms, section).items():
                if entry.function not in functions:
                    faults.append(
                        source.fault(
                            (section, name, "function"),
                            f"there is no Painless function {entry.function}",
                        )
                    )
    common, _, found = load(Common, tree.pipelines / "common.yml")
    faults += found
    tables: dict[str, Table] = {}
    for file in sorted((tree.pipelines / "tables").glob("*.yml")):
        table, _, found = load(Table, file)
        faults += found
        if table is not None:
            tables[file.stem] = table
    if transforms is None or common is None or faults:
        return None, faults
    return Library(functions, transforms, common, tables), []


def read_functions(file: Path) -> list[Function]:
    """The functions of one Painless file; each begins and ends at the left margin."""
    text = file.read_text(encoding="utf-8")
    found = []
    for match in _SIGNATURE.finditer(text):
        start, end = match.start(), text.index("\n}", match.start()) + 2
        lines = text[:start].splitlines()
        comment: list[str] = []
        while lines and lines[-1].startswith("//"):
            comment.insert(0, lines.pop())
        body = text[start:end]
        found.append(Function(match[1], "\n".join([*comment, body]), calls(body) - {match[1]}))
    return found

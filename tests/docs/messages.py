"""Every message of the program that tells of trouble, read from its source.

A message is what stands in the source with ``…`` for what is put in when it is raised, so that
what is on a screen can be searched for by its fixed words: ``No connection to … within … s``.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import aquila_mde

SOURCE = Path(aquila_mde.__file__).parent
GAP = "…"
# Files that a user writes; faults in those of the package are for who changes the package.
_USERS_FILES = {"streams/hunts.py", "streams/yaml_source.py"}
_LOGGED = {"warning", "error", "critical", "exception"}
_FOUND = {"warning", "failed"}
Texts = frozenset[str]
_Blocks = tuple[list[ast.stmt], ...]
_UNKNOWN: Texts = frozenset({GAP})


@dataclass(frozen=True)
class Message:
    """One message and one place that raises or logs it."""

    text: str
    kind: str
    """``error``, ``usage``, ``log``, ``check`` or ``fault``."""
    place: str
    """``elastic/errors.py:118``."""


@dataclass(frozen=True)
class _Module:
    name: str
    tree: ast.Module

    @cached_property
    def constants(self) -> dict[str, list[ast.expr]]:
        return _assigned(self.tree.body)


@dataclass(frozen=True)
class _ErrorKind:
    """A class of errors: what its instances are called with, and which message becomes of it."""

    module: _Module
    parameters: tuple[str, ...]
    message: ast.expr


def all_messages(source: Path = SOURCE) -> list[Message]:
    """All of them, in the order of files and lines."""
    modules = [
        _Module(str(file.relative_to(source)), ast.parse(file.read_text(encoding="utf-8")))
        for file in sorted(source.rglob("*.py"))
        if "assets" not in file.relative_to(source).parts
    ]
    kinds = _error_kinds(modules)
    found: list[Message] = []
    for module in modules:
        here = []
        for kind, texts, line in _in_module(module, kinds):
            told = {text for text in map(_shape, texts) if re.search(r"[A-Za-z]{2}", text)}
            here += [Message(text, kind, f"{module.name}:{line}") for text in sorted(told)]
        found += sorted(here, key=lambda each: int(each.place.rpartition(":")[2]))
    return found


def _in_module(module: _Module, kinds: dict[str, _ErrorKind]) -> Iterator[tuple[str, Texts, int]]:
    for blocks, node in _placed(module.tree, ()):
        scope = _Scope(module, blocks)
        # An error may be told in other words on its way.
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr):
            yield from _retold(node, scope)
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name in kinds:
            kind = kinds[name]
            given = dict(zip(kind.parameters, map(scope.texts, node.args), strict=False))
            given |= {each.arg: scope.texts(each.value) for each in node.keywords if each.arg}
            yield "error", _Scope(kind.module, (), given).texts(kind.message), node.lineno
        elif name == "BadParameter":
            yield "usage", scope.texts(node.args[0]), node.lineno
        elif name in {"Fault", "fault"} and module.name in _USERS_FILES:
            yield "fault", scope.texts(node.args[-1]), node.lineno
        elif owner.endswith("_log") and name in _LOGGED:
            yield "log", scope.texts(node.args[0]), node.lineno
        elif owner.endswith("findings") and name in _FOUND:
            yield "check", scope.texts(node.args[2]), node.lineno


def _retold(node: ast.Assign, scope: _Scope) -> Iterator[tuple[str, Texts, int]]:
    if getattr(node.targets[0], "attr", "") == "message":
        yield "error", scope.texts(node.value), node.lineno


def _shape(text: str) -> str:
    """The first line of ``text``, without the details that follow it."""
    text = " ".join(text.split("\n", maxsplit=1)[0].split())
    text = re.sub(f"({GAP})(?:[ :]*{GAP})+", GAP, text)
    # What comes last in parentheses or behind a colon, and is only sometimes there.
    text = re.sub(rf"(?<=[\w)])(?:: {GAP}| \({GAP}\)|{GAP})+$", "", text)
    return text.rstrip(".:")


def _error_kinds(modules: list[_Module]) -> dict[str, _ErrorKind]:
    classes = {
        node.name: (module, node)
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    found: dict[str, _ErrorKind] = {}

    def kind_of(name: str) -> _ErrorKind | None:
        if name not in found and name in classes:
            module, node = classes[name]
            bases = [kind_of(base.id) for base in node.bases if isinstance(base, ast.Name)]
            base = next((each for each in bases if each), None)
            if base is None and name != "AquilaError":
                return None
            found[name] = _own_kind(module, node) or base  # type: ignore[assignment]
        return found.get(name)

    for name in classes:
        kind_of(name)
    return found


def _own_kind(module: _Module, node: ast.ClassDef) -> _ErrorKind | None:
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            names = tuple(each.arg for each in function.args.args[1:])
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                    return _ErrorKind(module, names, call.args[0])
    return None


def _placed(node: ast.AST, blocks: _Blocks) -> Iterator[tuple[_Blocks, ast.AST]]:
    """Every node below ``node`` with the blocks that it stands in, up to those of its function."""
    within = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if not isinstance(child, ast.AST):
                continue
            around = () if isinstance(node, ast.Module | ast.ClassDef) else blocks
            if isinstance(child, ast.stmt) and not isinstance(node, ast.Module | ast.ClassDef):
                around = (children,) if within and name == "body" else (children, *blocks)
            yield around, child
            yield from _placed(child, around)


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """Every value that is given to each name."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs += zip(target.elts, node.value.elts, strict=False)
                else:
                    pairs.append((target, node.value))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs.append((node.target, node.value))
        for target, value in pairs:
            if isinstance(target, ast.Name):
                found.setdefault(target.id, []).append(value)
    return found


class _Scope:
    """Works out which texts an expression can be that stands in ``blocks``, the nearest first."""

    def __init__(
        self, module: _Module, blocks: _Blocks, given: dict[str, Texts] | None = None
    ) -> None:
        self._blocks = blocks
        self._constants = module.constants
        self._given = given or {}
        self._open: set[str] = set()

    def texts(self, node: ast.expr) -> Texts:
        match node:
            case ast.Constant(value=str(text)):
                return frozenset({text})
            case ast.JoinedStr(values=parts):
                return self._joined(parts)
            case ast.FormattedValue(value=value):
                return self._part(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right])
            case ast.IfExp(body=body, orelse=orelse):
                return self.texts(body) | self.texts(orelse)
            case ast.BoolOp(op=ast.Or(), values=values):
                return frozenset().union(*map(self.texts, values))
            case ast.Name(id=name):
                return self._name(name)
            case ast.Call(func=ast.Attribute(attr="join"), args=[ast.List(elts=[first, *_])]):
                return self.texts(first)
        return _UNKNOWN

    def _joined(self, parts: list[ast.expr]) -> Texts:
        return frozenset(map("".join, itertools.product(*map(self.texts, parts))))

    def _part(self, node: ast.expr) -> Texts:
        """What is put into a message, where that is always one of a few phrases of ours."""
        found = self.texts(node)
        phrases = all(re.search(r"\b[a-z]{2,}\b", text) for text in found)
        return found if phrases else _UNKNOWN

    def _name(self, name: str) -> Texts:
        if name in self._given:
            return self._given[name]
        values = self._values(name)
        if not values or name in self._open:
            return _UNKNOWN
        self._open.add(name)
        found = frozenset[str]().union(*map(self.texts, values))
        self._open.discard(name)
        return found

    def _values(self, name: str) -> list[ast.expr]:
        """What is given to ``name``: in the nearest block that does so itself, and below it."""
        for block in self._blocks:
            if name in _assigned(block) or block is self._blocks[-1]:
                below = (node for statement in block for node in ast.walk(statement))
                if values := _assigned(below).get(name):
                    return values
        return self._constants.get(name, [])


if __name__ == "__main__":
    for each in all_messages():
        print(f"{each.place}\t{each.kind}\t{each.text}")  # noqa: T201

"""YAML that remembers its lines, and models that are checked against it.

PyYAML keeps the place of every node until it is constructed; :class:`YamlSource` keeps the node
tree beside the values, so that a complaint of a model about ``cursor.field`` can name the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from aquila_mde.streams.faults import Fault

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


@dataclass(frozen=True)
class YamlSource:
    """One parsed YAML file: its values and the node each came from."""

    file: Path
    values: Any
    node: yaml.Node | None

    def line(self, location: Location) -> int:
        """The line of the value at ``location``, or of its nearest parent that exists."""
        node, line = self.node, 1
        for step in location:
            found = _child(node, step)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line + 1
        return line

    def fault(self, location: Location, problem: str) -> Fault:
        """A fault at ``location``."""
        return Fault(self.file, self.line(location), dotted(location), problem)


def dotted(location: Location) -> str:
    """``('fields', 3, 'to')`` as a person writes it: ``fields[3].to``."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read_yaml(file: Path) -> tuple[YamlSource | None, list[Fault]]:
    """Parse ``file``; a missing or broken file and a repeated key are faults, not exceptions."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        return None, [Fault(file, 1, "", f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return None, [Fault(file, 1, "", f"is not UTF-8 (byte {error.start})")]
    return parse_yaml(file, text)


def parse_yaml(file: Path, text: str) -> tuple[YamlSource | None, list[Fault]]:
    """The same for a ``text`` that was read already, from an archive for example."""
    try:
        return _parse(file, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        return None, [Fault(file, line, "", f"is not YAML: {error.problem or error.context}")]
    except yaml.YAMLError as error:
        return None, [Fault(file, 1, "", f"is not YAML: {error}")]


def _parse(file: Path, text: str) -> tuple[YamlSource, list[Fault]]:
    """Parsed by libyaml where PyYAML has it, which is ten times as fast."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _parse_with(loader, file, text)
    except yaml.YAMLError:
        # In other words than libyaml's, which differ from machine to machine.
        return _parse_with(yaml.SafeLoader, file, text)


def _parse_with(kind: Any, file: Path, text: str) -> tuple[YamlSource, list[Fault]]:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        # Before the values are made, which writes merged keys into the node.
        repeated = list(_repeated_keys(file, node))
        values = None if node is None else loader.construct_document(node)
        return YamlSource(file, values, node), repeated
    finally:
        loader.dispose()


def check(model: type[Model], source: YamlSource) -> tuple[Model | None, list[Fault]]:
    """``source`` as a ``model``, or every fault that the model finds, each with its line."""
    if not isinstance(source.values, dict):
        return None, [Fault(source.file, 1, "", "must hold a mapping of keys to values")]
    try:
        return model.model_validate(source.values), []
    except ValidationError as error:
        return None, [
            source.fault(_in_file(item["loc"], source.node), _problem(item))
            for item in error.errors(include_url=False)
        ]


def load(model: type[Model], file: Path) -> tuple[Model | None, YamlSource | None, list[Fault]]:
    """Read and check ``file`` in one step."""
    source, faults = read_yaml(file)
    if source is None:
        return None, None, faults
    value, more = check(model, source)
    return value, source, faults + more


def _problem(item: Any) -> str:
    kind, given = item["type"], item.get("input")
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not a key that is known here"
    text = str(item["msg"]).removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    if isinstance(given, str | int | float | bool) and repr(given) not in text:
        return f"{text}, but it is {given!r}"
    return text


def _in_file(location: Location, node: yaml.Node | None) -> Location:
    """``location`` without the steps that name a member of a union instead of a key."""
    steps: list[int | str] = []
    for position, step in enumerate(location):
        found = _child(node, step)
        if found is not None:
            node = found[1]
            steps.append(step)
        elif position == len(location) - 1 and isinstance(node, yaml.MappingNode):
            steps.append(step)
    return tuple(steps)


def _child(node: yaml.Node | None, step: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item, item
    return None


def _repeated_keys(file: Path, node: yaml.Node | None, path: Location = ()) -> Iterator[Fault]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                line = key.start_mark.line + 1
                yield Fault(file, line, dotted((*path, name)), "is given twice")
            seen.add(name)
            yield from _repeated_keys(file, value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated_keys(file, value, (*path, index))

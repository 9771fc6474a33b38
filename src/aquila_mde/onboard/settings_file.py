"""Changes keys of the tenant in a settings file and leaves every other character as it was."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from aquila_mde.errors import ConfigurationError
from aquila_mde.onboard.keeping import write_file

_SECTION = "tenant"


def write_tenant(file: Path, changes: Mapping[str, str | None]) -> bool:
    """Set keys of the tenant in ``file``; None removes one. Whether anything was changed.

    A new file has mode 600, one that is there keeps its own.
    """
    there = file.exists()
    before = file.read_text(encoding="utf-8") if there else ""
    after = edited(before, changes, str(file))
    if after == before:
        return False
    write_file(file, after, mode=stat.S_IMODE(file.stat().st_mode) if there else 0o600)
    return True


def edited(text: str, changes: Mapping[str, str | None], name: str = "the file") -> str:
    """``text`` with the keys of the tenant changed."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    before = yaml.safe_load(text) or {}
    expected = _merged(before, changes)
    if expected == before:
        return text
    after = _edit(text, node, changes, expected)
    # Anchors and other rarities: better not at all than wrong.
    try:
        right = yaml.safe_load(after) == expected
    except yaml.YAMLError:
        right = False
    if not right:
        wanted = ", ".join(f"{key}: {value}" for key, value in changes.items() if value)
        raise ConfigurationError(
            f"{name} is written in a way that cannot be changed safely.",
            hint=f"Set these keys under tenant yourself: {wanted}; and remove "
            f"{', '.join(key for key, value in changes.items() if value is None) or 'none'}.",
        )
    return after


def _merged(values: Any, changes: Mapping[str, str | None]) -> dict[str, Any]:
    merged = dict(values)
    tenant = dict(merged.get(_SECTION) or {})
    for key, value in changes.items():
        if value is None:
            tenant.pop(key, None)
        else:
            tenant[key] = value
    if tenant or _SECTION in merged:
        merged[_SECTION] = tenant
    return merged


def _edit(
    text: str, root: yaml.Node | None, changes: Mapping[str, str | None], expected: dict[str, Any]
) -> str:
    ending = text if not text or text.endswith("\n") else f"{text}\n"
    if not isinstance(root, yaml.MappingNode):
        return ending + _dump({_SECTION: expected[_SECTION]})
    if root.flow_style:
        return _dump(expected)
    found = next(((k, v) for k, v in root.value if k.value == _SECTION), None)
    if found is None:
        return ending + _dump({_SECTION: expected[_SECTION]})
    key, tenant = found
    as_block = isinstance(tenant, yaml.MappingNode) and not tenant.flow_style
    if not as_block or not expected[_SECTION]:
        start, end = key.start_mark.index, _end(text, tenant)
        return text[:start] + _dump({_SECTION: expected[_SECTION]}).rstrip("\n") + text[end:]
    return _edit_block(ending, tenant, changes)


def _edit_block(text: str, tenant: yaml.MappingNode, changes: Mapping[str, str | None]) -> str:
    indent = " " * tenant.value[0][0].start_mark.column
    held = {key.value: (key, value) for key, value in tenant.value}
    new = {key: value for key, value in changes.items() if value is not None and key not in held}
    # From the end to the beginning, so that the places before stay where they are.
    edits: list[tuple[int, int, str]] = []
    last = _line_end(text, _end(text, tenant.value[-1][1]))
    edits.append((last, last, "".join(indent + _dump({k: v}) for k, v in new.items())))
    for name, (key, value) in held.items():
        if name not in changes:
            continue
        wanted = changes[name]
        if wanted is None:
            start = text.rfind("\n", 0, key.start_mark.index) + 1
            edits.append((start, _line_end(text, _end(text, value)), ""))
        else:
            start, end = value.start_mark.index, _end(text, value)
            scalar = _dump({"x": wanted}).removeprefix("x: ").rstrip("\n")
            gap = "" if text[start - 1 : start] in (" ", "\n") else " "
            edits.append((start, end, gap + scalar))
    for start, end, piece in sorted(edits, reverse=True):
        text = text[:start] + piece + text[end:]
    return text


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends; a nested block ends where its last scalar does, before its newline."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(text, node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(text, node.value[-1])
    start = int(node.start_mark.index)
    return start + len(text[start : node.end_mark.index].rstrip())


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _dump(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=10_000)

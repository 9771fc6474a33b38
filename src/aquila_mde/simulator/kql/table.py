"""Rows under named columns, and two tables as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aquila_mde.simulator.kql.parse import Reader, Row
from aquila_mde.simulator.kql.values import KqlError

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """Rows and the names of their columns, in order."""

    columns: tuple[str, ...]
    rows: Rows


def checked(reader: Reader, table: Table, read: Callable[[], Any]) -> Any:
    """What ``read`` gives; columns that the table lacks are an error."""
    reader.columns = set()
    found = read()
    unknown = sorted(reader.columns - set(table.columns)) if table.columns else []
    if unknown:
        raise KqlError(f"Failed to resolve scalar expression named '{unknown[0]}'")
    return found


def hashable(value: Any) -> Any:
    """``value`` as the key of a group."""
    return repr(value) if isinstance(value, dict | list) else value


def joined(left: Table, right: Table, keys: list[tuple[str, str]], kind: str) -> Table:
    """The rows of ``left`` beside those of ``right`` with the same ``keys``.

    ``kind`` is Kusto's. Raises :class:`KqlError` for one that is not there, or a column.
    """
    for one, other in keys:
        for name, side in ((one, left), (other, right)):
            if side.columns and name not in side.columns:
                raise KqlError(f"join: failed to resolve the column '{name}'")

    def key_of(row: Row, side: int) -> tuple[Any, ...]:
        return tuple(hashable(row.get(pair[side])) for pair in keys)

    partners: dict[tuple[Any, ...], Rows] = {}
    for row in right.rows:
        partners.setdefault(key_of(row, 1), []).append(row)
    if kind in ("leftanti", "leftsemi"):
        wanted = kind == "leftsemi"
        rows = [row for row in left.rows if (key_of(row, 0) in partners) == wanted]
        return Table(left.columns, rows)
    if kind not in ("inner", "innerunique", "leftouter"):
        raise KqlError(f"join: unsupported kind '{kind}'")
    names = {name: f"{name}1" if name in left.columns else name for name in right.columns}
    found = left.rows
    if kind == "innerunique":
        found = list({key_of(row, 0): row for row in reversed(left.rows)}.values())[::-1]
    rows = []
    for row in found:
        matching = partners.get(key_of(row, 0), [])
        if not matching and kind == "leftouter":
            matching = [{}]
        for partner in matching:
            rows.append(row | {names[name]: partner.get(name) for name in right.columns})
    columns = tuple(dict.fromkeys([*left.columns, *names.values()]))
    return Table(columns, rows)

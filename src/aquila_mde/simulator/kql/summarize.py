"""``summarize``: many rows become one for each group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aquila_mde.simulator.kql import values
from aquila_mde.simulator.kql.parse import Expression, Reader, named_expressions
from aquila_mde.simulator.kql.table import Rows, Table, hashable
from aquila_mde.simulator.kql.values import KqlError, Moment


def summarize(reader: Reader, table: Table) -> Table:
    """One row for each group of ``table``, with what the aggregations make of it."""
    aggregates: list[tuple[str, Callable[[Rows], Any]]] = []
    reader.columns = set()
    while reader.next.value.lower() != "by" and reader.next.value not in ("|", ")", ";", ""):
        aggregates.append(_aggregate(reader, table))
        if not reader.take(","):
            break
    keys = list(named_expressions(reader)) if reader.take("by") else []
    unknown = sorted(reader.columns - set(table.columns)) if table.columns else []
    if unknown:
        raise KqlError(f"Failed to resolve scalar expression named '{unknown[0]}'")
    groups: dict[tuple[Any, ...], Rows] = {}
    heads: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in table.rows:
        head = {name: expression(row) for name, expression in keys}
        key = tuple(map(hashable, head.values()))
        groups.setdefault(key, []).append(row)
        heads[key] = head
    if not keys and not table.rows:
        groups[()], heads[()] = [], {}
    rows = []
    for key, members in groups.items():
        made = dict(heads[key])
        for name, function in aggregates:
            value = function(members)
            made.update(value if name == "*" else {name: value})
        rows.append(made)
    named = [name for name, _ in keys] + [name for name, _ in aggregates if name != "*"]
    rest = table.columns if any(name == "*" for name, _ in aggregates) else ()
    columns = tuple(dict.fromkeys([*named, *rest]))
    return Table(columns, rows)


def _aggregate(reader: Reader, table: Table) -> tuple[str, Callable[[Rows], Any]]:
    name = None
    if reader.ahead(1).value == "=":
        name = reader.name()
        reader.need("=")
    function = reader.name()
    reader.need("(")
    if function in ("arg_max", "arg_min"):
        by = reader.expression()
        reader.need(",")
        reader.need("*")
        reader.need(")")
        best = max if function == "arg_max" else min
        return "*", lambda rows: best(rows, key=lambda row: by(row) or Moment(0))
    column = reader.next.value if reader.next.kind == "name" else ""
    arguments = reader.list_of()
    made = _AGGREGATES.get(function)
    if made is None:
        raise KqlError(f"Unknown aggregate function: '{function}'.")
    del table
    default = f"{function}_{column if function not in ('count', 'countif') else ''}"
    return name or default, lambda rows: made(rows, *arguments)


def _values_of(rows: Rows, of: Expression) -> list[Any]:
    return [value for row in rows if (value := of(row)) not in (None, "")]


def _distinct_values(rows: Rows, of: Expression, most: Expression | None = None) -> list[Any]:
    found = {hashable(value): values.plain(value) for value in _values_of(rows, of)}
    ordered = sorted(found.values(), key=str)
    return ordered[: int(most({}))] if most else ordered


def _first(rows: Rows, of: Expression) -> Any:
    return next(iter(_values_of(rows, of)), None)


_AGGREGATES: dict[str, Callable[..., Any]] = {
    "count": len,
    "countif": lambda rows, test: sum(bool(test(row)) for row in rows),
    "dcount": lambda rows, of: len({hashable(value) for value in _values_of(rows, of)}),
    "sum": lambda rows, of: sum(_values_of(rows, of)),
    "avg": lambda rows, of: (
        sum(_values_of(rows, of)) / len(_values_of(rows, of)) if _values_of(rows, of) else None
    ),
    "min": lambda rows, of: min(_values_of(rows, of), default=None),
    "max": lambda rows, of: max(_values_of(rows, of), default=None),
    "make_set": _distinct_values,
    "make_list": lambda rows, of: [values.plain(value) for value in _values_of(rows, of)],
    "take_any": _first,
    "any": _first,
}

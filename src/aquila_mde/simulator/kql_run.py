"""Runs a query of the Kusto Query Language over tables of rows.

A table is asked for the rows of a stretch of time, which is read off the comparisons of its
``Timestamp`` with constants that follow its name: a tenant has too many rows to be made all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from aquila_mde.simulator import kql_values as values
from aquila_mde.simulator.kql_parse import Expression, Reader, Row, named_expressions, tokens
from aquila_mde.simulator.kql_values import KqlError, Moment

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """Rows and the names of their columns, in order."""

    columns: tuple[str, ...]
    rows: Rows


Source = Callable[[str, int | None, int | None], Table | None]
"""A table from a time on to before another; None for one that is not there."""


@dataclass
class Query:
    """A query, and what it has read."""

    source: Source
    now: int
    read: int = 0
    """Rows that were looked at: what a query costs."""

    def run(self, text: str) -> Table:
        """The answer. Raises :class:`KqlError` for what is no query."""
        reader = Reader(tokens(text), self.now, {})
        tables: dict[str, Table] = {}
        while reader.take("let"):
            name = reader.name()
            reader.need("=")
            if self._is_tabular(reader, tables):
                tables[name] = self._pipeline(reader, tables)
            else:
                reader.named[name] = reader.expression()({})
            reader.need(";")
        found = self._pipeline(reader, tables)
        reader.take(";")
        if reader.next.kind != "end":
            raise reader.unexpected("expected the end of the query")
        return found

    def _is_tabular(self, reader: Reader, tables: dict[str, Table]) -> bool:
        name = reader.next.value
        following = reader.ahead(1).value
        known = name in tables or (reader.next.kind == "name" and following in ("|", ";"))
        return known and name not in reader.named and name.lower() not in ("true", "false")

    def _pipeline(self, reader: Reader, tables: dict[str, Table]) -> Table:
        table = self._tabular(reader, tables)
        while reader.take("|"):
            name = reader.name().lower()
            step = _OPERATORS.get(name)
            if name == "join":
                table = self._join(reader, table, tables)
            elif name == "union":
                table = self._union(reader, table, tables)
            elif step is None:
                raise KqlError(f"Syntax error: unknown operator '{name}'.")
            else:
                table = step(reader, table)
        return table

    def _tabular(self, reader: Reader, tables: dict[str, Table]) -> Table:
        if reader.take("("):
            inner = self._pipeline(reader, tables)
            reader.need(")")
            return inner
        name = reader.name()
        if name == "union":
            return self._union(reader, self._tabular(reader, tables), tables, first=True)
        if name in tables:
            return tables[name]
        since, until = _bounds(reader)
        table = self.source(name, since, until)
        if table is None:
            raise KqlError(
                f"'where' operator: Failed to resolve table or column expression named '{name}'"
            )
        self.read += len(table.rows)
        return table

    def _union(
        self, reader: Reader, left: Table, tables: dict[str, Table], *, first: bool = False
    ) -> Table:
        found = [left]
        if not first or reader.take(","):
            found.append(self._tabular(reader, tables))
        while reader.take(","):
            found.append(self._tabular(reader, tables))
        columns = tuple(dict.fromkeys(name for one in found for name in one.columns))
        return Table(columns, [row for one in found for row in one.rows])

    def _join(self, reader: Reader, left: Table, tables: dict[str, Table]) -> Table:
        kind = "innerunique"
        if reader.take("kind"):
            reader.need("=")
            kind = reader.name().lower()
        right = self._tabular(reader, tables)
        reader.need("on")
        keys = [self._key(reader)]
        while reader.take(","):
            keys.append(self._key(reader))
        return _joined(left, right, keys, kind)

    def _key(self, reader: Reader) -> tuple[str, str]:
        name = reader.name()
        if name != "$left":
            return name, name
        reader.need(".")
        left = reader.name()
        reader.need("==")
        reader.need("$right")
        reader.need(".")
        return left, reader.name()


def _bounds(reader: Reader) -> tuple[int | None, int | None]:
    """The times that the ``where`` behind a table name compares its Timestamp with."""
    since: int | None = None
    until: int | None = None
    place = 0
    depth = 0
    while reader.ahead(place).kind != "end":
        token = reader.ahead(place)
        if token.value in ("(", ")"):
            depth += 1 if token.value == "(" else -1
            if depth < 0:
                break
        if token.value == ";" or (token.value == "|" and reader.ahead(place + 1).value != "where"):
            break
        if token.value.lower() == "or":
            return None, None
        if token.value == "Timestamp" and reader.ahead(place + 1).value in (">=", ">", "<", "<="):
            sign, named = reader.ahead(place + 1).value, reader.ahead(place + 2)
            moment = (
                values.moment(named.value[9:-1].strip())
                if named.kind == "datetime"
                else reader.named.get(named.value)
            )
            if isinstance(moment, Moment):
                if sign.startswith(">"):
                    since = moment.ticks
                else:
                    until = moment.ticks + (sign == "<=")
        place += 1
    return since, until


def _where(reader: Reader, table: Table) -> Table:
    test = _checked(reader, table, reader.expression)
    return Table(table.columns, [row for row in table.rows if test(row)])


def _checked(reader: Reader, table: Table, read: Callable[[], Any]) -> Any:
    """What ``read`` gives; columns that the table lacks are an error."""
    reader.columns = set()
    found = read()
    unknown = sorted(reader.columns - set(table.columns)) if table.columns else []
    if unknown:
        raise KqlError(f"Failed to resolve scalar expression named '{unknown[0]}'")
    return found


def _extend(reader: Reader, table: Table) -> Table:
    added = _checked(reader, table, lambda: list(named_expressions(reader)))
    rows = []
    for row in table.rows:
        made = dict(row)
        for name, expression in added:
            made[name] = expression(made)
        rows.append(made)
    return Table(tuple(dict.fromkeys([*table.columns, *(name for name, _ in added)])), rows)


def _project(reader: Reader, table: Table) -> Table:
    kept = _checked(reader, table, lambda: list(named_expressions(reader)))
    rows = [{name: expression(row) for name, expression in kept} for row in table.rows]
    return Table(tuple(name for name, _ in kept), rows)


def _names(reader: Reader) -> list[str]:
    found = [reader.name()]
    while reader.take(","):
        found.append(reader.name())
    return found


def _project_away(reader: Reader, table: Table) -> Table:
    gone = set(_names(reader))
    rows = [{name: row[name] for name in row if name not in gone} for row in table.rows]
    return Table(tuple(name for name in table.columns if name not in gone), rows)


def _project_rename(reader: Reader, table: Table) -> Table:
    names: dict[str, str] = {}
    while True:
        new = reader.name()
        reader.need("=")
        names[reader.name()] = new
        if not reader.take(","):
            break
    rows = [{names.get(name, name): value for name, value in row.items()} for row in table.rows]
    return Table(tuple(names.get(name, name) for name in table.columns), rows)


def _distinct(reader: Reader, table: Table) -> Table:
    names = list(table.columns) if reader.take("*") else _names(reader)
    seen = {tuple(map(_hashable, (row.get(name) for name in names))): row for row in table.rows}
    return Table(tuple(names), [{name: row.get(name) for name in names} for row in seen.values()])


def _take(reader: Reader, table: Table) -> Table:
    number = int(reader.expression()({}))
    return Table(table.columns, table.rows[:number])


def _count(reader: Reader, table: Table) -> Table:
    del reader
    return Table(("Count",), [{"Count": len(table.rows)}])


def _order(reader: Reader, table: Table) -> Table:
    reader.need("by")
    return Table(table.columns, _sorted(reader, table))


def _top(reader: Reader, table: Table) -> Table:
    number = int(reader.expression()({}))
    reader.need("by")
    return Table(table.columns, _sorted(reader, table)[:number])


def _sorted(reader: Reader, table: Table) -> Rows:
    keys: list[tuple[Expression, int]] = []
    while True:
        key = _checked(reader, table, reader.expression)
        upwards = reader.take("asc") is not None
        reader.take("desc")
        keys.append((key, 1 if upwards else -1))
        if not reader.take(","):
            break

    def compare(left: Row, right: Row) -> int:
        for key, direction in keys:
            one, other = key(left), key(right)
            if one != other:
                if one is None or other is None:
                    return direction if other is None else -direction
                return direction if one > other else -direction
        return 0

    return sorted(table.rows, key=cmp_to_key(compare))


def _summarize(reader: Reader, table: Table) -> Table:
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
        key = tuple(map(_hashable, head.values()))
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
    found = {_hashable(value): values.plain(value) for value in _values_of(rows, of)}
    ordered = sorted(found.values(), key=str)
    return ordered[: int(most({}))] if most else ordered


def _first(rows: Rows, of: Expression) -> Any:
    return next(iter(_values_of(rows, of)), None)


_AGGREGATES: dict[str, Callable[..., Any]] = {
    "count": len,
    "countif": lambda rows, test: sum(bool(test(row)) for row in rows),
    "dcount": lambda rows, of: len({_hashable(value) for value in _values_of(rows, of)}),
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


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list) else value


def _joined(left: Table, right: Table, keys: list[tuple[str, str]], kind: str) -> Table:
    for one, other in keys:
        for name, side in ((one, left), (other, right)):
            if side.columns and name not in side.columns:
                raise KqlError(f"join: failed to resolve the column '{name}'")

    def key_of(row: Row, side: int) -> tuple[Any, ...]:
        return tuple(_hashable(row.get(pair[side])) for pair in keys)

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


_OPERATORS: dict[str, Callable[[Reader, Table], Table]] = {
    "where": _where,
    "filter": _where,
    "extend": _extend,
    "project": _project,
    "project-away": _project_away,
    "project-rename": _project_rename,
    "summarize": _summarize,
    "distinct": _distinct,
    "take": _take,
    "limit": _take,
    "count": _count,
    "order": _order,
    "sort": _order,
    "top": _top,
}

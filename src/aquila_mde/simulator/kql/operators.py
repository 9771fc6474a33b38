"""What stands between the pipes of a query: an operator takes a table and gives another."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key

from aquila_mde.simulator.kql.parse import Expression, Reader, Row, named_expressions
from aquila_mde.simulator.kql.summarize import summarize
from aquila_mde.simulator.kql.table import Rows, Table, checked, hashable


def _where(reader: Reader, table: Table) -> Table:
    test = checked(reader, table, reader.expression)
    return Table(table.columns, [row for row in table.rows if test(row)])


def _extend(reader: Reader, table: Table) -> Table:
    added = checked(reader, table, lambda: list(named_expressions(reader)))
    rows = []
    for row in table.rows:
        made = dict(row)
        for name, expression in added:
            made[name] = expression(made)
        rows.append(made)
    return Table(tuple(dict.fromkeys([*table.columns, *(name for name, _ in added)])), rows)


def _project(reader: Reader, table: Table) -> Table:
    kept = checked(reader, table, lambda: list(named_expressions(reader)))
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
    seen = {tuple(map(hashable, (row.get(name) for name in names))): row for row in table.rows}
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
        key = checked(reader, table, reader.expression)
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


OPERATORS: dict[str, Callable[[Reader, Table], Table]] = {
    "where": _where,
    "filter": _where,
    "extend": _extend,
    "project": _project,
    "project-away": _project_away,
    "project-rename": _project_rename,
    "summarize": summarize,
    "distinct": _distinct,
    "take": _take,
    "limit": _take,
    "count": _count,
    "order": _order,
    "sort": _order,
    "top": _top,
}

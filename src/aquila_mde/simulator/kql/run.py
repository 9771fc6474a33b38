"""Runs a query of the Kusto Query Language over tables of rows.

A table is asked for the rows of a stretch of time, which is read off the comparisons of its
``Timestamp`` with constants that follow its name: a tenant has too many rows to be made all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aquila_mde.simulator.kql import values
from aquila_mde.simulator.kql.operators import OPERATORS
from aquila_mde.simulator.kql.parse import Reader, tokens
from aquila_mde.simulator.kql.table import Table, joined
from aquila_mde.simulator.kql.values import KqlError, Moment

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
            step = OPERATORS.get(name)
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
        return joined(left, right, keys, kind)

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

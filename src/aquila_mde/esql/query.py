"""Checks an ES|QL query without an Elasticsearch: its commands, functions, columns and types.

No engine at hand but Elasticsearch speaks ES|QL. So each command is followed: which columns there
are behind it and of what type, and whether every use fits. It covers what the pack uses; a command
or a function that it does not know is a fault, so nothing passes unseen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aquila_mde.dashboards.load import PACKAGE
from aquila_mde.esql.expression import Columns, Expression
from aquila_mde.esql.text import EsqlError, Token, commands
from aquila_mde.esql.types import columns_of
from aquila_mde.streams.latest import latest_alias

_STREAM = "(?P<stream>[a-z_]+)"
_VERSIONS = re.compile(rf"logs-{PACKAGE}\.{_STREAM}-\*")
_LATEST = re.compile(latest_alias(rf"{PACKAGE}\.{_STREAM}"))


@dataclass(frozen=True)
class EsqlQuery:
    """A query whose ``FROM`` was understood."""

    streams: tuple[str, ...]
    latest: frozenset[str]
    """Those of them whose newest versions are read, and not all."""
    index: str
    """The pattern behind ``FROM``, as it stands there."""
    commands: tuple[tuple[Token, ...], ...]
    """What comes behind ``FROM``."""

    def check(self, types: Mapping[str, Mapping[str, str]]) -> list[str]:
        """The columns of the answer. Raises :class:`EsqlError` for the first thing that is wrong.

        ``types`` are those of every field, by stream.
        """
        columns = columns_of(*(types[stream] for stream in self.streams))
        expanded: set[str] = set()
        for command in self.commands:
            word = command[0].text.upper()
            step = _COMMANDS.get(word)
            if step is None:
                raise EsqlError(f"has the command {command[0].text}, which is not known here")
            columns = step(Expression(command[1:], columns, expanded))
            if word == "MV_EXPAND":
                expanded.add(command[1].text)
        return list(columns)


def read_query(text: str) -> EsqlQuery:
    """The streams that ``text`` reads. Raises :class:`EsqlError` when it does not begin so."""
    first, *rest = commands(text)
    if not first[0].is_word("FROM"):
        raise EsqlError("does not begin with FROM")
    streams, latest, patterns = [], set(), []
    for token in first[1:]:
        if token.is_sign(","):
            continue
        match = _VERSIONS.fullmatch(token.text) or _LATEST.fullmatch(token.text)
        if match is None:
            either = f"logs-{PACKAGE}.<stream>-* or {latest_alias(f'{PACKAGE}.<stream>')}"
            raise EsqlError(f"reads {token.text}; write {either}")
        streams.append(match["stream"])
        if match.re is _LATEST:
            latest.add(match["stream"])
        patterns.append(token.text)
    if not streams:
        raise EsqlError("names nothing behind FROM")
    return EsqlQuery(
        tuple(streams),
        frozenset(latest),
        ",".join(patterns),
        tuple(tuple(one) for one in rest),
    )


def _where(read: Expression) -> Columns:
    kind = read.whole()
    read.end()
    if kind != "boolean":
        raise EsqlError(f"WHERE needs a condition, not something that is {kind}")
    return read.columns


def _eval(read: Expression) -> Columns:
    while True:
        name = read.new_name()
        read.columns = {**read.columns, name: read.whole()}
        if not read.took(","):
            break
    read.end()
    return read.columns


def _stats(read: Expression) -> Columns:
    by = read.behind("BY")
    groups: Columns = {}
    if by is not None:
        while True:
            name = by.named() or by.peeked()
            groups[name] = by.whole()
            if not by.took(","):
                break
        by.end()
    found: Columns = {}
    while not read.done:
        name = read.new_name()
        found[name] = read.whole(groups=groups)
        if read.word("WHERE"):
            condition = read.whole()
            if condition != "boolean":
                raise EsqlError(f"{name} is limited by something that is {condition}")
        if not read.took(","):
            break
    read.end()
    if not found and not groups:
        raise EsqlError("STATS says nothing")
    return {**found, **groups}


def _keep(read: Expression) -> Columns:
    names = read.names()
    return {name: read.columns[name] for name in names}


def _drop(read: Expression) -> Columns:
    names = read.names()
    return {name: kind for name, kind in read.columns.items() if name not in names}


def _sort(read: Expression) -> Columns:
    while True:
        kind = read.whole()
        if kind in ("unsupported", "text"):
            raise EsqlError(f"SORT cannot order what is {kind}")
        read.word("ASC", "DESC")
        if read.word("NULLS") and not read.word("FIRST", "LAST"):
            raise EsqlError("NULLS needs FIRST or LAST behind it")
        if not read.took(","):
            break
    read.end()
    return read.columns


def _limit(read: Expression) -> Columns:
    if read.whole() != "integer":
        raise EsqlError("LIMIT needs a number")
    read.end()
    return read.columns


def _mv_expand(read: Expression) -> Columns:
    read.names()
    return read.columns


_COMMANDS = {
    "WHERE": _where,
    "EVAL": _eval,
    "STATS": _stats,
    "KEEP": _keep,
    "DROP": _drop,
    "SORT": _sort,
    "LIMIT": _limit,
    "MV_EXPAND": _mv_expand,
}

"""Advanced hunting: KQL to rows, in slices of time that are small enough for one answer.

An answer that holds as many rows as the service gives was cut, and nobody says where. It is thrown
away and its slice halved; the same is done when a query takes too long, costs too much or has too
large an answer.
Source: https://learn.microsoft.com/en-us/defender-endpoint/api/run-advanced-query-api
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import structlog

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    HeavyQueryError,
    PermissionDeniedError,
    QueryError,
)
from aquila_mde.defender.times import TICKS_PER_SECOND, Ticks, format_ticks
from aquila_mde.errors import AquilaError
from aquila_mde.streams import kql

_log = structlog.get_logger(__name__)
_SHORTEST = TICKS_PER_SECOND // 1_000
"""No slice is halved below a millisecond: what is cut then happened all at once."""
_SHORTEST_RUN = 60 * TICKS_PER_SECOND
"""Nor below a minute, where it is not the number of rows that is too much."""
_TIMED_OUT = ("timed out", "timeout")
_SIZE = "exceeded the allowed result size"
_COST = ("exceeded the allowed limits", "too many resources", "low memory", "e_runaway_query")
_GRAPH_HINT = (
    "Run aquila-mde onboard, or add the application permission of Microsoft Graph and grant admin "
    "consent (Entra admin centre → App registrations → the application → API permissions → "
    "Microsoft Graph). It takes effect with the next token."
)


class Column(msgspec.Struct):
    """One column of an answer, by its name and Kusto's type."""

    name: str
    type: str = ""


class _Described(msgspec.Struct):
    name: str = msgspec.field(name="Name", default="")
    type: str = msgspec.field(name="Type", default="")


class _DefenderAnswer(msgspec.Struct):
    results: list[msgspec.Raw] = msgspec.field(name="Results")
    schema: list[_Described] = msgspec.field(name="Schema", default_factory=list)


class _GraphAnswer(msgspec.Struct):
    results: list[msgspec.Raw]
    schema: list[Column] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query."""

    rows: list[msgspec.Raw]
    columns: tuple[str, ...]
    server_time: Ticks | None
    """The service's own clock, to the second."""


@dataclass(frozen=True, slots=True)
class Slice:
    """All rows of a stretch of time."""

    start: Ticks
    end: Ticks
    found: Found


@dataclass(frozen=True)
class HuntingApi:
    """One of the two endpoints that answer hunting queries.

    ``row_limit`` is the number of rows after which the service cuts an answer.
    """

    client: DefenderClient
    path: str
    permission: str
    row_limit: int
    graph: bool = False

    async def run(self, query: str, *, stream: str) -> Found:
        """The whole answer to ``query``.

        Raises :class:`HeavyQueryError` when it is too much for one answer and :class:`QueryError`
        with the text of the service when it is no query.
        """
        body = msgspec.json.encode({"Query": query})
        try:
            answer = await self.client.post(self.path, body, stream=stream, judge=_judged)
        except PermissionDeniedError as error:
            error.needed = self.permission
            hint = _GRAPH_HINT if self.graph else error.hint
            error.hint = f"Hunting needs the application permission {self.permission}. {hint}"
            raise
        try:
            found: _DefenderAnswer | _GraphAnswer
            if self.graph:
                found = msgspec.json.decode(answer.body, type=_GraphAnswer)
            else:
                found = msgspec.json.decode(answer.body, type=_DefenderAnswer)
        except msgspec.DecodeError as error:
            raise DefenderUnavailableError(
                f"The answer to a hunting query cannot be read: {error}",
                stream=stream,
                request_id=answer.request_id,
            ) from None
        if len(found.results) >= self.row_limit:
            raise HeavyQueryError(
                f"The query has more than {self.row_limit:,} rows, after which the service cuts "
                "the answer",
                reason="rows",
                hint=_NARROWER,
            )
        columns = tuple(each.name for each in found.schema if each.name)
        return Found(found.results, columns, answer.server_time)

    async def slices(
        self, query: str, since: Ticks, until: Ticks, *, stream: str, step: Ticks = 1
    ) -> AsyncIterator[Slice]:
        """The rows of ``query`` from ``since`` to before ``until``, slice by slice, in order.

        Ends of slices are multiples of ``step`` behind ``since``. Raises the
        :class:`HeavyQueryError` of a slice that cannot be made shorter.
        """
        start, length = since, until - since
        while start < until:
            end = min(start + max(length, step), until)
            text = kql.within(query, format_ticks(start), format_ticks(end))
            try:
                found = await self.run(text, stream=stream)
            except HeavyQueryError as error:
                half = (end - start) // 2 // step * step
                shortest = _SHORTEST if error.reason in ("rows", "size") else _SHORTEST_RUN
                if half < max(step, shortest):
                    raise
                _log.debug(
                    "The slice is halved",
                    stream=stream,
                    reason=error.reason,
                    start=format_ticks(start),
                    end=format_ticks(end),
                )
                length = half
                continue
            yield Slice(start, end, found)
            start = end
            if len(found.rows) < self.row_limit // 4:
                length *= 2


_NARROWER = "Let the query give fewer rows or columns, or say more narrowly what it looks for."


def _judged(status: int, error: AquilaError) -> AquilaError | None:
    """What an answer that is no answer means for a query."""
    said = error.message.lower()
    if status in (408, 504) or (status == 400 and any(mark in said for mark in _TIMED_OUT)):
        return HeavyQueryError(error.message, reason="time", hint=_NARROWER)
    if status == 400 and _SIZE in said:
        return HeavyQueryError(error.message, reason="size", hint=_NARROWER)
    if status == 400 and any(mark in said for mark in _COST):
        return HeavyQueryError(error.message, reason="cost", hint=_NARROWER)
    if isinstance(error, BadRequestError):
        return QueryError(
            error.message,
            code=error.code,
            hint="Correct the query; it can be tried out in the Defender portal (Hunting → "
            "Advanced hunting), and with aquila-mde hunt.",
            request_id=error.request_id,
        )
    return None

"""Reads what has changed since a time: one endpoint that gives the changes of whole periods.

Source: https://learn.microsoft.com/en-us/defender-endpoint/api/get-assessment-software-vulnerabilities
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import BadRequestError, PagingLimitError
from aquila_mde.defender.page_reader import Collection, Page, PageReader, Rows
from aquila_mde.defender.times import Ticks, format_ticks

_WHOLE_SECONDS = len("2026-01-01T00:00:00")


async def read_changes(
    client: DefenderClient, collection: Collection, since: Ticks, *, stream: str
) -> AsyncIterator[Page]:
    """Every change of the period that ``since`` lies in and of those after it.

    Changes that come twice are handed out twice: which of them are known is not remembered here,
    so that memory does not grow with their number. Raises :class:`PagingLimitError` when the
    service does not let the rest be read, :class:`BadRequestError` when ``since`` is too long ago.
    """
    moment = f"{format_ticks(since)[:_WHOLE_SECONDS]}Z"
    asked = replace(collection, size_parameter="pageSize", parameters=(("sinceTime", moment),))
    reader = PageReader(client, asked, stream)
    pages: set[bytes] = set()
    count = 0
    rows: Rows | None = await reader.rows(None)
    while rows is not None:
        pages.add(_digest(rows))
        count += len(rows.records)
        yield Page(rows.records, None, rows.server_time)
        rows = await _next(reader, rows, count, pages)


async def _next(reader: PageReader, rows: Rows, count: int, pages: set[bytes]) -> Rows | None:
    """The page behind ``rows``, with which ``count`` were read; ``None`` when that was all.

    A link says where it is. Without one a page may have been cut all the same; then ``$skip`` may
    tell. That is not documented here, so an answer that ignores it says nothing.
    """
    if rows.next_link is not None:
        behind = await reader.follow(rows.next_link)
        if behind.records and _digest(behind) in pages:
            raise _unreadable(reader, count, "the link to the next page leads back")
        return behind
    cut = reader.cut(rows)
    if cut is False:
        return None
    reason = "there is no link to the next page, and $skip is ignored"
    try:
        found = await reader.rows(None, skip=count)
    except BadRequestError as error:
        reason = f"there is no link to the next page ({error.message})"
    else:
        if not found.records or _digest(found) not in pages:
            reader.learn(rows, whole=not found.records)
            return found if found.records else None
    if cut:
        raise _unreadable(reader, count, reason)
    reader.learn(rows, whole=True)
    return None


def _unreadable(reader: PageReader, count: int, reason: str) -> PagingLimitError:
    return PagingLimitError(
        f"{reader.collection.path} does not give all of its changes: {count} were read, {reason}.",
        hint="The full export holds what they led to.",
        stream=reader.stream,
    )


def _digest(rows: Rows) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for record in rows.records:
        digest.update(memoryview(record))
        digest.update(b"\n")
    return digest.digest()

"""The incremental strategy: what changed since the newest time seen, read with an overlap.

The cursor is a time that the service itself has given, never this machine's clock, so a clock
that is wrong or is set back loses nothing. It moves only behind records that the engine has
answered for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from aquila_mde.collect.state import Pass, StreamState, StreamStore
from aquila_mde.collect.stream_pass import StreamPass
from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import BadRequestError
from aquila_mde.defender.page_reader import Collection, Page
from aquila_mde.defender.paging import read_all, read_since
from aquila_mde.defender.times import Ticks, format_ticks, ticks_of
from aquila_mde.streams.collect_spec import CollectSpec
from aquila_mde.streams.stream import Stream

_log = structlog.get_logger(__name__)
_FORGET_MARGIN = timedelta(hours=1)
_CLOCK_TOLERANCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a pass reads, and whether that satisfies the sweep that is due."""

    since: Ticks | None
    sweep: bool


def time_field(spec: CollectSpec, state: StreamState) -> str | None:
    """The property that this tenant is filtered on."""
    if spec.cursor is None:
        return None
    return state.cursor_field or spec.cursor.field


def reach(
    spec: CollectSpec,
    state: StreamState,
    store: StreamStore,
    *,
    now: Ticks,
    look_back: timedelta | None,
) -> Reach:
    """Where a pass that begins ``now`` has to start. ``look_back`` is for the very first one."""
    cursor = spec.cursor
    if cursor is None:
        return Reach(None, sweep=False)
    if state.cursor is None:
        return Reach(max(0, now - ticks_of(look_back or cursor.look_back)), sweep=True)
    since = state.cursor - ticks_of(cursor.overlap)
    if cursor.otherwise and state.cursor_field == cursor.otherwise.field:
        reread = state.cursor - ticks_of(cursor.otherwise.open.at_most)
        oldest = store.oldest_open(reread)
        since = since if oldest is None else min(since, oldest)
    sweep = spec.sweep
    due = sweep is not None and (
        state.last_sweep is None or not 0 <= now - state.last_sweep < ticks_of(sweep.every)
    )
    if sweep is not None and due:
        since = min(since, state.cursor - ticks_of(sweep.look_back))
    return Reach(max(0, since), sweep=due)


def forget_before(spec: CollectSpec, cursor: Ticks | None) -> Ticks | None:
    """The time before which no pass reads again once the cursor stands at ``cursor``.

    Ids of older records need not be remembered.
    """
    if spec.cursor is None or cursor is None:
        return None
    read_again = [spec.cursor.overlap]
    if spec.sweep:
        read_again.append(spec.sweep.look_back)
    if spec.cursor.otherwise:
        read_again.append(spec.cursor.otherwise.open.at_most)
    return cursor - ticks_of(max(read_again) + _FORGET_MARGIN)


def followed_values(spec: CollectSpec, field: str | None) -> frozenset[str] | None:
    """The values by which a record says that it may still change, where ``field`` cannot tell."""
    otherwise = spec.cursor.otherwise if spec.cursor else None
    return frozenset(otherwise.open.values) if otherwise and field == otherwise.field else None


def collection_of(stream: Stream, field: str | None, *, expand: bool = True) -> Collection:
    """How the records of ``stream`` are asked for by the time in ``field``."""
    spec = stream.collect
    return Collection(
        path=spec.endpoint.path,
        page_size=spec.endpoint.page_size,
        id_property=spec.identity.entity,
        time_field=field,
        expand=spec.endpoint.expand if expand else (),
        expand_may_fail=expand and spec.endpoint.expand_may_fail,
        empty_on=spec.endpoint.empty_on,
    )


async def collect_incremental(
    stream: Stream,
    client: DefenderClient,
    work: StreamPass,
    current: Pass,
    *,
    field: str | None,
    first_look_back: timedelta | None,
    stop: asyncio.Event,
) -> bool:
    """Deliver what ``current`` has to read; whether it was read to its end.

    ``first_look_back`` is given for the very first pass of a stream.
    """
    collection = collection_of(stream, field)
    if field is None:
        pages = read_all(client, collection, stream=stream.name)
    else:
        start = current.since if current.position is None else current.position
        pages = read_since(client, collection, start or 0, None, stream=stream.name)
        if first_look_back is not None:
            pages = _by_service_clock(
                pages,
                stream=stream,
                client=client,
                collection=collection,
                current=current,
                look_back=first_look_back,
            )
    async for page in pages:
        if field is not None:
            # Where the service's clock is now, the cursor is at least when this pass has ended.
            work.remember_since = forget_before(stream.collect, page.server_time)
        await work.deliver(
            page.records,
            position=page.done_until if field else None,
            unexpanded=page.unexpanded,
        )
        del page
        if client.holds_room:
            # None of a large page is left when another tenant's takes its place.
            await work.settled()
            client.leave_room()
        if stop.is_set():
            return False
    return True


async def _by_service_clock(
    pages: AsyncIterator[Page],
    *,
    stream: Stream,
    client: DefenderClient,
    collection: Collection,
    current: Pass,
    look_back: timedelta,
) -> AsyncIterator[Page]:
    """``pages``, or those from an earlier time when the service says that our clock is ahead.

    Only the very first pass depends on this machine's clock. Were it a year ahead, the pass would
    find nothing, and the cursor would then stand at a time before which nothing was read.
    """
    checked = False
    async for page in pages:
        if not checked and page.server_time is not None:
            checked = True
            if current.started - page.server_time > ticks_of(_CLOCK_TOLERANCE):
                _log.warning(
                    "This machine's clock is ahead of the service's, whose clock is used",
                    stream=stream.name,
                    service_time=format_ticks(page.server_time),
                )
                since = max(0, page.server_time - ticks_of(look_back))
                del page
                async for again in read_since(client, collection, since, None, stream=stream.name):
                    yield again
                return
        yield page


def refused_field(stream: Stream, field: str | None, error: BadRequestError) -> str | None:
    """The property to follow instead of ``field``, which the tenant refused, or ``None``."""
    cursor = stream.collect.cursor
    if cursor is None or cursor.otherwise is None or field != cursor.field:
        return None
    _log.warning(
        "The tenant refuses to filter on this property, the other one is used from now on",
        stream=stream.name,
        refused=field,
        used=cursor.otherwise.field,
        request_id=error.request_id,
    )
    return cursor.otherwise.field

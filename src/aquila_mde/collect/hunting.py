"""The hunting strategy: every query that is due, one after the other, each with its own cursor.

A query that gives single events is read like any stream: from an overlap behind its cursor on, in
slices of time. One that makes one row of several stands for whole bins of time, which are read
once, when the rows of a bin have had the time of the overlap to become visible.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from aquila_mde.collect.checkpoint import Checkpoints
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.hunts import HuntStream, hunt_stream
from aquila_mde.collect.identity import PassContext
from aquila_mde.collect.incremental import Reach, forget_before, reach
from aquila_mde.collect.joins import Joins
from aquila_mde.collect.sides import Sides
from aquila_mde.collect.state import Pass, State, StreamState, StreamStore
from aquila_mde.collect.stream_pass import Counts, Progress
from aquila_mde.collect.windows import Window
from aquila_mde.defender.errors import (
    DefenderUnavailableError,
    HeavyQueryError,
    QueryError,
)
from aquila_mde.defender.hunting import HuntingApi, Slice
from aquila_mde.defender.page_reader import Page
from aquila_mde.defender.times import Ticks, ticks_of
from aquila_mde.errors import AquilaError
from aquila_mde.streams.stream import Stream

_log = structlog.get_logger(__name__)
_SAME = 600_000_000
"""A run that is due within a minute is due: passes do not begin to the second."""


class Hunting:
    """One pass over the queries of a tenant. ``now`` is this machine's clock."""

    def __init__(
        self,
        stream: Stream,
        sides: Sides,
        state: State,
        *,
        counts: Counts,
        now: Callable[[], Ticks],
        stop: asyncio.Event,
        progress: Progress | None,
    ) -> None:
        self._stream = stream
        self._sides = sides
        self._state = state
        self._counts = counts
        self._now = now
        self._stop = stop
        self._progress = progress

    async def run(self) -> bool:
        """Run what is due; whether all of it came to its end.

        The error of one query is remembered with it and keeps no other from running; behind the
        last one the first of them is raised. What concerns all of them ends the pass at once.
        """
        settings = self._sides.settings
        look_back = settings.stream(self._stream.name).look_back
        api = self._sides.hunting(self._stream)
        failed: list[AquilaError] = []
        for named in self._sides.hunts:
            one = hunt_stream(self._stream, named, look_back)
            store = self._state.stream(self._sides.tenant_id, one.scope)
            if not self._is_due(one, store):
                continue
            try:
                if not await self._run(one, store, api):
                    return False
            except AquilaError as error:
                store.fail(error.message)
                if not isinstance(error, (QueryError, DefenderUnavailableError)):
                    raise
                unavailable = [
                    each
                    for each in failed
                    if isinstance(each, DefenderUnavailableError)
                    and not isinstance(each, HeavyQueryError)
                ]
                if unavailable and not isinstance(error, (QueryError, HeavyQueryError)):
                    # Two in a row are the service, not the query.
                    raise
                _log.warning("A hunting query failed", query=one.hunt.name, error=error.message)
                error.message = f"The query {one.hunt.name} failed: {error.message}"
                failed.append(error)
        if failed:
            if len(failed) > 1:
                failed[0].message += f" ({len(failed) - 1} more queries failed: aquila-mde status)"
            raise failed[0]
        return True

    def _is_due(self, one: HuntStream, store: StreamStore) -> bool:
        interval = one.hunt.hunt.interval
        last = store.read().last_pass
        if interval is None or last is None or store.under_way() is not None:
            return True
        return not 0 <= self._now() - last < ticks_of(interval) - _SAME

    async def _run(self, one: HuntStream, store: StreamStore, api: HuntingApi) -> bool:
        sides, spec = self._sides, one.stream.collect
        checkpoints = Checkpoints(sides, one.stream, store, name=one.scope)
        field = spec.cursor.field if spec.cursor else None
        await checkpoints.restore(field)
        state = store.read()
        to_read, until = _span(one, state, store, self._now())
        first = state.cursor is None
        careful = first or state.last_pass is None
        current = store.begin(started=self._now(), since=to_read.since, sweep=to_read.sweep)
        careful = careful or current.resumed
        if careful:
            await sides.sink.refresh_backing(sides.index(one.stream))
        before = self._counts.created
        async with Delivery(sides.sink, sides.index(one.stream)) as delivery:
            work = sides.work(
                one.stream,
                store,
                self._counts,
                delivery,
                PassContext(current.started),
                field=field,
                joins=Joins(one.stream, store, enabled=()),
                careful=careful,
                progress=self._progress,
            )
            start = current.since if current.position is None else current.position
            # Whole bins, also when they were shorter or longer before.
            start = (start or 0) // (one.bin or 1) * (one.bin or 1)
            async for part in self._slices(one, api, start, until, current, first=first):
                work.writer.join("hunt", one.told(part.start, part.end))
                await work.deliver(part.found.rows, position=_position(part))
                if self._stop.is_set():
                    return False
        forget = forget_before(spec, store.read().cursor)
        store.finish(current, now=self._now(), keep_since=forget)
        if self._counts.created > before or current.sweep:
            await checkpoints.write(field)
        return True

    async def _slices(
        self,
        one: HuntStream,
        api: HuntingApi,
        since: Ticks,
        until: Ticks,
        current: Pass,
        *,
        first: bool,
    ) -> AsyncIterator[Slice]:
        """The slices of the pass; those from an earlier time on when our clock is ahead.

        Only the very first pass depends on this machine's clock: were it a year ahead, the pass
        would find nothing, and the cursor would then stand where nothing was read.
        """
        query, name = one.hunt.hunt.query, self._stream.name
        step = one.bin or 1
        async for part in api.slices(query, since, until, stream=name, step=step):
            server = part.found.server_time
            if server is not None and first and part.start > server:
                back = max(0, current.started - (current.since or 0))
                earlier = max(0, server - back) // step * step
                async for again in self._slices(
                    one, api, earlier, one.over(server), current, first=False
                ):
                    yield again
                return
            if server is not None and one.bin and part.end > one.over(server):
                # By its own clock the last bins are not over, so their rows are not all there.
                end = one.over(server)
                async for again in api.slices(query, part.start, end, stream=name, step=step):
                    yield again
                return
            yield part


@dataclass(frozen=True, slots=True)
class HuntPage(Page):
    """The rows of one slice, and what their documents say of it."""

    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HuntReader:
    """Reads one query for a stretch of time that is asked for, whatever its cursor says."""

    one: HuntStream
    api: HuntingApi

    def window(self, since: Ticks | None, until: Ticks, look_back: timedelta) -> Window:
        """The time to read: whole bins, where a row stands for one."""
        step = self.one.bin or 1
        start = until - ticks_of(look_back) if since is None else since
        return Window(max(0, start) // step * step, until // step * step)

    async def pages(self, window: Window, *, stream: str) -> AsyncIterator[HuntPage]:
        """The rows of ``window``."""
        query, end = self.one.hunt.hunt.query, window.end or window.start
        step = self.one.bin or 1
        async for part in self.api.slices(query, window.start, end, stream=stream, step=step):
            told = self.one.told(part.start, part.end)
            yield HuntPage(part.found.rows, part.end, part.found.server_time, told=told)


def _span(
    one: HuntStream, state: StreamState, store: StreamStore, now: Ticks
) -> tuple[Reach, Ticks]:
    """Where a pass begins, and the time before which it ends."""
    spec = one.stream.collect
    look_back = spec.cursor.look_back if spec.cursor else None
    if one.bin is None:
        return reach(spec, state, store, now=now, look_back=look_back), now
    until = one.over(now)
    since = state.cursor
    if since is None:
        since = (now - ticks_of(look_back)) if look_back else until
    return Reach(max(0, since), sweep=state.cursor is None), until


def _position(part: Slice) -> Ticks:
    """How far the tenant was read: not beyond its own clock, whatever ours says."""
    server = part.found.server_time
    return part.end if server is None else min(part.end, max(part.start, server))

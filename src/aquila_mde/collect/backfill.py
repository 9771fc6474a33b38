"""Reads an older stretch of time, beside a collector that is at work.

Collector and backfill never send the same record. The collector reads again what lies between its
cursor and the beginning of its widest overlap; everything older it has left behind for good, and
that is the backfill's own part. It is read with a state of its own, which remembers the
windows that are done, and carefully: ids are looked for in the older backing indices first, since
the collector may have sent them long ago. What the collector still reads itself is left to it
while it runs; when it does not, the backfill takes its place and writes into its state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.identity import PassContext
from aquila_mde.collect.incremental import (
    collection_of,
    followed_values,
    forget_before,
    refused_field,
    time_field,
)
from aquila_mde.collect.joins import Joins
from aquila_mde.collect.runner import now_ticks
from aquila_mde.collect.sides import Sides, for_stream, named
from aquila_mde.collect.state import State, StreamStore
from aquila_mde.collect.state_database import StateInUseError
from aquila_mde.collect.state_place import open_beside, open_state, open_view
from aquila_mde.collect.status import enabled_streams
from aquila_mde.collect.stream_pass import Counts, Progress
from aquila_mde.collect.windows import Window, short, windows
from aquila_mde.defender.errors import BadRequestError
from aquila_mde.defender.paging import read_since
from aquila_mde.defender.times import Ticks, ticks_of
from aquila_mde.errors import AquilaError, ConfigurationError, first_failure
from aquila_mde.settings import Settings
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree

_IN_FLIGHT = 4
_WINDOWS = 100
_DELIVERY_BYTES = 8 << 20
_DONE = """
CREATE TABLE IF NOT EXISTS done (
    scope INTEGER NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (scope, start)
) WITHOUT ROWID
"""


@dataclass(slots=True)
class BackfillReport:
    """What was read of one stream."""

    stream: str
    counts: Counts = field(default_factory=Counts)
    windows: int = 0
    """Windows that are done, in this run or in an earlier one that was cut off."""
    of: int = 0
    left_from: Ticks | None = None
    """From here on the running collector reads everything itself."""
    error: AquilaError | None = None


async def backfill(
    settings: Settings,
    tree: PackageTree,
    since: Ticks,
    until: Ticks,
    names: Sequence[str] | None = None,
    *,
    retry_wait: bool = True,
    progress: Progress | None = None,
    now: Callable[[], Ticks] = now_ticks,
) -> list[BackfillReport]:
    """Deliver what the tenant holds from ``since`` to before ``until``.

    Without ``names`` of every stream that has a past: those that are collected by time and whose
    versions are told by it. A backfill that was cut off goes on when it is started with the same
    times. An error of a stream is in its report; the windows that were done stay done.
    ``now`` stands in for the clock of this machine.
    """
    if until <= since:
        raise ConfigurationError("--to must be later than --from.")
    wanted = _wanted(enabled_streams(settings, tree), names)
    async with AsyncExitStack() as opened:
        sides = await opened.enter_async_context(
            await Sides.open(settings, tree, retry_wait=retry_wait, quota_share=2)
        )
        main = await open_view(settings, sides.engine)
        opened.callback(main.close)
        name = f"backfill-{short(since)}-{short(until)}"
        own = await open_beside(settings, sides.engine, name, tables=[_DONE])
        reports: list[BackfillReport] = []
        try:
            for stream in wanted:
                work = _Backfill(sides, stream, main, own, progress=progress, now=now)
                reports.append(work.report)
                try:
                    await work.run(since, until)
                except AquilaError as error:
                    work.report.error = for_stream(error, stream)
        except BaseException:
            await own.aclose()
            raise
        if all(report.error is None for report in reports):
            await own.remove()
        else:
            await own.aclose()
        return reports


def _wanted(streams: Sequence[Stream], names: Sequence[str] | None) -> list[Stream]:
    if not names:
        return [stream for stream in streams if _has_past(stream)]
    wanted = [named(streams, name) for name in names]
    for stream in wanted:
        if stream.collect.strategy == "hunting":
            raise ConfigurationError(
                "Hunting queries are not backfilled.",
                hint="aquila-mde reconcile --stream hunting --from TIME --repair runs them for an "
                "older time and delivers the rows that are missing.",
            )
        if not _has_past(stream):
            raise ConfigurationError(
                f"The stream {stream.name} cannot be backfilled: the service tells only how "
                "things are now, and the collector reads all of that.",
                hint=f"aquila-mde reconcile --stream {stream.name} shows whether any is missing.",
            )
    return wanted


def _has_past(stream: Stream) -> bool:
    spec = stream.collect
    told_by_time = not spec.identity.by_content and not any(
        part.start_of for part in spec.identity.parts
    )
    return spec.strategy == "incremental" and spec.cursor is not None and told_by_time


class _Backfill:
    """One stream."""

    def __init__(
        self,
        sides: Sides,
        stream: Stream,
        main: State,
        own: State,
        *,
        progress: Progress | None,
        now: Callable[[], Ticks],
    ) -> None:
        self.report = BackfillReport(stream.name)
        self._now = now
        self._sides = sides
        self._stream = stream
        self._main = main.stream(sides.tenant_id, stream.name)
        self._own = own.stream(sides.tenant_id, stream.name)
        self._joins = Joins(stream, self._main, enabled=())
        self._progress = progress
        with self._own.change() as database:
            database.execute(_DONE)

    async def run(self, since: Ticks, until: Ticks) -> None:
        """Read both parts, by a property that the tenant lets itself be filtered on."""
        await self._sides.sink.refresh_backing(self._sides.index(self._stream))
        while True:
            known = self._own.read().cursor_field
            followed = known or time_field(self._stream.collect, self._main.read())
            try:
                await self._both_parts(list(windows(since, until, at_most=_WINDOWS)), followed)
            except BadRequestError as error:
                instead = refused_field(self._stream, followed, error)
                if instead is None:
                    raise
                # What was read by the other property says nothing about this one.
                self._own.use_field(instead)
                with self._own.change() as database:
                    database.execute("DELETE FROM done WHERE scope = ?", (self._own.scope,))
            else:
                return

    async def _both_parts(self, every: list[Window], followed: str | None) -> None:
        border = self._border()
        left_behind, live = _split(every, border)
        todo = list(self._not_done(left_behind))
        self.report.of = len(left_behind)
        self.report.windows = len(left_behind) - len(todo)
        await self._read(todo, self._own, followed)
        if not live:
            return
        try:
            state = await open_state(self._sides.settings, self._sides.engine)
        except StateInUseError:
            self.report.left_from = live[0].start
            return
        try:
            todo = list(self._not_done(live))
            self.report.of += len(live)
            self.report.windows += len(live) - len(todo)
            store = state.stream(self._sides.tenant_id, self._stream.name)
            await self._read(todo, store, followed)
        finally:
            await state.aclose()

    def _border(self) -> Ticks:
        """Before it the collector reads nothing again."""
        spec, state, under_way = self._stream.collect, self._main.read(), self._main.under_way()
        kept = forget_before(spec, state.cursor)
        if kept is None:
            look_back = self._sides.settings.stream(self._stream.name).look_back
            reach = look_back or (spec.cursor.look_back if spec.cursor else timedelta())
            kept = self._now() - ticks_of(reach)
        if under_way is not None and under_way.since is not None:
            kept = min(kept, under_way.since)
        return kept

    def _not_done(self, every: list[Window]) -> Iterator[Window]:
        done = dict(
            self._own.database.execute(
                "SELECT start, until FROM done WHERE scope = ?", (self._own.scope,)
            )
        )
        for window in every:
            until = window.start
            # A window that met the collector's own part was read in pieces.
            while until in done:
                until = done[until]
            if window.end is None or until < window.end:
                yield Window(until, window.end)

    async def _read(self, todo: list[Window], store: StreamStore, followed: str | None) -> None:
        waiting = iter(todo)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_IN_FLIGHT):
                    group.create_task(self._work_off(waiting, store, followed))
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from None

    async def _work_off(
        self, waiting: Iterator[Window], store: StreamStore, followed: str | None
    ) -> None:
        sides, stream = self._sides, self._stream
        live, began = store is not self._own, self._now()
        for window in waiting:
            async with Delivery(
                sides.sink, sides.index(stream), max_bytes=_DELIVERY_BYTES
            ) as delivery:
                work = sides.work(
                    stream,
                    store,
                    self.report.counts,
                    delivery,
                    PassContext(self._now()),
                    field=followed,
                    joins=self._joins,
                    careful=True,
                    open_values=followed_values(stream.collect, followed) if live else None,
                    progress=self._progress,
                )
                async for page in read_since(
                    sides.client,
                    collection_of(stream, followed),
                    window.start,
                    window.end,
                    stream=stream.name,
                ):
                    await work.deliver(page.records, unexpanded=page.unexpanded)
            # What is over by now; the collector's overlap has an eye on what comes late.
            if not live or (window.end is not None and window.end <= began):
                self._note(window)
                await self._own.safe(sending=False)
            self.report.windows += 1

    def _note(self, window: Window) -> None:
        """The window is delivered; its ids need not be remembered any longer."""
        scope = self._own.scope
        with self._own.change() as database:
            database.execute(
                "INSERT INTO done (scope, start, until) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET until = excluded.until",
                (scope, window.start, window.end),
            )
            database.execute(
                "DELETE FROM delivered WHERE scope = ? AND time >= ? AND time < ?",
                (scope, window.start, window.end),
            )


def _split(every: list[Window], border: Ticks) -> tuple[list[Window], list[Window]]:
    """What of the windows ``every`` lies before ``border``, and what at or after it."""
    before, after = [], []
    for window in every:
        end = border if window.end is None else window.end
        if window.start < border:
            before.append(Window(window.start, min(end, border)))
        if end > border:
            after.append(Window(max(window.start, border), window.end))
    return before, after

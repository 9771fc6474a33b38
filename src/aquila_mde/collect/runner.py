"""The collector: opens both sides and the state, and runs passes over the streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import structlog

from aquila_mde.collect.engine_lease import StateTakenError
from aquila_mde.collect.health_record import HealthRecord
from aquila_mde.collect.hunting import Hunting
from aquila_mde.collect.joins import Join, Joins, fill_in, refresh
from aquila_mde.collect.latest import LatestVersions
from aquila_mde.collect.outlet import Outlet
from aquila_mde.collect.reading import Reading
from aquila_mde.collect.report import StreamReport
from aquila_mde.collect.sides import Sides, for_stream
from aquila_mde.collect.state import Pass, State, StreamStore
from aquila_mde.collect.state_database import StateError
from aquila_mde.collect.state_place import open_state
from aquila_mde.collect.stopping import stopped_within
from aquila_mde.collect.stream_pass import Counts, Progress
from aquila_mde.collect.telemetry import TenantTelemetry
from aquila_mde.defender.times import TICKS_PER_SECOND, Ticks
from aquila_mde.errors import AquilaError, RetriableError
from aquila_mde.settings import Settings, interval_of
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree

__all__ = ["Collector", "StreamReport", "now_ticks"]

_log = structlog.get_logger(__name__)


def now_ticks() -> Ticks:
    """The clock of this machine."""
    return time.time_ns() // 100


class Collector:
    """Collects the streams of one tenant. Made by :meth:`open`; an async context manager."""

    def __init__(
        self,
        sides: Sides,
        state: State,
        *,
        progress: Progress | None,
        telemetry: TenantTelemetry | None = None,
        now: Callable[[], Ticks] | None = None,
        latest: LatestVersions,
    ) -> None:
        self.streams = sides.streams
        self.latest = latest
        self._telemetry = telemetry
        self._now = now or now_ticks
        self._sides = sides
        self._state = state
        self._progress = progress
        complete = self._last_complete()
        self.health = HealthRecord(
            sides.sink,
            tenant=sides.settings.tenant.organization,
            namespace=sides.namespace,
            intervals={each.name: self._interval(each).total_seconds() for each in sides.streams},
            complete=complete,
        )
        if telemetry is not None:
            telemetry.watch(sides.readings(), complete)

    @classmethod
    async def open(
        cls,
        settings: Settings,
        tree: PackageTree,
        *,
        retry_wait: bool = True,
        progress: Progress | None = None,
        telemetry: TenantTelemetry | None = None,
        now: Callable[[], Ticks] | None = None,
        outlet: Outlet | None = None,
    ) -> Collector:
        """Check the declarative files, connect to the engine and take the state.

        ``outlet`` is the engine's side where other tenants are collected, too. ``retry_wait`` off
        turns every wait between tries off. ``telemetry`` counts what is done. ``now`` stands in for
        the clock of this machine. Raises an :class:`AquilaError` of the part that is not ready.
        """
        sides = await Sides.open(settings, tree, retry_wait=retry_wait, outlet=outlet)
        try:
            state = await open_state(settings, sides.engine)
        except BaseException:
            await sides.aclose()
            raise
        latest = LatestVersions(sides.engine, tree, settings.tenant)
        return cls(sides, state, progress=progress, telemetry=telemetry, now=now, latest=latest)

    async def __aenter__(self) -> Collector:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of both sides and of the state."""
        try:
            await self._state.aclose()
        finally:
            await self._sides.aclose()

    async def collect(self, names: Sequence[str] | None = None) -> list[StreamReport]:
        """One pass over each of the streams ``names``, or over all; one's error stops no other."""
        stop = asyncio.Event()
        wanted = [self._sides.named(name) for name in names] if names else self.streams
        # What others are joined with is read before them.
        first = [stream for stream in wanted if self._feeds(stream)]
        then = [stream for stream in wanted if stream not in first]
        reports = [
            report
            for part in (first, then)
            for report in await _together([self._pass(stream, stop) for stream in part])
        ]
        return sorted(reports, key=lambda report: wanted.index(self._sides.named(report.stream)))

    async def run(self, stop: asyncio.Event) -> None:
        """Collect every stream at its interval until ``stop``; pages under way are finished."""
        read_once = {stream.name: asyncio.Event() for stream in self.streams}
        works = [self._repeat(stream, stop, read_once) for stream in self.streams]
        await _together([*works, self.latest.keep(stop), self.health.keep(stop)])
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self.health.write()

    def _last_complete(self) -> dict[str, float]:
        """When the last complete pass of each stream was, in seconds since 1970."""
        last = {stream.name: self._store(stream).read().last_pass for stream in self.streams}
        return {name: at / TICKS_PER_SECOND for name, at in last.items() if at is not None}

    def _interval(self, stream: Stream) -> timedelta:
        return interval_of(stream, self._sides.settings.streams)

    def _feeds(self, source: Stream) -> list[Join]:
        """The joins of other streams that take their partners from ``source``."""
        return [
            Join(stream, name, self._store(stream))
            for stream in self.streams
            for name, join in stream.collect.joins.items()
            if join.stream == source.name
        ]

    def _store(self, stream: Stream) -> StreamStore:
        return self._state.stream(self._sides.tenant_id, stream.name)

    async def _repeat(
        self, stream: Stream, stop: asyncio.Event, read_once: dict[str, asyncio.Event]
    ) -> None:
        interval = self._interval(stream)
        for join in stream.collect.joins.values():
            if join.stream in read_once:
                await read_once[join.stream].wait()
        failures = 0
        while not stop.is_set():
            report = await self._pass(stream, stop)
            read_once[stream.name].set()
            _log.info(
                "Pass ended",
                stream=stream.name,
                records=report.records,
                created=report.created,
                existing=report.existing,
                dead=report.dead,
                seconds=round(report.seconds, 3),
                error=report.error.message if report.error else None,
            )
            pause = interval.total_seconds()
            failures = 0 if report.error is None else failures + 1
            if failures:
                pause = min(pause, _AFTER_ERROR_SECONDS * 2 ** min(failures - 1, _DOUBLED))
            await stopped_within(stop, pause)
        read_once[stream.name].set()

    async def _pass(self, stream: Stream, stop: asyncio.Event) -> StreamReport:
        began, since = time.monotonic(), time.time()
        counts, calls = Counts(), self._sides.calls(stream.name)
        retries = self._sides.retries(stream.name)
        complete, error = False, None
        store = self._store(stream)
        try:
            joins = Joins(stream, store, enabled=(each.name for each in self.streams))
            for join in joins.each:
                await self._refresh(join)
            if stream.collect.strategy == "hunting":
                hunting = Hunting(
                    stream,
                    self._sides,
                    self._state,
                    counts=counts,
                    now=self._now,
                    stop=stop,
                    progress=self._progress,
                )
                complete = await hunting.run()
                store.finish(Pass(self._now(), None, None, False), now=self._now(), keep_since=None)
            else:
                reading = Reading(
                    stream,
                    store,
                    self._sides,
                    counts=counts,
                    joins=joins,
                    feeds=self._feeds(stream),
                    now=self._now,
                    stop=stop,
                    progress=self._progress,
                )
                complete = await reading.run()
            await self._fill_in(stream, joins)
        except StateTakenError:
            # Not of one stream: nothing may be sent any more.
            raise
        except AquilaError as raised:
            error = for_stream(raised, stream)
            # A state that cannot be read or written may not take this either.
            with suppress(StateError):
                store.fail(error.message)
        finally:
            self._sides.client.leave_room()
        report = StreamReport(
            stream=stream.name,
            records=counts.records,
            created=counts.created,
            existing=counts.existing,
            dead=counts.dead,
            requests=self._sides.calls(stream.name) - calls,
            seconds=time.monotonic() - began,
            complete=complete,
            error=error,
        )
        again = self._sides.retries(stream.name) - retries
        self.health.passed(report, began=since, retries=again)
        if self._telemetry is not None:
            self._telemetry.passed(report, began=since, retries=again)
        return report

    async def _refresh(self, join: Join) -> None:
        try:
            await refresh(join, self._sides.client, now=self._now())
        except RetriableError as error:
            # What is held of it still serves; the next pass asks again.
            _log.warning(
                "What records are joined with could not be read",
                stream=join.stream,
                join=join.name,
                error=error.message,
            )

    async def _fill_in(self, stream: Stream, joins: Joins) -> None:
        for join in (*joins.each, *self._feeds(stream)):
            index = self._sides.index(self._sides.named(join.stream))
            await fill_in(join, self._sides.engine, index, now=self._now())


async def _together(works: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """The results of ``works``, in order; the error of one ends all."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_Result = TypeVar("_Result")
_LAST_WORD_SECONDS = 10.0
"""For the last document of the collector's health, which nothing depends on."""
_AFTER_ERROR_SECONDS = 60.0
"""Longest pause after a pass that failed; its own retries have waited already."""
_DOUBLED = 10
"""How often that pause is doubled while passes go on failing; it never exceeds the interval."""

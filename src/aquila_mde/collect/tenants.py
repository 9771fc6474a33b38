"""The tenants of one process: each has its own run, and no failure of one touches another."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from aquila_mde.collect.outlet import Outlet
from aquila_mde.collect.report import StreamReport
from aquila_mde.collect.runner import Collector
from aquila_mde.collect.status import enabled_streams
from aquila_mde.collect.stopping import stopped_within
from aquila_mde.collect.stream_pass import Progress
from aquila_mde.collect.telemetry import Telemetry, TenantTelemetry
from aquila_mde.errors import AquilaError, without_secrets
from aquila_mde.settings import AllSettings, Settings, interval_of
from aquila_mde.streams.tree import PackageTree

_log = structlog.get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 300.0
"""Seconds until a tenant that could not be opened is tried again: each time twice as many."""
_APART_SECONDS = 0.5
"""Between the beginnings of two tenants: all at once they would need more of everything."""
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""glibc's numbers for them, from malloc.h."""
_LARGE = 128 << 10
_GRACE_SECONDS = 30.0
"""For the page under way, once a tenant is to be stopped. What is cut off then is read again."""
_BEAT_SECONDS = 5.0


_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Done(Generic[_Found]):
    """What was done for one tenant, or why it was not."""

    tenant: str
    """What the tenant is called."""
    found: _Found | None
    error: AquilaError | None


async def collect_tenants(
    settings: AllSettings,
    tree: PackageTree,
    names: Sequence[str] | None = None,
    *,
    progress: Progress | None = None,
) -> list[Done[list[StreamReport]]]:
    """One pass over the streams ``names``, or over all, of each tenant, all at once.

    An error of a stream is in its report, one of a tenant beside it. Raises an
    :class:`AquilaError` of the engine, which is that of all.
    """
    for each in settings.each:
        enabled_streams(each, tree)
    async with await Outlet.open(
        settings.shared.elasticsearch, alone=len(settings.each) == 1
    ) as outlet:

        async def collect(each: Settings) -> list[StreamReport]:
            shown = progress_of(each, settings, progress)
            async with await Collector.open(each, tree, progress=shown, outlet=outlet) as collector:
                reports = await collector.collect(names)
                await collector.health.write()
                await collector.latest.try_update()
            for report in reports:
                if report.error is not None and len(settings.each) > 1:
                    report.error.tenant = report.error.tenant or each.tenant.label
            return reports

        return await asyncio.gather(*(_done(each, settings, collect) for each in settings.each))


async def one_by_one(
    settings: AllSettings, work: Callable[[Settings], Awaitable[_Found]]
) -> list[Done[_Found]]:
    """What ``work`` finds for each tenant, one after the other; a failure of one stops no other."""
    return [await _done(each, settings, work) for each in settings.each]


def progress_of(
    settings: Settings, every: AllSettings, progress: Progress | None
) -> Progress | None:
    """``progress`` for the streams of one tenant: beside others its name stands before theirs."""
    if progress is None or len(every.each) == 1:
        return progress
    label = settings.tenant.label
    return lambda stream, records: progress(f"{label} {stream}", records)


async def _done(
    settings: Settings, every: AllSettings, work: Callable[[Settings], Awaitable[_Found]]
) -> Done[_Found]:
    label = settings.tenant.label
    with structlog.contextvars.bound_contextvars(tenant=label):
        try:
            return Done(label, await work(settings), None)
        except Exception as error:
            if len(every.each) == 1:
                raise
            told = error if isinstance(error, AquilaError) else _unforeseen(error)
            told.tenant = told.tenant or label
            return Done(label, None, told)


class Tenants:
    """Keeps the tenants of the settings collected. :meth:`run` does it; one call for each object.

    Raises :class:`ConfigurationError` where the settings do not fit the package.

    A tenant that cannot be opened (a credential that is not there, a state that is damaged or in
    use) is tried again with patience while the others go on; a single one ends the run, since
    whoever started the process learns of it by its end.
    """

    def __init__(
        self, settings: AllSettings, tree: PackageTree, *, telemetry: Telemetry | None = None
    ) -> None:
        self._settings = settings
        self._tree = tree
        self._telemetry = telemetry
        self._counts = {each.tenant.id: self._counted(each) for each in settings.each}
        """What is counted of each; it is there before the first one is opened."""
        self._runs: dict[str, _Run] = {}
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """End after the pages under way."""
        self._stop.set()
        self._changed.set()

    def look_at(self, settings: AllSettings) -> None:
        """Raise :class:`ConfigurationError` where ``settings`` do not fit the package."""
        for each in settings.each:
            enabled_streams(each, self._tree)

    def take(self, settings: AllSettings) -> None:
        """Go on with ``settings``, of which the engine is the same as before, and whether there are
        several tenants.

        A tenant that is not among them is stopped, one of which something has changed is started
        anew, each after its page under way; the others do not notice.
        """
        self._settings = settings
        self._changed.set()

    async def run(self) -> None:
        """Collect until :meth:`stop`. Raises what ends a single tenant, or all of them."""
        settings = self._settings
        # Signing in takes a thread, and so does looking up a host: those of tenants whose hosts do
        # not answer may not be all that there are.
        threads = ThreadPoolExecutor(8 + 2 * len(settings.each), thread_name_prefix="tenants")
        asyncio.get_running_loop().set_default_executor(threads)
        alone = len(settings.each) == 1
        if not alone:
            _share_the_heap()
        async with (
            await Outlet.open(settings.shared.elasticsearch, alone=alone) as outlet,
            self._alive(),
        ):
            try:
                while True:
                    self._changed.clear()
                    self._adjust(outlet)
                    if self._stop.is_set() and not self._runs:
                        return
                    await self._something_happens()
            finally:
                tasks = [run.task for run in self._runs.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _adjust(self, outlet: Outlet) -> None:
        """Stop what should not run, clear away what has ended, start what should run."""
        every = () if self._stop.is_set() else self._settings.each
        wanted = {each.tenant.id: each for each in every}
        for tenant_id, run in list(self._runs.items()):
            if run.task.done():
                del self._runs[tenant_id]
                if not run.task.cancelled():
                    run.task.result()
                label = run.settings.tenant.label
                if tenant_id not in wanted and not self._stop.is_set():
                    _log.info("The tenant is not collected any more", tenant=label)
            elif wanted.get(tenant_id) != run.settings and not run.stop.is_set():
                run.stop.set()
                # One that waits for an answer that may never come keeps nobody else waiting.
                asyncio.get_running_loop().call_later(_GRACE_SECONDS, run.task.cancel)
        new = [each for tenant_id, each in wanted.items() if tenant_id not in self._runs]
        for number, settings in enumerate(new):
            after = number * _APART_SECONDS
            self._runs[settings.tenant.id] = self._started(settings, outlet, after)
        if self._telemetry is not None:
            labels = {run.settings.tenant.label for run in self._runs.values()}
            for label in self._telemetry.labels() - labels:
                self._telemetry.forget(label)

    async def _something_happens(self) -> None:
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait(
                [changed, *(run.task for run in self._runs.values())],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()

    def _started(self, settings: Settings, outlet: Outlet, after: float) -> _Run:
        telemetry = self._counts.pop(settings.tenant.id, None) or self._counted(settings)
        stop = asyncio.Event()
        with structlog.contextvars.bound_contextvars(tenant=settings.tenant.label):
            # Takes the context with it, so that everything it logs names the tenant.
            task = asyncio.create_task(self._keep(settings, outlet, stop, telemetry, after))
        return _Run(settings, stop, task)

    def _counted(self, settings: Settings) -> TenantTelemetry | None:
        streams = enabled_streams(settings, self._tree)
        if self._telemetry is None:
            return None
        intervals = {each.name: interval_of(each, settings.streams) for each in streams}
        return self._telemetry.tenant(settings.tenant.label, intervals)

    async def _keep(
        self,
        settings: Settings,
        outlet: Outlet,
        stop: asyncio.Event,
        telemetry: TenantTelemetry | None,
        after: float,
    ) -> None:
        """Collect one tenant until ``stop``, whatever comes in between."""
        await stopped_within(stop, after)
        pause = _FIRST_PAUSE
        while not stop.is_set():
            try:
                async with await Collector.open(
                    settings, self._tree, telemetry=telemetry, outlet=outlet
                ) as collector:
                    _log.info("Collecting", streams=[stream.name for stream in collector.streams])
                    pause = _FIRST_PAUSE
                    await collector.run(stop)
            except Exception as error:
                if len(self._settings.each) == 1:
                    raise
                why = _told(error, telemetry)
                _log.error("The tenant is not collected", error=why, again_in=f"{pause:.0f} s")
                await stopped_within(stop, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    @asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        """Give a sign of life now and then."""
        if self._telemetry is None:
            yield
            return
        beats = asyncio.create_task(_beat(self._telemetry.beat))
        try:
            yield
        finally:
            beats.cancel()


@dataclass(frozen=True, slots=True)
class _Run:
    """One tenant that is collected."""

    settings: Settings
    stop: asyncio.Event
    task: asyncio.Task[None]


def _share_the_heap() -> None:
    """Keep memory together, where the C library is one that can be told.

    Each thread would get a heap of its own, of which little is ever given back; and what is large
    would leave holes in it, while pages of its own go back to the system.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def _beat(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(_BEAT_SECONDS)


def _told(error: Exception, telemetry: TenantTelemetry | None) -> str:
    """What ``error`` is to whoever reads the log; telemetry is told, too."""
    why = (error if isinstance(error, AquilaError) else _unforeseen(error)).message
    if telemetry is not None:
        telemetry.failed(why)
    return why


def _unforeseen(error: Exception) -> AquilaError:
    """An error of the program itself, which concerns one tenant and not the process."""
    _log.debug("The tenant failed", exc_info=error)
    return AquilaError(f"Unexpected error: {type(error).__name__}: {without_secrets(str(error))}")

"""The collector: opens both sides and the state, and runs passes over the streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import structlog

from aquila_mde.collect.joins import Join, Joins, fill_in, refresh
from aquila_mde.collect.reading import Reading
from aquila_mde.collect.state import State, StreamStore
from aquila_mde.collect.status import enabled_streams
from aquila_mde.collect.stream_pass import Counts, Progress
from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.defender.times import Ticks
from aquila_mde.elastic.bulk import BulkSink
from aquila_mde.elastic.client import Engine
from aquila_mde.errors import AquilaError, ConfigurationError, RetriableError
from aquila_mde.settings import Settings
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class StreamReport:
    """What one pass over one stream did."""

    stream: str
    records: int
    """Records that the tenant gave."""
    created: int
    existing: int
    """Records that were in the index already."""
    dead: int
    """Records that the engine refused and the dead-letter stream has."""
    requests: int
    seconds: float
    complete: bool
    """Whether the pass reached its end; one that was stopped goes on next time."""
    error: AquilaError | None = None


def now_ticks() -> Ticks:
    """The clock of this machine."""
    return time.time_ns() // 100


class Collector:
    """Collects the streams of one tenant. Made by :meth:`open`; an async context manager."""

    def __init__(
        self,
        settings: Settings,
        streams: list[Stream],
        *,
        client: DefenderClient,
        engine: Engine,
        state: State,
        sink: BulkSink,
        portal: str,
        progress: Progress | None,
    ) -> None:
        self.streams = streams
        self._settings = settings
        self._client = client
        self._engine = engine
        self._state = state
        self._sink = sink
        self._progress = progress
        tenant = settings.tenant
        self._tenant = {"id": tenant.id, "portal": portal}
        if tenant.name:
            self._tenant["name"] = tenant.name

    @classmethod
    async def open(
        cls,
        settings: Settings,
        tree: PackageTree,
        *,
        retry_wait: bool = True,
        progress: Progress | None = None,
    ) -> Collector:
        """Check the declarative files, take the state and connect to the engine.

        ``retry_wait`` off turns every wait between tries off. Raises an :class:`AquilaError` of
        the part that is not ready.
        """
        streams = enabled_streams(settings, tree)
        tenant = settings.tenant
        cloud = resolve_cloud(
            tenant.cloud,
            sign_in=tenant.sign_in_url,
            api=tenant.api_url,
            resource=tenant.resource,
            portal=tenant.portal_url,
        )
        credential = Credential.from_settings(tenant)
        state = State(settings.state)
        try:
            engine = await Engine.connect(settings.elasticsearch)
            client = DefenderClient(
                TokenSource(credential, cloud, ca_file=tenant.ca_file),
                cloud,
                tenant_label=tenant.name or tenant.id,
                ca_file=tenant.ca_file,
                retry=RetryPolicy(wait=retry_wait),
            )
        except BaseException:
            state.close()
            raise
        for stream in streams:
            for endpoint in stream.collect.endpoints():
                client.budget(endpoint.path, endpoint.quota.per_minute, endpoint.quota.per_hour)
        return cls(
            settings,
            streams,
            client=client,
            engine=engine,
            state=state,
            sink=BulkSink(engine),
            portal=cloud.portal,
            progress=progress,
        )

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
        await self._client.aclose()
        await self._engine.aclose()
        self._state.close()

    async def collect(self, names: Sequence[str] | None = None) -> list[StreamReport]:
        """One pass over each of the streams ``names``, or over all; one's error stops no other."""
        stop = asyncio.Event()
        wanted = [self._named(name) for name in names] if names else self.streams
        # What others are joined with is read before them.
        first = [stream for stream in wanted if self._feeds(stream)]
        then = [stream for stream in wanted if stream not in first]
        reports = [
            report
            for part in (first, then)
            for report in await asyncio.gather(*(self._pass(stream, stop) for stream in part))
        ]
        return sorted(reports, key=lambda report: wanted.index(self._named(report.stream)))

    async def run(self, stop: asyncio.Event) -> None:
        """Collect every stream at its interval until ``stop``; pages under way are finished."""
        read_once = {stream.name: asyncio.Event() for stream in self.streams}
        await asyncio.gather(*(self._repeat(stream, stop, read_once) for stream in self.streams))

    def _named(self, name: str) -> Stream:
        for stream in self.streams:
            if stream.name == name:
                return stream
        known = ", ".join(stream.name for stream in self.streams)
        raise ConfigurationError(
            f"There is no enabled stream {name!r}.", hint=f"The enabled streams are: {known}."
        )

    def _feeds(self, source: Stream) -> list[Join]:
        """The joins of other streams that take their partners from ``source``."""
        return [
            Join(stream, name, self._store(stream))
            for stream in self.streams
            for name, join in stream.collect.joins.items()
            if join.stream == source.name
        ]

    def _store(self, stream: Stream) -> StreamStore:
        return self._state.stream(self._settings.tenant.id, stream.name)

    async def _repeat(
        self, stream: Stream, stop: asyncio.Event, read_once: dict[str, asyncio.Event]
    ) -> None:
        interval = self._settings.stream(stream.name).interval or stream.collect.interval
        for join in stream.collect.joins.values():
            if join.stream in read_once:
                await read_once[join.stream].wait()
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
            if report.error is not None:
                pause = min(pause, _AFTER_ERROR_SECONDS)
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue
        read_once[stream.name].set()

    async def _pass(self, stream: Stream, stop: asyncio.Event) -> StreamReport:
        began = time.monotonic()
        counts, calls = Counts(), self._client.calls(stream.name)
        complete, error = False, None
        store = self._store(stream)
        try:
            joins = Joins(stream, store, enabled=(each.name for each in self.streams))
            for join in joins.each:
                await self._refresh(join)
            reading = Reading(
                stream,
                store,
                settings=self._settings,
                client=self._client,
                sink=self._sink,
                tenant=self._tenant,
                counts=counts,
                joins=joins,
                feeds=self._feeds(stream),
                now=now_ticks,
                stop=stop,
                progress=self._progress,
            )
            complete = await reading.run()
            await self._fill_in(stream, joins)
        except AquilaError as raised:
            error = _for_stream(raised, stream)
            store.fail(error.message)
        return StreamReport(
            stream=stream.name,
            records=counts.records,
            created=counts.created,
            existing=counts.existing,
            dead=counts.dead,
            requests=self._client.calls(stream.name) - calls,
            seconds=time.monotonic() - began,
            complete=complete,
            error=error,
        )

    async def _refresh(self, join: Join) -> None:
        try:
            await refresh(join, self._client, now=now_ticks())
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
            index = self._named(join.stream).index(self._namespace)
            await fill_in(join, self._engine, index, now=now_ticks())

    @property
    def _namespace(self) -> str:
        return self._settings.tenant.namespace


_AFTER_ERROR_SECONDS = 60.0
"""Longest pause after a pass that failed; its own retries have waited already."""


def _for_stream(error: AquilaError, stream: Stream) -> AquilaError:
    error.stream = error.stream or stream.name
    if isinstance(error, PermissionDeniedError) and error.needed is None:
        error.needed = stream.collect.endpoint.permission
        error.hint = f"The stream needs the application permission {error.needed}. {error.hint}"
    return error

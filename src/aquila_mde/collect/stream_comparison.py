"""Compares what the tenant holds with what the index holds, window by window.

A window of the tenant is read page by page, the ids that its records have in the index are worked
out as the collector does it, and the engine is asked which of them it holds. So nothing is
estimated, and memory holds one page whatever the size of tenant and index.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import structlog

from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.hunting import HuntPage, HuntReader
from aquila_mde.collect.identity import PassContext, Version
from aquila_mde.collect.incremental import collection_of, refused_field, time_field
from aquila_mde.collect.joins import Joins
from aquila_mde.collect.reconciliation import (
    Mending,
    MissingRecord,
    Reconciliation,
    RepairNotes,
    WindowReport,
)
from aquila_mde.collect.runner import now_ticks
from aquila_mde.collect.sides import Sides
from aquila_mde.collect.state import ExportMark, StreamStore
from aquila_mde.collect.stream_pass import Counts, Progress
from aquila_mde.collect.windows import Window, windows
from aquila_mde.defender.errors import BadRequestError, SnapshotReplacedError
from aquila_mde.defender.export import ExportPosition, read_export
from aquila_mde.defender.export_lines import split_lines
from aquila_mde.defender.page_reader import Page
from aquila_mde.defender.paging import read_all, read_since
from aquila_mde.defender.times import Ticks, parse_ticks, ticks_of
from aquila_mde.elastic.lookup import existing, present
from aquila_mde.elastic.scan import refresh
from aquila_mde.streams.indexed import indexed_field
from aquila_mde.streams.latest import TENANT_FIELD
from aquila_mde.streams.stream import Stream

_WINDOWS = 32
_CHUNK_BYTES = 1 << 20
_SHOWN = 20
_SNAPSHOTS = 3
_NOTED = 8
"""Chunks of an export after which is noted how far it was repaired."""
_log = structlog.get_logger(__name__)
_Read = list[tuple[bytes, Version]]


class StreamComparison:
    """One stream, from its start to its end."""

    def __init__(
        self,
        sides: Sides,
        stream: Stream,
        store: StreamStore,
        *,
        notes: RepairNotes | None,
        progress: Progress | None,
        hunt: HuntReader | None = None,
    ) -> None:
        self._hunt = hunt
        self.report = Reconciliation(stream.name, sides.index(stream))
        self._sides = sides
        self._stream = stream
        self._spec = stream.collect
        self._store = store
        self._state = store.read()
        self._notes = notes  # where something is to be repaired
        self._progress = progress
        self._field = time_field(self._spec, self._state)
        self._joins = Joins(stream, store, enabled=())
        self._read = 0
        self._mended: set[str] = set()
        parts = self._spec.identity.parts
        # Ids that hold the time of the pass that sent them cannot be worked out again.
        self._by_entity = self._spec.identity.by_content or any(p.start_of for p in parts)
        self._entity_field = indexed_field(stream, self._spec.identity.entity) or "event.id"

    async def run(self, since: Ticks | None, until: Ticks | None) -> None:
        """Compare, and repair if that was asked for."""
        if self._notes is not None:
            self._field = self._notes.field or self._field
            await self._sides.sink.refresh_backing(self.report.index)
        if self._by_entity or self._spec.strategy == "export":
            await refresh(self._sides.engine, self.report.index)
        if self._spec.strategy == "export":
            await self._export()
            return
        try:
            await self._windows(since, until)
        except BadRequestError as error:
            instead = refused_field(self._stream, self._field, error)
            if instead is None:
                raise
            self._field = instead
            self.report.windows.clear()
            if self._notes is not None:
                self._notes.forget()
            await self._windows(since, until)

    async def _windows(self, since: Ticks | None, until: Ticks | None) -> None:
        cursor = self._spec.cursor
        if cursor is None or self._field is None:
            await self._window(Window(0, None))
            return
        if self._hunt is not None:
            back = self._sides.settings.stream(self._stream.name).look_back or cursor.look_back
            end = until or self._state.cursor or now_ticks()
            await self._window(self._hunt.window(since, end, back))
            return
        end = until if until is not None else (self._state.cursor or await self._service_time())
        if since is None:
            look_back = self._sides.settings.stream(self._stream.name).look_back
            since = max(0, end - ticks_of(look_back or cursor.look_back))
        if self._notes is not None:
            since, end = self._notes.stretch(since, end, self._field)
        for window in windows(since, end, at_most=_WINDOWS, open_end=until is None):
            await self._window(window)

    async def _service_time(self) -> Ticks:
        """The service's own clock, which this machine's may be far from."""
        endpoint = self._spec.endpoint
        answer = await self._sides.client.get(
            endpoint.path, {"$top": "1"}, stream=self._stream.name, empty_on=endpoint.empty_on
        )
        return now_ticks() if answer.server_time is None else answer.server_time

    async def _window(self, window: Window) -> None:
        timed = self._field is not None
        if self._go_on(window.start if timed else None):
            return
        found = WindowReport(window.start if timed else None, window.end)
        self.report.windows.append(found)
        shown = len(self.report.records)
        collection = collection_of(self._stream, self._field, expand=self._notes is not None)
        client, name = self._sides.client, self._stream.name
        pages: AsyncIterator[Page]
        if self._hunt is not None:
            pages = self._hunt.pages(window, stream=name)
        elif timed:
            pages = read_since(client, collection, window.start, window.end, stream=name)
        else:
            pages = read_all(client, collection, stream=name)
        context = PassContext(now_ticks())
        async with self._mending(context, found) as mending:
            async for page in pages:
                if mending is not None and isinstance(page, HuntPage):
                    mending.work.writer.join("hunt", page.told)
                read = self._versions(page.records, context)
                due = [self._due(version) for _, version in read]
                await self._compare(read, due, found, mending, page.unexpanded)
        if self._notes is not None:
            await self._notes.note(found, self.report.records[shown:])

    def _go_on(self, start: Ticks | None) -> bool:
        """Whether an earlier run has done the window that begins at ``start``."""
        done = self._notes.done(start) if self._notes is not None else None
        if done is not None:
            self.report.windows.append(done[0])
            self.report.records += done[1][: _SHOWN - len(self.report.records)]
        return done is not None

    async def _export(self) -> None:
        for attempt in range(1, _SNAPSHOTS + 1):
            try:
                await self._snapshot()
            except SnapshotReplacedError:
                if attempt == _SNAPSHOTS:
                    raise
            else:
                return

    async def _snapshot(self) -> None:
        endpoint, notes = self._spec.endpoint, self._notes
        mark = self._store.export_mark()
        left_at = notes.left_at() if notes is not None else None
        found, number, position = WindowReport(None, None), 0, left_at
        async with AsyncExitStack() as opened:
            mending: Mending | None = None
            context: PassContext | None = None
            async for chunk in read_export(
                self._sides.client,
                endpoint.path,
                sas_hours=endpoint.sas_hours,
                stream=self._stream.name,
                resume=left_at,
                chunk_bytes=_CHUNK_BYTES,
            ):
                generated = chunk.start.generated
                if context is None or context.generated != parse_ticks(generated):
                    if context is None:
                        found = self._begun(left_at is not None and left_at.generated == generated)
                    context = PassContext(now_ticks(), parse_ticks(generated))
                    if mending is None:
                        mending = await opened.enter_async_context(self._mending(context, found))
                    if mending is not None:
                        mending.work.context = context
                        mending.work.writer.join("export", {"generated": generated})
                        DeltaStore(self._store).begin(parse_ticks(generated), context.started)
                read = self._versions(split_lines(chunk.text)[0], context)
                due = _delivered(chunk.position, mark) or self._changes_read(context)
                await self._compare(read, [due] * len(read), found, mending)
                number, position = number + 1, chunk.position
                if mending is not None and notes is not None and number % _NOTED == 0:
                    await mending.settled()
                    await notes.note(found, self.report.records, position)
        if notes is not None:
            await notes.note(found, self.report.records, position)

    def _begun(self, again: bool) -> WindowReport:
        """The report of an export from where an earlier run left it, or from its start."""
        self.report.windows.clear()
        self.report.records.clear()
        if not (again and self._go_on(None)):
            self.report.windows.append(WindowReport(None, None))
        return self.report.windows[0]

    @asynccontextmanager
    async def _mending(
        self, context: PassContext, found: WindowReport
    ) -> AsyncIterator[Mending | None]:
        """What delivers the records of one window that are missing, where that was asked for."""
        if self._notes is None:
            yield None
            return
        async with self._sides.delivery(self.report.index) as delivery:
            counts = Counts()
            work = self._sides.work(
                self._stream,
                self._store,
                counts,
                delivery,
                context,
                field=self._field,
                joins=self._joins,
                careful=True,
                again=True,
            )
            mending = Mending(work, counts, found)
            yield mending
            await mending.settled()

    def _versions(self, records: Sequence[msgspec.Raw | bytes], context: PassContext) -> _Read:
        """The version of each of ``records``; what is no JSON object is no record."""
        reader = self._sides.reader(self._stream, self._field)
        read, values = [], []
        for record in records:
            raw = bytes(record)
            try:
                values.append(reader.values(raw))
            except msgspec.DecodeError:
                continue
            read.append(raw)
        joined = self._joins.find(values, context.started)
        self._read += len(read)
        if self._progress:
            self._progress(self._stream.name, self._read)
        return [
            (raw, reader.version(raw, each, context, told))
            for raw, each, told in zip(read, values, joined.told(), strict=True)
        ]

    def _due(self, version: Version) -> bool:
        """Whether the collector has read beyond the time of ``version``."""
        cursor = self._state.cursor
        return cursor is None or version.time is None or version.time < cursor

    def _changes_read(self, context: PassContext) -> bool:
        """Whether the changes were read beyond the export, which says nothing new then."""
        cursor, generated = self._state.cursor, context.generated
        return cursor is not None and generated is not None and cursor >= generated

    async def _compare(
        self,
        read: _Read,
        due: list[bool],
        found: WindowReport,
        mending: Mending | None,
        unexpanded: Sequence[str] = (),
    ) -> None:
        """Count what is there and what is not; hand over to ``mending`` what is missing."""
        found.tenant += len(read)
        if self._by_entity:
            there = await self._present(version for _, version in read) | self._mended
            absent = [
                each for each in zip(read, due, strict=True) if each[0][1].entity not in there
            ]
        else:
            there = await self._held(self.report.index, read)
            absent = [
                each for each in zip(read, due, strict=True) if each[0][1].document_id not in there
            ]
        found.indexed += len(read) - len(absent)
        lacking = [each for each, _ in absent]
        letters = await self._held(self._sides.dead_letters, lacking)
        older: set[str] = set()
        if self._spec.strategy == "export":
            # A change is a version of its own, and what changed beside the row itself comes with
            # the next full export.
            older = await self._present(version for _, version in lacking)
        missing = []
        for (raw, version), is_due in absent:
            if version.document_id in letters:
                found.dead += 1
            elif not is_due or version.entity in older:
                found.pending += 1
            else:
                found.missing += 1
                missing.append(raw)
                if len(self.report.records) < _SHOWN:
                    self.report.records.append(
                        MissingRecord(version.entity, version.time, version.document_id)
                    )
                if mending is not None and self._by_entity:
                    # A search may not see it yet when another window brings it up again.
                    self._mended.add(version.entity)
        if mending is not None and missing:
            await mending.work.deliver(missing, unexpanded=unexpanded)

    async def _held(self, index: str, read: _Read) -> set[str]:
        ids = [version.document_id for _, version in read]
        return await existing(self._sides.engine, index, ids)

    async def _present(self, versions: Iterable[Version]) -> set[str]:
        tenant = {"term": {TENANT_FIELD: self._sides.tenant_id}}
        return await present(
            self._sides.engine,
            self.report.index,
            self._entity_field,
            (version.entity for version in versions),
            where=tenant,
        )


def _delivered(position: ExportPosition, mark: ExportMark | None) -> bool:
    """Whether the collector, which has come to ``mark``, should have delivered up to there."""
    if mark is None:
        return True
    reached = (mark.file, mark.line) >= (position.file, position.line)
    return mark.generated == position.generated and reached

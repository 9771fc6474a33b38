"""What one pass over one stream reads, how, and what is written down at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aquila_mde.collect.checkpoint import Checkpoints
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.delta import (
    collect_delta,
    forget_changes_before,
    give_up,
    next_reading,
    note_read,
)
from aquila_mde.collect.export import collect_export
from aquila_mde.collect.identity import PassContext
from aquila_mde.collect.incremental import (
    collect_incremental,
    followed_values,
    forget_before,
    reach,
    refused_field,
    time_field,
)
from aquila_mde.collect.joins import Join, Joins
from aquila_mde.collect.sides import Sides
from aquila_mde.collect.state import Pass, StreamStore
from aquila_mde.collect.stream_pass import Counts, Progress, StreamPass
from aquila_mde.defender.errors import BadRequestError, PagingLimitError
from aquila_mde.defender.times import Ticks
from aquila_mde.errors import AquilaError
from aquila_mde.streams.stream import Stream


class Reading:
    """One pass over one stream, by the strategy that its ``collect.yml`` names.

    ``now`` is this machine's clock; ``stop`` ends the pass after the page under way.
    """

    def __init__(
        self,
        stream: Stream,
        store: StreamStore,
        sides: Sides,
        *,
        counts: Counts,
        joins: Joins,
        feeds: Sequence[Join],
        now: Callable[[], Ticks],
        stop: asyncio.Event,
        progress: Progress | None,
    ) -> None:
        self._stream = stream
        self._store = store
        self._sides = sides
        self._checkpoints = Checkpoints(sides, stream, store)
        self._counts = counts
        self._joins = joins
        self._feeds = feeds
        self._now = now
        self._stop = stop
        self._progress = progress

    async def run(self) -> bool:
        """Read and deliver; whether the pass reached its end."""
        if self._stream.collect.strategy == "export":
            return await self._export()
        return await self._incremental()

    async def _incremental(self) -> bool:
        spec, store = self._stream.collect, self._store
        look_back = self._sides.settings.stream(self._stream.name).look_back
        if look_back is None and spec.cursor:
            look_back = spec.cursor.look_back
        while True:
            field = time_field(spec, store.read())
            await self._checkpoints.restore(field)
            state = store.read()
            to_read = reach(spec, state, store, now=self._now(), look_back=look_back)
            current = store.begin(started=self._now(), since=to_read.since, sweep=to_read.sweep)
            first = state.cursor is None
            # A cursor without a pass behind it was rebuilt, perhaps by a run that was killed then.
            careful = first or state.last_pass is None or current.resumed
            try:
                async with self._work(self._stream, current, field=field, careful=careful) as work:
                    done = await collect_incremental(
                        self._stream,
                        self._sides.client,
                        work,
                        current,
                        field=field,
                        first_look_back=look_back if first else None,
                        stop=self._stop,
                    )
            except BadRequestError as error:
                instead = refused_field(self._stream, field, error)
                if instead is None:
                    raise
                store.use_field(instead)
                continue
            if done:
                forget = forget_before(spec, store.read().cursor)
                store.finish(current, now=self._now(), keep_since=forget)
                if self._counts.created or current.sweep:
                    await self._checkpoints.write(field)
            return done

    async def _export(self) -> bool:
        """A full export if one is due, otherwise what has changed since the last reading."""
        spec, store = self._stream.collect, self._store
        refused: AquilaError | None = None
        await self._checkpoints.restore_changes()
        while True:
            to_read = next_reading(spec, store, now=self._now())
            current = store.begin(started=self._now(), since=to_read.since, sweep=to_read.sweep)
            try:
                read = self._everything if current.sweep else self._changes
                done = await read(current)
            except (BadRequestError, PagingLimitError) as error:
                if current.sweep:
                    raise
                # What cannot be read as changes, the next full export holds.
                give_up(store, error.message)
                refused = error
                continue
            if done:
                newer = note_read(store, current)
                forget = forget_changes_before(spec, store.read())
                store.finish(current, now=self._now(), keep_since=forget)
                if self._counts.created or current.sweep:
                    await self._checkpoints.write_changes()
                if refused is not None and not newer:
                    # A full export that says nothing new is no help.
                    raise refused
            return done

    async def _everything(self, current: Pass) -> bool:
        async with self._work(self._stream, current, field=None, careful=True) as work:
            return await collect_export(
                self._stream,
                self._sides.client,
                work,
                self._store,
                started=current.started,
                stop=self._stop,
            )

    async def _changes(self, current: Pass) -> bool:
        spec, first = self._stream.collect, self._store.read().cursor is None
        async with self._work(
            replace(self._stream, collect=spec.for_changes()),
            current,
            field=spec.delta.time_field if spec.delta else None,
            careful=first or current.resumed,
        ) as work:
            return await collect_delta(
                self._stream, self._sides.client, work, current, stop=self._stop
            )

    @asynccontextmanager
    async def _work(
        self, stream: Stream, current: Pass, *, field: str | None, careful: bool
    ) -> AsyncIterator[StreamPass]:
        """What delivers the records of ``current``; all of them are answered at the end."""
        sides, index = self._sides, self._sides.index(stream)
        if careful:
            await sides.sink.refresh_backing(index)
        async with Delivery(sides.sink, index) as delivery:
            yield sides.work(
                stream,
                self._store,
                self._counts,
                delivery,
                PassContext(current.started),
                field=field,
                joins=self._joins,
                careful=careful,
                feeds=self._feeds,
                open_values=followed_values(stream.collect, field),
                progress=self._progress,
            )

"""Compares what the tenant holds with what the index holds, stream by stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from aquila_mde.collect.hunting import HuntReader
from aquila_mde.collect.hunts import hunt_stream
from aquila_mde.collect.reconciliation import (
    Reconciliation,
    RepairNotes,
    repair_state,
)
from aquila_mde.collect.runner import now_ticks
from aquila_mde.collect.sides import Sides, for_stream
from aquila_mde.collect.state import State
from aquila_mde.collect.state_database import StateInUseError
from aquila_mde.collect.state_place import open_state, open_view
from aquila_mde.collect.stream_comparison import StreamComparison
from aquila_mde.collect.stream_pass import Progress
from aquila_mde.defender.times import Ticks
from aquila_mde.elastic.client import Engine
from aquila_mde.errors import AquilaError
from aquila_mde.settings import Settings
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree


async def reconcile(
    settings: Settings,
    tree: PackageTree,
    names: Sequence[str] | None = None,
    *,
    since: Ticks | None = None,
    until: Ticks | None = None,
    repair: bool = False,
    retry_wait: bool = True,
    progress: Progress | None = None,
) -> list[Reconciliation]:
    """Compare the streams ``names``, or all, from ``since`` to before ``until``.

    Without ``since`` as far back as a first pass reads, without ``until`` up to now; an export is
    always compared as a whole. ``repair`` delivers what is missing, for which it needs the state
    alone; without it nothing is locked or changed. A repair that was cut off goes on when it is
    asked for the same within a day. An error of a stream is in its report.
    """
    async with AsyncExitStack() as opened:
        sides = await opened.enter_async_context(
            await Sides.open(settings, tree, retry_wait=retry_wait, quota_share=1 if repair else 2)
        )
        state = await _state(settings, sides.engine, repair=repair)
        opened.push_async_callback(state.aclose)
        reports: list[Reconciliation] = []
        own = None
        if repair:
            own = await opened.enter_async_context(repair_state(settings, sides.engine, reports))
        wanted = [sides.named(name) for name in names] if names else sides.streams
        for stream in wanted:
            for name, part, hunt in _parts(sides, stream):
                store = state.stream(sides.tenant_id, name)
                notes = None
                if own is not None:
                    noted = own.stream(sides.tenant_id, name)
                    notes = RepairNotes(noted, (since, until), now=now_ticks())
                work = StreamComparison(
                    sides, part, store, notes=notes, progress=progress, hunt=hunt
                )
                work.report.stream = name
                try:
                    await work.run(since, until)
                except AquilaError as error:
                    work.report.error = for_stream(error, stream)
                reports.append(work.report)
        return reports


def _parts(sides: Sides, stream: Stream) -> list[tuple[str, Stream, HuntReader | None]]:
    """What has a state of its own: the stream, or each query of one that hunts."""
    if stream.collect.strategy != "hunting":
        return [(stream.name, stream, None)]
    hunts = [hunt_stream(stream, each, None) for each in sides.hunts]
    return [(one.scope, one.stream, HuntReader(one, sides.hunting(stream))) for one in hunts]


async def _state(settings: Settings, engine: Engine, *, repair: bool) -> State:
    if not repair:
        return await open_view(settings, engine)
    try:
        return await open_state(settings, engine)
    except StateInUseError as error:
        raise StateInUseError(
            f"A collector is running, and a repair writes to its state. {error.message}",
            hint="Stop the collector, repair, start it again; or compare without --repair, which "
            "runs beside it.",
        ) from None

"""Between two full exports: what has changed since the last one, and when a new one is due.

The cursor is the service's own time of the last reading. Each reading starts an overlap behind it,
and the service gives whole periods, so most changes come several times; the ids of those that were
delivered are kept as long as they can come again. A full export does not move the cursor, or what
was fixed shortly before it would never be told; only where the changes cannot be gone on with, for
they are too long ago, do they begin anew at the time of that export.
"""

from __future__ import annotations

import asyncio

import structlog

from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.incremental import Reach
from aquila_mde.collect.state import Pass, StreamState, StreamStore
from aquila_mde.collect.stream_pass import StreamPass
from aquila_mde.defender.changes import read_changes
from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.page_reader import Collection
from aquila_mde.defender.times import Ticks, parse_ticks, ticks_of
from aquila_mde.streams.collect_spec import CollectSpec, Delta
from aquila_mde.streams.stream import Stream

_log = structlog.get_logger(__name__)


def next_reading(spec: CollectSpec, store: StreamStore, *, now: Ticks) -> Reach:
    """What a pass of an export stream reads: all (``sweep``), or the changes since a time.

    All of it when no export was ever delivered whole, when the last one is too old, or when the
    service no longer has the changes that come next, which breaks their chain.
    """
    delta, chain, state = spec.delta, DeltaStore(store).read(), store.read()
    everything = Reach(None, sweep=True)
    if delta is None or chain is None or chain.since is None:
        return everything
    since = _since(delta, state, chain.since)
    # Told by what has passed on this machine's clock since the last reading, not by its time.
    age = max(delta.period, delta.overlap) if state.cursor is None else delta.overlap
    if now - chain.read_at + ticks_of(age) > ticks_of(delta.at_most):
        give_up(store, "they are too long ago")
        return everything
    full = state.last_sweep
    if full is None or not 0 <= now - full < ticks_of(delta.full_export_every):
        return everything
    return Reach(since, sweep=False)


def give_up(store: StreamStore, reason: str) -> None:
    """The changes cannot be gone on with: the next pass takes a full export."""
    _log.warning("The changes cannot be gone on with, a full export is taken", reason=reason)
    DeltaStore(store).give_up()


async def collect_delta(
    stream: Stream,
    client: DefenderClient,
    work: StreamPass,
    current: Pass,
    *,
    stop: asyncio.Event,
) -> bool:
    """Deliver the changes that ``current`` has to read; whether they were read to their end."""
    delta, since = stream.collect.delta, current.since
    if delta is None or since is None:
        raise ValueError(f"the stream {stream.name} has no changes")
    collection = Collection(
        path=delta.endpoint.path,
        page_size=delta.endpoint.page_size,
        id_property=stream.collect.identity.entity,
        empty_on=delta.endpoint.empty_on,
    )
    began: Ticks | None = None
    async for page in read_changes(client, collection, since, stream=stream.name):
        # What becomes visible while the pages are read is met again next time.
        began = page.server_time if began is None else began
        await work.deliver(page.records)
        if stop.is_set():
            return False
    await work.deliver((), position=since if began is None else began)
    return True


def forget_changes_before(spec: CollectSpec, state: StreamState) -> Ticks | None:
    """The time before which no change is given again, so that its id need not be remembered."""
    if spec.delta is None or state.cursor is None:
        return None
    # The period that a reading starts in may have begun a whole one before, and the service may
    # be one behind.
    return state.cursor - ticks_of(spec.delta.overlap + 2 * spec.delta.period)


def go_on_from(spec: CollectSpec, store: StreamStore) -> tuple[Ticks, Ticks] | None:
    """Since when the next changes are read, and when the last reading before it began.

    The first by the service's clock, the second by this machine's. ``None`` as long as there is
    nothing to go on with.
    """
    chain = DeltaStore(store).read()
    if spec.delta is None or chain is None or chain.since is None:
        return None
    return _since(spec.delta, store.read(), chain.since), chain.read_at


def note_read(store: StreamStore, current: Pass) -> bool:
    """Note what the pass that ended has read to its end; whether that was a newer export."""
    chain = DeltaStore(store)
    if not current.sweep:
        chain.move(current.started)
        return False
    mark, held = store.export_mark(), chain.read()
    if mark is None:
        return False
    chain.complete(mark.generated, parse_ticks(mark.generated), current.started)
    return held is None or held.full_export != mark.generated


def _since(delta: Delta, state: StreamState, begin: Ticks) -> Ticks:
    if state.cursor is None:
        return begin
    return max(begin, state.cursor - ticks_of(delta.overlap))

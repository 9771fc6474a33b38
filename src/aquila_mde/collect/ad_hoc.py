"""One hunting query for one stretch of time, to be looked at or to be indexed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aquila_mde.collect.hunts import HuntStream, hunt_stream
from aquila_mde.collect.identity import PassContext
from aquila_mde.collect.joins import Joins
from aquila_mde.collect.runner import now_ticks
from aquila_mde.collect.sides import Sides, defender_client, hunting_api
from aquila_mde.collect.state import State
from aquila_mde.collect.stream_pass import Counts
from aquila_mde.collect.windows import Window
from aquila_mde.defender.hunting import HuntingApi, Slice
from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import Settings
from aquila_mde.streams import kql
from aquila_mde.streams.hunts import Hunt, NamedHunt
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree

AD_HOC = "ad_hoc"
"""What the documents of such a query are named by."""


@dataclass(frozen=True)
class AdHoc:
    """A query that is asked once, and who answers it."""

    query: str
    """With its window, unless it is asked for no time at all."""
    window: Window | None
    """The time; none: whatever the query itself says, in one piece."""
    stream: Stream
    api: HuntingApi

    async def slices(self) -> AsyncIterator[Slice]:
        """All rows, slice by slice. A query that makes one row of several is asked in one piece.

        Raises the service's :class:`QueryError` and :class:`HeavyQueryError`.
        """
        window, name = self.window, self.stream.name
        if window is None or window.end is None:
            found = await self.api.run(self.query, stream=name)
            yield Slice(0, now_ticks(), found)
            return
        whole = window.end - window.start
        step = whole if kql.puts_together(self.query) or kql.takes_anything(self.query) else 1
        async for part in self.api.slices(
            self.query, window.start, window.end, stream=name, step=step
        ):
            yield part


def hunting_stream(tree: PackageTree) -> Stream:
    """The stream of the package that hunts, whether it is turned on or not."""
    for stream in load_streams(tree):
        if stream.collect.strategy == "hunting":
            return stream
    raise ConfigurationError("The package has no stream that hunts.")


@asynccontextmanager
async def ad_hoc(
    query: str, window: Window | None, settings: Settings, tree: PackageTree
) -> AsyncIterator[AdHoc]:
    """``query`` for the time of ``window``, ready to be asked.

    Raises an error where it cannot be told where that time goes.
    """
    stream = hunting_stream(tree)
    timed = query if window is None else kql.with_window(query)
    if timed is None:
        raise ConfigurationError(
            "The query does not begin with the name of a table, so it cannot be told where its "
            "time goes.",
            hint=f"Write {kql.WINDOW!r} behind each of its tables, or leave --last out and let "
            "the query say the time itself.",
        )
    client = defender_client(settings, graph=settings.hunting.api == "graph")
    api = hunting_api(stream, settings, client)
    quota = stream.collect.endpoint.quota
    client.budget(api.path, quota.per_minute, quota.per_hour)
    try:
        yield AdHoc(timed, window, stream, api)
    finally:
        await client.aclose()


async def index(asked: AdHoc, settings: Settings, tree: PackageTree) -> Counts:
    """Deliver the rows of ``asked`` into the data stream of the hunting stream, each once.

    Nothing is remembered of it: what the same query has delivered before is looked up.
    """
    one, counts = _as_stream(asked), Counts()
    async with AsyncExitStack() as opened:
        sides = await opened.enter_async_context(await Sides.open(settings, tree))
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="aquila-hunt-")))
        state = State(folder / "state.sqlite3")
        opened.callback(state.close)
        store = state.stream(sides.tenant_id, one.scope)
        name = sides.index(one.stream)
        await sides.sink.refresh_backing(name)
        delivery = await opened.enter_async_context(sides.delivery(name))
        work = sides.work(
            one.stream,
            store,
            counts,
            delivery,
            PassContext(now_ticks()),
            field=one.stream.collect.cursor.field if one.stream.collect.cursor else None,
            joins=Joins(one.stream, store, enabled=()),
            careful=True,
        )
        async for part in asked.slices():
            work.writer.join("hunt", one.told(part.start, part.end))
            await work.deliver(part.found.rows)
        await work.settled()
    return counts


def _as_stream(asked: AdHoc) -> HuntStream:
    hunt = Hunt.model_construct(
        title="Ad hoc query",
        description=asked.query,
        query=asked.query,
        table=kql.table_of(asked.query),
        interval=None,
        look_back=None,
        overlap=None,
        bin=None,
    )
    return hunt_stream(asked.stream, NamedHunt(AD_HOC, Path(), hunt), None)

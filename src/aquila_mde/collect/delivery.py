"""Batches on their way to the engine: bounded in bytes, answered in the order they were given.

Fetching and sending overlap: while the engine works on some batches the next page is read. What
waits or is under way never holds more than ``max_bytes``; a slow engine slows the fetch down.
``done`` of a batch runs only when every item of it, and of all batches before it, is answered, so
that a checkpoint written there is true.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Protocol

from aquila_mde.collect.turns import Turns
from aquila_mde.elastic.bulk import Documents, Item, Outcome
from aquila_mde.errors import AquilaError

Done = Callable[[list[Outcome]], Awaitable[None]]


class Sink(Protocol):
    """What takes documents: :class:`aquila_mde.elastic.bulk.BulkSink`."""

    async def send(self, index: str, items: Documents | Sequence[Item]) -> list[Outcome]:
        """Send ``items``, return what became of each, in order."""
        ...


class Delivery:
    """Sends batches to one index and settles them in order. An async context manager.

    An error of the sink or of ``done`` surfaces in the next :meth:`submit` or in :meth:`drain`;
    the batches behind it are given up unsettled.
    """

    def __init__(
        self,
        sink: Sink,
        index: str,
        *,
        max_bytes: int = 16 << 20,
        queue: Turns | None = None,
        owner: str = "",
    ) -> None:
        """``queue`` bounds what is on its way together with others, who are not ``owner``."""
        self._sink = sink
        self._index = index
        self._max_bytes = max_bytes
        self._queue = queue
        self._owner = owner
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Task[list[Outcome]], int, Done]] = deque()

    @property
    def waiting_bytes(self) -> int:
        """What is under way or waits."""
        return self._bytes

    async def __aenter__(self) -> Delivery:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.drain()
            return
        if isinstance(error, AquilaError):
            # The source failed: what it gave before is whole, and read again if it is lost here.
            # Had the sink failed, nothing would be waiting any more.
            with suppress(AquilaError):
                await self.drain()
        await self._give_up()

    async def submit(self, items: Documents | Sequence[Item], done: Done) -> None:
        """Hand over a batch; waits while too much is under way."""
        items = Documents.of(items)
        size = items.size
        while self._waiting and (
            self._bytes + size > self._max_bytes or self._waiting[0][0].done()
        ):
            await self._settle_oldest()
        if self._queue is not None:
            # Held until it is answered, not until it is settled: nobody waits for a turn while
            # what would make room for it waits for him.
            await self._queue.take(self._owner, size)
        sending = asyncio.create_task(self._send(items))
        if self._queue is not None:
            sending.add_done_callback(partial(self._give_back, self._queue, size))
        self._waiting.append((sending, size, done))
        self._bytes += size
        # Let the request leave before the caller goes on decoding.
        await asyncio.sleep(0)

    async def drain(self) -> None:
        """Wait until every batch is settled."""
        while self._waiting:
            await self._settle_oldest()

    async def _send(self, items: Documents) -> list[Outcome]:
        return await self._sink.send(self._index, items) if len(items) else []

    def _give_back(self, queue: Turns, size: int, _sent: object) -> None:
        queue.give(self._owner, size)

    async def _settle_oldest(self) -> None:
        sending, size, done = self._waiting[0]
        try:
            await done(await sending)
        except BaseException:
            await self._give_up()
            raise
        self._waiting.popleft()
        self._bytes -= size

    async def _give_up(self) -> None:
        tasks = [sending for sending, _, _ in self._waiting]
        self._waiting.clear()
        self._bytes = 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

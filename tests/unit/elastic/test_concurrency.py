"""How many requests are under way: on engines that are models, with a clock of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from aquila_mde.elastic.concurrency import Concurrency

SIZE = 1_000_000
_SENDERS = 12
Speed = Callable[[int], float]
"""Requests a second that an engine answers while so many are under way."""


class Model:
    """An engine of a certain speed, and senders that always have something to send to it."""

    def __init__(self, speed: Speed, start: int) -> None:
        self.now = 0.0
        self.limits: list[int] = []
        self.slots = Concurrency(start, most=8, clock=lambda: self.now)
        self._speed = speed
        self._under_way: deque[asyncio.Future[bool]] = deque()

    async def send(self) -> None:
        while True:
            async with self.slots.slot() as slot:
                taken = asyncio.get_running_loop().create_future()
                self._under_way.append(taken)
                if await taken:
                    self.slots.answered(SIZE)
                else:
                    self.slots.fall(slot)

    async def answer(self, requests: int) -> None:
        """The oldest ones are taken, one after the other."""
        for _ in range(requests):
            self.now += 1 / self._speed(len(self._under_way))
            await self._give(taken=True)
            self.limits.append(self.slots.limit)

    async def refuse_all(self) -> None:
        """Everything under way is too much."""
        for _ in range(len(self._under_way)):
            await self._give(taken=False)

    async def _give(self, *, taken: bool) -> None:
        self._under_way.popleft().set_result(taken)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def sending(speed: Speed, *, start: int = 2, senders: int = _SENDERS) -> AsyncIterator[Model]:
    model = Model(speed, start)
    tasks = [asyncio.create_task(model.send()) for _ in range(senders)]
    await model.settle()
    yield model
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_helps_is_done_up_to_the_most() -> None:
    async with sending(lambda under_way: under_way) as model:
        await model.answer(1_000)
    assert max(model.limits) == 8
    assert min(model.limits[-500:]) >= 7


@pytest.mark.parametrize("start", [1, 2, 6])
async def test_what_does_not_help_is_left(start: int) -> None:
    """An engine that works on three at a time: a fourth only waits there."""
    async with sending(lambda under_way: min(under_way, 3), start=start) as model:
        await model.answer(3_000)
    late = model.limits[-1_000:]
    assert max(late) <= 4
    assert late.count(3) > 600


async def test_a_source_that_is_slower_than_the_engine_changes_nothing() -> None:
    async with sending(lambda under_way: under_way, senders=2) as model:
        await model.answer(300)
    assert set(model.limits) == {2}


async def test_too_much_halves_it_at_once_and_it_comes_back() -> None:
    async with sending(lambda under_way: under_way, start=8) as model:
        for expected in (4, 2, 1, 1):
            # However many were refused together.
            await model.refuse_all()
            assert model.slots.limit == expected
        await model.answer(1_000)
        assert model.slots.limit >= 7

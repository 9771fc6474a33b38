"""Turns are fair, bounded, and given back by who no longer waits."""

from __future__ import annotations

import asyncio

from aquila_mde.collect.turns import Turns


async def asked(turns: Turns, owner: str, size: int, served: list[str]) -> asyncio.Task[None]:
    """A request that is noted in ``served`` when its turn comes."""

    async def take() -> None:
        await turns.take(owner, size)
        served.append(owner)

    task = asyncio.create_task(take())
    await settled()
    return task


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_small_one_does_not_stand_behind_all_of_a_large_one() -> None:
    turns, served = Turns(10), list[str]()
    await turns.take("large", 10)
    for _ in range(5):
        await asked(turns, "large", 5, served)
    await asked(turns, "small", 1, served)
    assert served == []
    turns.give("large", 10)
    await settled()
    assert served == ["large", "small"]
    assert turns.held == 6


async def test_the_bound_holds_whoever_asks() -> None:
    turns, most = Turns(10), 0

    async def work(owner: str, size: int) -> None:
        nonlocal most
        for _ in range(20):
            await turns.take(owner, size)
            most = max(most, turns.held)
            await asyncio.sleep(0)
            turns.give(owner, size)

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(work(f"tenant-{number % 4}", 1 + number % 5))
    assert 5 < most <= 10
    assert turns.held == 0


async def test_what_is_larger_than_all_goes_alone() -> None:
    turns, served = Turns(10), list[str]()
    await turns.take("a", 1)
    await asked(turns, "b", 11, served)
    await asked(turns, "a", 1, served)
    assert served == []
    turns.give("a", 1)
    await settled()
    assert served == ["b"]
    turns.give("b", 11)
    await settled()
    assert served == ["b", "a"]


async def test_nobody_has_more_than_a_share() -> None:
    turns, served = Turns(4, share=1), list[str]()
    await asked(turns, "slow", 1, served)
    second = await asked(turns, "slow", 1, served)
    for name in ("b", "c", "d"):
        await asked(turns, name, 1, served)
    assert served == ["slow", "b", "c", "d"]
    assert not second.done()
    turns.give("slow")
    await settled()
    assert served[-1] == "slow"


async def test_who_no_longer_waits_holds_nothing() -> None:
    turns, served = Turns(10), list[str]()
    await turns.take("a", 10)
    waiting = await asked(turns, "b", 8, served)
    granted = await asked(turns, "c", 2, served)
    waiting.cancel()
    await settled()
    turns.give("a", 10)
    granted.cancel()
    await settled()
    assert turns.held == 0
    await turns.take("d", 10)

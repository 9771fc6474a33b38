import asyncio
from collections.abc import Sequence

import pytest

from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.turns import Turns
from aquila_mde.elastic.bulk import Documents, Item, Outcome, Result

ITEM_LINES = b'{"create":{"_id":"00"}}\n%b\n'


class Sink:
    """Answers a batch when it is told to, in whatever order."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Event] = []
        self.sent: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.error: Exception | None = None

    async def send(self, index: str, items: Sequence[Item]) -> list[Outcome]:
        gate = asyncio.Event()
        self.gates.append(gate)
        self.sent += [item.id for item in items]
        size = sum(len(ITEM_LINES % item.source) for item in items)
        self.under_way += size
        self.most_under_way = max(self.most_under_way, self.under_way)
        await gate.wait()
        self.under_way -= size
        if self.error:
            raise self.error
        return [Outcome(Result.CREATED, item.id) for item in items]

    async def opened(self, count: int) -> None:
        while len(self.gates) < count:
            await asyncio.sleep(0)


def item(name: str, size: int = 10) -> Item:
    return Item(name, b"x" * size)


async def test_batches_settle_in_the_order_they_were_given() -> None:
    sink, settled = Sink(), []

    async def done(outcomes: list[Outcome]) -> None:
        settled.extend(outcome.index for outcome in outcomes)

    async with Delivery(sink, "i") as delivery:
        for name in "abc":
            await delivery.submit([item(name)], done)
        await sink.opened(3)
        for gate in reversed(sink.gates):
            gate.set()
            await asyncio.sleep(0)
    assert settled == ["a", "b", "c"]


async def test_what_is_under_way_stays_below_the_bound() -> None:
    sink = Sink()

    async def done(outcomes: list[Outcome]) -> None:
        pass

    async def answer() -> None:
        number = 0
        while number < 20:
            await sink.opened(number + 1)
            sink.gates[number].set()
            number += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        async with Delivery(
            sink, "i", max_bytes=3 * len(ITEM_LINES % item("00").source)
        ) as delivery:
            for number in range(20):
                await delivery.submit([item(str(number))], done)
    assert len(sink.sent) == 20
    assert len(ITEM_LINES) < sink.most_under_way <= 3 * len(ITEM_LINES % item("00").source)


async def test_one_batch_larger_than_the_bound_goes_alone() -> None:
    sink, settled = Sink(), []

    async def done(outcomes: list[Outcome]) -> None:
        settled.extend(outcomes)

    async with Delivery(sink, "i", max_bytes=5) as delivery:
        await delivery.submit([item("big", 100)], done)
        sink.gates[0].set()
    assert len(settled) == 1


async def test_an_empty_batch_settles_in_its_turn_without_a_request() -> None:
    sink, order = Sink(), []

    async def first(outcomes: list[Outcome]) -> None:
        order.append("first")

    async def second(outcomes: list[Outcome]) -> None:
        assert outcomes == []
        order.append("second")

    async with Delivery(sink, "i") as delivery:
        await delivery.submit([item("a")], first)
        await delivery.submit([], second)
        assert order == []
        sink.gates[0].set()
    assert order == ["first", "second"]
    assert sink.sent == ["a"]


async def test_after_an_error_nothing_behind_it_is_settled() -> None:
    sink, settled = Sink(), []

    async def done(outcomes: list[Outcome]) -> None:
        settled.append(outcomes)

    with pytest.raises(RuntimeError, match="engine is away"):
        async with Delivery(sink, "i") as delivery:
            await delivery.submit([item("a")], done)
            await delivery.submit([item("b")], done)
            sink.error = RuntimeError("engine is away")
            sink.gates[0].set()
            await delivery.drain()
    assert settled == []


async def test_an_error_of_the_caller_ends_what_is_under_way() -> None:
    sink, settled = Sink(), []

    async def done(outcomes: list[Outcome]) -> None:
        settled.append(outcomes)

    with pytest.raises(ValueError, match="page"):
        async with Delivery(sink, "i") as delivery:
            await delivery.submit([item("a")], done)
            raise ValueError("page")
    assert settled == []


async def test_several_share_one_bound_until_they_are_answered() -> None:
    size = Documents.of([item("a")]).size
    sink, queue, settled = Sink(), Turns(2 * size), []

    async def done(outcomes: list[Outcome]) -> None:
        settled.extend(outcome.index for outcome in outcomes)

    def delivery(owner: str) -> Delivery:
        return Delivery(sink, "i", queue=queue, owner=owner)

    async with delivery("large") as large, delivery("small") as small:
        for name in "ab":
            await large.submit([item(name)], done)
        await sink.opened(2)
        third = asyncio.create_task(large.submit([item("c")], done))
        first = asyncio.create_task(small.submit([item("d")], done))
        await asyncio.sleep(0)
        assert sink.sent == ["a", "b"]
        # Answered and not settled yet: its bytes are free all the same.
        sink.gates[0].set()
        await first
        await sink.opened(3)
        assert sink.sent == ["a", "b", "d"]
        assert queue.held == 2 * size
        for gate in sink.gates:
            gate.set()
        await third
        await sink.opened(4)
        sink.gates[3].set()
    assert sorted(settled) == ["a", "b", "c", "d"]
    assert queue.held == 0


async def test_what_was_given_up_holds_no_room() -> None:
    sink, queue = Sink(), Turns(100)

    async def done(outcomes: list[Outcome]) -> None:
        pass

    with pytest.raises(KeyboardInterrupt):
        async with Delivery(sink, "i", queue=queue, owner="a") as delivery:
            await delivery.submit([item("a")], done)
            raise KeyboardInterrupt
    assert queue.held == 0

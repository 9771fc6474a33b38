import asyncio
from collections import deque

import pytest

from aquila_mde.defender.limits import Budget


class _Clock:
    """An event loop whose time passes only while everybody waits, and then at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 0.0
        self._loop = loop

    def time(self) -> float:
        return self.now


def _run_at_once(main: object) -> float:
    """Run ``main`` on a loop that skips every wait; the seconds it would have taken."""
    loop = asyncio.new_event_loop()
    clock = _Clock(loop)
    loop.time = clock.time  # type: ignore[method-assign]
    select = loop._selector.select  # type: ignore[attr-defined]

    def skip(timeout: float | None = None) -> object:
        # A little more than asked, as a real clock would: sums of floats miss their mark.
        clock.now += timeout + 1e-6 if timeout else 0.0
        return select(0)

    loop._selector.select = skip  # type: ignore[attr-defined]
    try:
        loop.run_until_complete(main)  # type: ignore[arg-type]
    finally:
        loop.close()
    return clock.now


def _times(budget: Budget, calls: int) -> list[float]:
    taken: list[float] = []

    async def one() -> None:
        await budget.take()
        taken.append(asyncio.get_running_loop().time())

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(calls)))

    _run_at_once(main())
    return taken


def _most_within(times: list[float], period: float) -> int:
    window: deque[float] = deque()
    most = 0
    for time in sorted(times):
        window.append(time)
        while window[0] <= time - period:
            window.popleft()
        most = max(most, len(window))
    return most


@pytest.mark.parametrize(("per_minute", "per_hour"), [(100, 1500), (5, 20), (30, 1000), (2, 2)])
def test_no_minute_and_no_hour_sees_more_calls_than_allowed(per_minute: int, per_hour: int) -> None:
    times = _times(Budget(per_minute, per_hour), per_hour * 3)
    assert len(times) == per_hour * 3
    assert _most_within(times, 60) <= per_minute
    assert _most_within(times, 3600) <= per_hour


def test_a_quota_of_one_call_is_one_call_a_period() -> None:
    assert _times(Budget(1, 100), 3) == pytest.approx([0, 60, 120])


def test_a_burst_goes_through_at_once_and_most_of_the_quota_is_used() -> None:
    times = _times(Budget(100, 10_000), 300)
    assert times[19] == 0.0
    assert times[299] < 60 * 300 / 75


def test_calls_rest_when_the_service_asks_for_it() -> None:
    budget = Budget(100, 1500)
    taken: list[float] = []

    async def one() -> None:
        await budget.take()
        taken.append(asyncio.get_running_loop().time())

    async def main() -> None:
        budget.rest(30)
        waiting = asyncio.ensure_future(one())
        await asyncio.sleep(20)
        budget.rest(40)  # longer than the first
        budget.rest(1)  # shorter, so it changes nothing
        await waiting

    _run_at_once(main())
    assert taken == pytest.approx([60.0])


def test_without_waiting_nothing_is_held_back() -> None:
    budget = Budget(1, 1, wait=False)

    async def main() -> None:
        budget.rest(1000)
        for _ in range(500):
            await budget.take()

    assert _run_at_once(main()) == 0.0

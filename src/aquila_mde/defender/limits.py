"""The calls that Microsoft allows one application in one tenant, spread over the time."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from aiolimiter import AsyncLimiter

_MINUTE, _HOUR = 60.0, 3_600.0


class Budget:
    """The quota of one endpoint, shared by everybody who calls it.

    A part of the quota may be used at once, the rest flows in evenly, so that within any minute
    and any hour no more calls are made than allowed. With ``wait`` off nothing is ever held back.
    """

    def __init__(self, per_minute: int, per_hour: int, *, wait: bool = True) -> None:
        self._limiters = (_limiter(per_minute, _MINUTE), _limiter(per_hour, _HOUR))
        self._wait = wait
        self._rest_until = 0.0
        self._per_hour = per_hour
        self._calls: deque[float] = deque()

    async def take(self) -> None:
        """Wait until one more call is within the quota, and count it."""
        if self._wait:
            await self._wait_for_room()
        self._calls.append(time.monotonic())
        self._forget()

    def left(self) -> int:
        """The calls that are still within the quota of an hour."""
        since = time.monotonic() - _HOUR
        return max(0, self._per_hour - sum(call > since for call in list(self._calls)))

    def _forget(self) -> None:
        since = time.monotonic() - _HOUR
        while self._calls and self._calls[0] <= since:
            self._calls.popleft()

    async def _wait_for_room(self) -> None:
        for limiter in self._limiters:
            await limiter.acquire()
        clock = asyncio.get_running_loop().time
        # It is the time itself that is waited for; others may prolong it meanwhile.
        while (seconds := self._rest_until - clock()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(seconds)

    def rest(self, seconds: float) -> None:
        """Hold every caller back for ``seconds``: the service has said that it is too much."""
        until = asyncio.get_running_loop().time() + seconds
        self._rest_until = max(self._rest_until, until)


def _limiter(quota: int, period: float) -> AsyncLimiter:
    """A leaky bucket that never lets more than ``quota`` calls through in any ``period``.

    What the bucket holds and what leaks out of it in one period add up to the quota. Small quotas
    hold half of it: whoever may call five times a minute needs two calls in a row, not four.
    """
    burst = max(quota // 5, min(quota // 2, 10), 1)
    refill = max(quota - burst, 1)
    return AsyncLimiter(burst, period * burst / refill)

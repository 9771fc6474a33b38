"""How many bulk requests are under way at once: as many as help, and fewer at once when the engine
says that it is too much.

While requests wait for their turn, the bytes that the engine answers for in a second are measured
over some requests. One request more at a time is tried, and kept when it brings clearly more; now
and then one less is tried, and kept when it brings as much. An answer of an overloaded engine
halves the number at once. A source that is slower than the engine tells nothing, so then nothing is
measured.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from anyio import CapacityLimiter

_MEASURED = 8
"""Answers that a number of requests is judged by, or three for each of them if that is more."""
_CLEARLY_MORE = 1.05
_AS_MUCH = 0.98
_REST, _LONGEST_REST = 2, 32
"""Measurements without a trial after one that did not help: each time twice as many."""
_log = structlog.get_logger()


class Concurrency:
    """Lets ``limit`` requests through at a time, between 1 and ``most``.

    ``clock`` gives seconds.
    """

    def __init__(
        self, start: int, *, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limiter = CapacityLimiter(start)
        self._most = most
        self._clock = clock
        self._falls = 0
        self._began: float | None = None
        """When the measurement under way began."""
        self._bytes = self._answers = 0
        self._tried = 0
        """The trial under way: one more (1), one less (-1) or none."""
        self._before = 0.0
        """Bytes a second without the trial under way."""
        self._direction = 1
        self._rest, self._next_rest = 0, _REST

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return int(self._limiter.total_tokens)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Room for one request while the context lasts; what it yields is for :meth:`fall`."""
        async with self._limiter:
            yield self._falls

    def answered(self, size: int) -> None:
        """The engine has taken a request of ``size`` bytes. Told before its slot is free again."""
        if not self._limiter.statistics().tasks_waiting:
            self._began = None
            return
        if self._began is None:
            self._began, self._bytes, self._answers = self._clock(), 0, 0
            return
        self._bytes += size
        self._answers += 1
        if self._answers < max(_MEASURED, 3 * self.limit):
            return
        seconds, self._began = self._clock() - self._began, None
        if seconds > 0:
            self._judge(self._bytes / seconds)

    def fall(self, slot: int) -> None:
        """The engine could not take the request of ``slot``: from now on only half as many.

        The answers to those that were under way together with it say nothing new.
        """
        if slot != self._falls:
            return
        self._falls += 1
        self._tried, self._direction, self._began = 0, 1, None
        self._rest = self._next_rest = _REST
        if self.limit > 1:
            self._allow(self.limit // 2)
            _log.info("The engine is overloaded, sending less at once", requests=self.limit)

    def _judge(self, rate: float) -> None:
        if not self._tried:
            if self._rest:
                self._rest -= 1
                return
            self._try(rate)
            return
        enough = _CLEARLY_MORE if self._tried > 0 else _AS_MUCH
        if rate >= enough * self._before:
            # It helped, so one more step in the same direction may, too.
            self._next_rest = _REST
            self._try(rate)
            return
        self._allow(self.limit - self._tried)
        self._pause(-self._tried)

    def _try(self, rate: float) -> None:
        wanted = self.limit + self._direction
        if not 1 <= wanted <= self._most:
            self._pause(-self._direction)
            return
        self._tried, self._before = self._direction, rate
        self._allow(wanted)

    def _pause(self, direction: int) -> None:
        self._tried, self._direction = 0, direction
        self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, _LONGEST_REST)

    def _allow(self, number: int) -> None:
        self._limiter.total_tokens = number

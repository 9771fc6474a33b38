"""Calls that one application may make to one endpoint, in a minute and in an hour."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Budget:
    per_minute: int
    per_hour: int
    calls: dict[str, deque[float]] = field(default_factory=dict)


class Quotas:
    """Sliding windows, counted in the seconds of ``elapsed``.

    ``scale`` multiplies every quota, so that a test or a demo need not wait; None takes them away.
    A call that is refused does not count.
    """

    def __init__(self, elapsed: Callable[[], float], scale: float | None) -> None:
        self._elapsed = elapsed
        self._scale = scale
        self._budgets: dict[str, _Budget] = {}

    def declare(self, path: str, per_minute: int, per_hour: int) -> None:
        """Set the quota of ``path``, which may be one that is in use."""
        scale = self._scale or 1
        minute, hour = max(1, round(per_minute * scale)), max(1, round(per_hour * scale))
        self._budgets.setdefault(path, _Budget(minute, hour))
        self._budgets[path].per_minute, self._budgets[path].per_hour = minute, hour

    def exhaust(self, path: str, application: str) -> None:
        """Use up the hour of ``application`` on ``path``."""
        budget = self._budgets[path]
        now = self._elapsed()
        budget.calls[application] = deque([now] * budget.per_hour)

    def take(self, path: str, application: str) -> tuple[int, str] | None:
        """Count one call. When it is one too many: seconds to wait, and the quota in words."""
        if self._scale is None or path not in self._budgets:
            return None
        budget = self._budgets[path]
        calls = budget.calls.setdefault(application, deque())
        now = self._elapsed()
        while calls and calls[0] <= now - 3600:
            calls.popleft()
        if len(calls) >= budget.per_hour:
            return _seconds(calls[-budget.per_hour] + 3600 - now), f"{budget.per_hour} per 01:00:00"
        if len(calls) >= budget.per_minute and calls[-budget.per_minute] > now - 60:
            wait = calls[-budget.per_minute] + 60 - now
            return _seconds(wait), f"{budget.per_minute} per 00:01:00"
        calls.append(now)
        return None


def _seconds(wait: float) -> int:
    return max(1, math.ceil(wait))

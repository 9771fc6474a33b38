"""How often and how long a call to the engine is tried again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import stamina

from aquila_mde.elastic.errors import EngineUnavailableError

_FIRST_WAIT = 0.5
_JITTER = 0.5


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds of the repetition after an :class:`EngineUnavailableError`; times in seconds.

    The waits double from half a second up to ``longest_wait``. With ``wait`` off there are the
    same attempts without any wait between them.
    """

    attempts: int = 5
    total_seconds: float = 60.0
    longest_wait: float = 10.0
    wait: bool = True

    def attempted(self) -> AsyncIterator[stamina.Attempt]:
        """Attempts for ``async for``; the last one lets its error through."""
        return stamina.retry_context(
            on=self._backoff,
            attempts=self.attempts,
            timeout=self.total_seconds,
            wait_initial=_FIRST_WAIT if self.wait else 0.0,
            wait_max=self.longest_wait if self.wait else 0.0,
            wait_jitter=_JITTER if self.wait else 0.0,
        ).__aiter__()

    def _backoff(self, error: Exception) -> bool | float:
        if not isinstance(error, EngineUnavailableError):
            return False
        if error.wait is not None and self.wait:
            return min(error.wait, self.longest_wait)
        return True

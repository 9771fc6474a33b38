"""Waiting for what Microsoft makes visible everywhere only after a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    NotFoundError,
)

_Found = TypeVar("_Found")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_VISIBLE_WITHIN = 120.0
"""Seconds after which what was made must be visible everywhere."""


async def tries(seconds: float) -> AsyncIterator[bool]:
    """Once more and once more, so long; the last one is True."""
    end, wait = time.monotonic() + seconds, _FIRST_WAIT
    while (left := end - time.monotonic()) > 0:
        yield False
        await asyncio.sleep(min(wait, left))
        wait = min(wait * 1.5, _LONGEST_WAIT)
    yield True


async def patiently(
    call: Callable[[], Awaitable[_Found]], *, seconds: float = _VISIBLE_WITHIN
) -> _Found:
    """What ``call`` returns; it is repeated while Graph does not see yet what was just made.

    It must look before it makes anything, since an answer that was lost may have been a success.
    """
    async for last in tries(seconds):
        try:
            return await call()
        except (NotFoundError, BadRequestError, DefenderUnavailableError):
            if last:
                raise
    raise AssertionError("the last try returns or raises")  # pragma: no cover

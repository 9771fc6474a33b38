"""Waiting, as long as nobody says that it is to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for ``seconds``, or until ``stop``; whether that came first."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def every(
    interval: timedelta, work: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Do ``work`` after each ``interval``, until ``stop``."""
    while not await stopped_within(stop, interval.total_seconds()):
        await work()

"""The tenant's time: ticks of 100 ns, the texts Microsoft writes them in, and a clock that moves.

The service's times carry seven fractional digits, more than :class:`datetime.datetime` holds.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

SECOND = 10_000_000
"""Ticks in one second."""
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

DEFAULT_NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
"""Where a clock starts that was told nothing."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - every time in here is UTC
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,7}))?(?:Z|([+-])(\d{2}):(\d{2}))"
)


def parse_time(text: str) -> int:
    """Ticks since 1970 of a time such as ``2026-01-01T00:00:00.1234567Z``.

    As in the service, the zone is required and an eighth digit is an error (:class:`ValueError`).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time with a zone and up to 7 fractional digits")
    whole, fraction, sign, hours, minutes = match.groups()
    since = datetime.fromisoformat(whole) - _EPOCH
    ticks = (since.days * 86_400 + since.seconds) * SECOND
    if fraction:
        ticks += int(fraction.ljust(7, "0"))
    if sign:
        offset = (int(hours) * 60 + int(minutes)) * MINUTE
        ticks -= offset if sign == "+" else -offset
    return ticks


def format_time(ticks: int) -> str:
    """``ticks`` as the JSON endpoints write them: up to 7 digits, trailing zeros dropped."""
    seconds, fraction = divmod(ticks, SECOND)
    whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    return f"{whole}.{fraction:07}".rstrip("0") + "Z" if fraction else f"{whole}Z"


def format_export_time(ticks: int) -> str:
    """``ticks`` as export rows write them: a blank, no zone, seven digits or none."""
    seconds, fraction = divmod(ticks, SECOND)
    whole = (_EPOCH + timedelta(seconds=seconds)).isoformat(" ")
    return f"{whole}.{fraction:07}" if fraction else whole


def to_ticks(moment: datetime) -> int:
    """``moment``, which has a zone, as ticks."""
    since = moment.astimezone(UTC).replace(tzinfo=None) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 10


def to_datetime(ticks: int) -> datetime:
    """``ticks`` as a moment in UTC, cut to microseconds."""
    return (_EPOCH + timedelta(microseconds=ticks // 10)).replace(tzinfo=UTC)


def duration(span: timedelta) -> int:
    """The number of ticks in ``span``."""
    return (span.days * 86_400 + span.seconds) * SECOND + span.microseconds * 10


class Clock:
    """The tenant's clock: it stands still until it is advanced, or runs in real time.

    ``now`` is where it starts: by default a fixed moment, and the real time when it runs.
    """

    def __init__(self, now: datetime | None = None, *, running: bool = False) -> None:
        start = now or (datetime.now(UTC) if running else DEFAULT_NOW)
        self._start = to_ticks(start)
        self._running = running
        self._advanced = 0
        self._born = time.monotonic_ns()

    def now(self) -> int:
        """The tenant's time in ticks."""
        passed = (time.monotonic_ns() - self._born) // 100 if self._running else 0
        return self._start + self._advanced + passed

    def elapsed(self) -> float:
        """Seconds since the start, real ones and advanced ones together.

        Quotas count in these: they free up for who waits and for who moves the clock.
        """
        return (time.monotonic_ns() - self._born) / 1e9 + self._advanced / SECOND

    def advance(self, span: timedelta) -> None:
        """Move the clock forward by ``span``."""
        if span < timedelta(0):
            raise ValueError("the tenant's clock only moves forward")
        self._advanced += duration(span)

    def http_date(self) -> str:
        """The tenant's time as a Date header."""
        return format_datetime(to_datetime(self.now()), usegmt=True)

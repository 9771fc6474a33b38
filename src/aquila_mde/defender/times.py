"""The times of the Defender API: up to seven fractional digits, held as whole numbers.

``datetime`` ends at microseconds, one digit short, so that a cursor kept in it would read the
newest record again and again or step over one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

Ticks = int
"""Units of 100 ns since 1970-01-01T00:00:00Z; negative before it."""

TICKS_PER_SECOND = 10_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - both sides of every subtraction here are UTC
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d))?", re.ASCII
)

_ALL_IN_UTC = re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?Z\n)*", re.ASCII)
_EPOCH_IN_UTC = _EPOCH.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SEVENTH = {"": 0, "Z": 0} | {str(digit): digit for digit in range(10)}
"""What the seventh digit behind the point adds, or what stands where it would be."""


def ticks_of(duration: timedelta) -> Ticks:
    """``duration`` in units of 100 ns."""
    return duration // timedelta(microseconds=1) * 10


def parse_ticks(text: str) -> Ticks:
    """The time that ``text`` names.

    Takes what the API sends: ``2026-01-01T00:00:00.1234567Z``, fewer digits or none (trailing
    zeros are dropped), a blank instead of ``T``, no zone for UTC. Digits after the seventh are
    cut. Raises :class:`ValueError` for anything else.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a time such as 2026-01-01T00:00:00.1234567Z")
    date, clock, fraction, sign, hours, minutes = match.groups()
    since_epoch = datetime.fromisoformat(f"{date}T{clock}") - _EPOCH
    seconds = since_epoch.days * 86_400 + since_epoch.seconds
    if sign:
        offset = int(hours) * 3_600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    ticks = seconds * TICKS_PER_SECOND
    return ticks + int(fraction[:7].ljust(7, "0")) if fraction else ticks


def parse_each(texts: Sequence[str]) -> list[Ticks]:
    """:func:`parse_ticks` of each of ``texts``, far quicker where they are written as usual.

    Raises :class:`ValueError` when one of them is no time.
    """
    if _ALL_IN_UTC.fullmatch("\n".join((*texts, ""))) is None:
        return list(map(parse_ticks, texts))
    # It ends at microseconds and takes no notice of what follows them.
    moments = map(datetime.fromisoformat, texts)
    return [
        (moment - _EPOCH_IN_UTC) // _MICROSECOND * 10 + _SEVENTH[text[26:27]]
        for moment, text in zip(moments, texts, strict=True)
    ]


def format_ticks(ticks: Ticks) -> str:
    """``ticks`` as ``2026-01-01T00:00:00.1234567Z``, always with seven digits.

    Raises :class:`OverflowError` outside the years 1 to 9999.
    """
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}.{fraction:07d}Z"


def ticks_of_http_date(value: str | None) -> Ticks | None:
    """The time of an HTTP ``Date`` header, or ``None`` where there is none that can be read."""
    if not value:
        return None
    try:
        return int(parsedate_to_datetime(value).timestamp()) * TICKS_PER_SECOND
    except ValueError:
        return None

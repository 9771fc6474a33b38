"""Stretches of time: read from the command line, and cut into windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks, ticks_of
from aquila_mde.errors import ConfigurationError

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LENGTHS = tuple(
    ticks_of(length)
    for length in (
        timedelta(hours=1),
        timedelta(hours=6),
        timedelta(days=1),
        timedelta(days=7),
        timedelta(days=30),
    )
)


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` to before ``end``; ``None`` is open."""

    start: Ticks
    end: Ticks | None


def moment(text: str, option: str) -> Ticks:
    """The time that ``text`` names, a date being its midnight in UTC.

    Raises :class:`ConfigurationError` that names the ``option`` it was given for.
    """
    try:
        return parse_ticks(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except ValueError:
        raise ConfigurationError(
            f"{option} {text} is no time.",
            hint="Write a date (2026-01-31) or a time in UTC (2026-01-31T08:00:00Z).",
        ) from None


def windows(start: Ticks, end: Ticks, *, at_most: int, open_end: bool = False) -> Iterator[Window]:
    """The time from ``start`` to ``end`` in windows of one length that begin at its multiples.

    The length is the shortest of an hour, six hours, a day, a week and 30 days that makes no more
    than about ``at_most`` of them. With ``open_end`` the last one reaches beyond ``end``.
    """
    length = next((each for each in _LENGTHS if end - start <= at_most * each), _LENGTHS[-1])
    position = start
    while position < end:
        following = min((position // length + 1) * length, end)
        yield Window(position, None if open_end and following == end else following)
        position = following


def short(ticks: Ticks) -> str:
    """``ticks`` to the second, fit for the name of a file: ``20260131T080000Z``."""
    return format_ticks(ticks)[:19].replace("-", "").replace(":", "") + "Z"

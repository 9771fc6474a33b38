"""Numbers as a reader wants to see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from aquila_mde.dashboards.query import Value
from aquila_mde.dashboards.spec import Metric

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
NOTHING = "–"  # noqa: RUF001 - a dash that is as wide as a number


def shown(metric: Metric, value: Value) -> str:
    """``value`` of ``metric`` as text; a dash where there is none."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    return _FORMATS[metric.format](value)


def duration(seconds: float) -> str:
    """In the largest unit of which there is one."""
    size, unit = unit_of(seconds)
    return f"{seconds / size:,.1f} {unit}"


def unit_of(seconds: float) -> tuple[int, str]:
    """The largest unit of which there is one, in seconds, and its name."""
    return next(((size, unit) for size, unit in _UNITS if abs(seconds) >= size), (1, "s"))


def time(milliseconds: float) -> str:
    """In UTC, to the minute."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


_FORMATS: dict[str, Callable[[float], str]] = {
    "number": "{:,.0f}".format,
    "text": "{:,.0f}".format,
    "score": "{:.1f}".format,
    "percent": lambda value: f"{value * 100:.1f} %",
    "duration": duration,
    "nanoseconds": lambda value: duration(value / 1e9),
    "date": time,
}

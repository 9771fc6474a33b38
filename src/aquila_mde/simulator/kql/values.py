"""Values of the Kusto Query Language, and the functions that expressions may call.

Times are :class:`~aquila_mde.simulator.clock` ticks wrapped in :class:`Moment`; timespans are
:class:`Span`. A value that is missing is None, and None is never equal, greater or contained.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aquila_mde.simulator.clock import DAY, HOUR, MINUTE, SECOND, format_time, parse_time

_UNITS = {
    "d": DAY,
    "h": HOUR,
    "m": MINUTE,
    "s": SECOND,
    "ms": SECOND // 1000,
    "microsecond": SECOND // 1_000_000,
    "tick": 1,
}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(microsecond|tick|ms|[dhms])")


class KqlError(Exception):
    """A query that the service refuses, with the text that it gives."""


@dataclass(frozen=True, order=True, slots=True)
class Moment:
    """A point in time, in units of 100 ns."""

    ticks: int


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """A stretch of time, in units of 100 ns."""

    ticks: int


def span(text: str) -> Span:
    """``1d``, ``15m``, ``2.5h``."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise KqlError(f"Invalid timespan literal: {text}")
    return Span(int(float(match[1]) * _UNITS[match[2]]))


def moment(value: Any) -> Moment | None:
    """``value`` as a point in time."""
    if isinstance(value, Moment):
        return value
    if not isinstance(value, str):
        return None
    text = value if "T" in value or " " in value else f"{value}T00:00:00Z"
    try:
        return Moment(parse_time(text if text.endswith("Z") else f"{text}Z"))
    except ValueError:
        return None


def plain(value: Any) -> Any:
    """``value`` as it stands in an answer."""
    if isinstance(value, Moment):
        return format_time(value.ticks)
    if isinstance(value, Span):
        return str(value.ticks)
    if isinstance(value, dict | list):
        return json.dumps(value, default=plain, separators=(",", ":"))
    return value


def text(value: Any) -> str:
    """``value`` as text; nothing is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(plain(value))


def terms(value: Any) -> list[str]:
    """The terms of a text: what ``has`` looks for, in small letters."""
    return re.findall(r"[a-z0-9]+", text(value).lower())


def has(value: Any, wanted: Any) -> bool:
    """Whether ``wanted`` stands in ``value`` between characters that belong to no term."""
    needle, held = text(wanted).lower(), text(value).lower()
    if not needle:
        return True
    at = held.find(needle)
    while at >= 0:
        before = held[at - 1] if at else " "
        end = at + len(needle)
        after = held[end] if end < len(held) else " "
        left = before.isalnum() and needle[0].isalnum()
        right = after.isalnum() and needle[-1].isalnum()
        if not left and not right:
            return True
        at = held.find(needle, at + 1)
    return False


def add(left: Any, right: Any, sign: int = 1) -> Any:
    """``left + right``, or ``left - right``, with the times and spans that Kusto lets one add."""
    if left is None or right is None:
        return None
    if isinstance(left, Moment) and isinstance(right, Moment):
        return Span(left.ticks - right.ticks)
    if isinstance(left, Moment) and isinstance(right, Span):
        return Moment(left.ticks + sign * right.ticks)
    if isinstance(left, Span) and isinstance(right, Span):
        return Span(left.ticks + sign * right.ticks)
    return left + sign * right


def times(left: Any, right: Any) -> Any:
    """``left * right``."""
    if left is None or right is None:
        return None
    if isinstance(left, Span):
        return Span(int(left.ticks * right))
    return Span(int(left * right.ticks)) if isinstance(right, Span) else left * right


def divide(left: Any, right: Any) -> Any:
    """``left / right``; whole numbers stay whole."""
    if left is None or right in (None, 0):
        return None
    if isinstance(left, Span):
        return left.ticks / right.ticks if isinstance(right, Span) else Span(left.ticks // right)
    whole = isinstance(left, int) and isinstance(right, int)
    return left // right if whole else left / right


def floor(value: Any, size: Any) -> Any:
    """``bin(value, size)``."""
    if value is None:
        return None
    if isinstance(value, Moment):
        return Moment(value.ticks // size.ticks * size.ticks)
    if isinstance(value, Span):
        return Span(value.ticks // size.ticks * size.ticks)
    return value // size * size


def parsed(value: Any) -> Any:
    """What a text says as JSON; the text itself where it says nothing."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def member(value: Any, name: str) -> Any:
    """``value.name`` of a dynamic value."""
    held = parsed(value)
    return held.get(name) if isinstance(held, dict) else None


def item(value: Any, place: Any) -> Any:
    """``value[place]`` of a dynamic value."""
    held = parsed(value)
    if isinstance(held, dict):
        return held.get(place)
    if isinstance(held, list) and isinstance(place, int) and -len(held) <= place < len(held):
        return held[place]
    return None


def _number(value: Any, kind: Callable[[Any], Any]) -> Any:
    try:
        return kind(value) if value not in (None, "") else None
    except (TypeError, ValueError):
        return None


def _extract(pattern: str, group: int, value: Any) -> str:
    match = re.search(pattern, text(value))
    return (match[group] or "") if match else ""


def _private(value: Any) -> bool | None:
    try:
        return ipaddress.ip_address(text(value)).is_private
    except ValueError:
        return None


def _case(*arguments: Any) -> Any:
    for condition, value in zip(arguments[:-1:2], arguments[1::2], strict=False):
        if condition:
            return value
    return arguments[-1]


def _length(value: Any) -> int | None:
    held = parsed(value)
    return len(held) if isinstance(held, list) else None


_DIFFS = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tolower": lambda value: text(value).lower(),
    "toupper": lambda value: text(value).upper(),
    "strlen": lambda value: len(text(value)),
    "strcat": lambda *values: "".join(map(text, values)),
    "tostring": text,
    "toint": lambda value: _number(value, int),
    "tolong": lambda value: _number(value, int),
    "todouble": lambda value: _number(value, float),
    "isempty": lambda value: text(value) == "",
    "isnotempty": lambda value: text(value) != "",
    "isnull": lambda value: value is None,
    "isnotnull": lambda value: value is not None,
    "iff": lambda condition, yes, no: yes if condition else no,
    "iif": lambda condition, yes, no: yes if condition else no,
    "case": _case,
    "coalesce": lambda *values: next((each for each in values if text(each) != ""), None),
    "split": lambda value, mark: text(value).split(mark),
    "replace_string": lambda value, old, new: text(value).replace(old, new),
    "substring": lambda value, start, length=None: text(value)[
        start : None if length is None else start + length
    ],
    "extract": _extract,
    "parse_json": parsed,
    "todynamic": parsed,
    "dynamic": parsed,
    "datetime": moment,
    "todatetime": moment,
    "bin": floor,
    "startofday": lambda value: floor(value, Span(DAY)),
    "hourofday": lambda value: value.ticks % DAY // HOUR if value else None,
    "dayofweek": lambda value: Span((value.ticks // DAY + 4) % 7 * DAY) if value else None,
    "ipv4_is_private": _private,
    "array_length": _length,
    "set_has_element": lambda value, one: one in (parsed(value) or ()),
    "countof": lambda value, one: text(value).count(one),
    "parse_path": lambda value: {"Filename": re.split(r"[\\/]", text(value))[-1]},
    "datetime_diff": lambda unit, left, right: (left.ticks - right.ticks) // _DIFFS[unit],
}

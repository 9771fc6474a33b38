"""What ES|QL makes of the types of fields, and what its functions take and give.

As the reference of ES|QL in Elastic's documentation has it, for Elasticsearch 8.19 and later. Only
the functions that a query of the pack uses are here; an unknown one is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NUMBERS = frozenset(("integer", "long", "double"))
STRINGS = frozenset(("keyword", "text"))
UNKNOWN = "unknown"
"""Of ``NULL``, which is of any type."""
_OF_FIELDS = {
    **dict.fromkeys(("keyword", "constant_keyword", "wildcard"), "keyword"),
    **dict.fromkeys(("text", "match_only_text"), "text"),
    **dict.fromkeys(("byte", "short", "integer"), "integer"),
    **dict.fromkeys(("float", "half_float", "double", "scaled_float"), "double"),
    **{name: name for name in ("long", "boolean", "ip", "version", "date", "date_nanos")},
}
LISTS = ("related.", "threat.", "event.category", "event.type", "host.ip", "host.mac", "tags")
"""How the fields that hold several values begin. A comparison with one of them is never true in
ES|QL, nor in EQL, and only warned of: they are taken apart before, with ``MV_EXPAND``."""
SPANS = frozenset(
    f"{unit}{many}"
    for unit in ("second", "minute", "hour", "day", "week", "month", "year")
    for many in ("", "s")
)


def columns_of(*streams: Mapping[str, str]) -> dict[str, str]:
    """The columns that ES|QL makes of the fields of ``streams``, each with its type.

    What lies in nested objects is not there. What ES|QL cannot read is ``unsupported``, and what is
    of one type here and of another there ``conflicting``.
    """
    found: dict[str, str] = {}
    for fields in streams:
        for name, kind in _columns(fields).items():
            found[name] = kind if found.get(name, kind) == kind else "conflicting"
    return found


def _columns(fields: Mapping[str, str]) -> dict[str, str]:
    nested = tuple(f"{name}." for name, kind in fields.items() if kind == "nested")
    return {
        name: _OF_FIELDS.get(kind, "unsupported")
        for name, kind in fields.items()
        if kind != "nested" and not name.startswith(nested)
    }


@dataclass(frozen=True)
class Function:
    """What a function takes, and gives: a type, or ``same`` as the argument ``like``."""

    gives: str
    takes: tuple[frozenset[str] | None, ...] = ()
    """By argument what types it may have, ``None`` for any; the last counts for all behind it."""
    like: int = 0
    aggregates: bool = False


_NUMERIC = (NUMBERS,)
_TEXTS = (STRINGS,)
_DATES = frozenset(("date", "date_nanos"))
_SORTED = NUMBERS | STRINGS | _DATES | {"boolean", "ip", "version"}
_SPAN = frozenset(("span",))

FUNCTIONS: dict[str, Function] = {
    "COUNT": Function("long", (None,), aggregates=True),
    "COUNT_DISTINCT": Function("long", (None,), aggregates=True),
    "SUM": Function("double", _NUMERIC, aggregates=True),
    "AVG": Function("double", _NUMERIC, aggregates=True),
    "MEDIAN": Function("double", _NUMERIC, aggregates=True),
    "MIN": Function("same", (_SORTED,), aggregates=True),
    "MAX": Function("same", (_SORTED,), aggregates=True),
    "VALUES": Function("same", (_SORTED,), aggregates=True),
    "CASE": Function("same", (frozenset(("boolean",)), None), like=1),
    "COALESCE": Function("same", (None,)),
    "CONCAT": Function("keyword", _TEXTS),
    "DATE_DIFF": Function("integer", (STRINGS, _DATES)),
    "DATE_TRUNC": Function("same", (_SPAN, _DATES), like=1),
    "MV_CONCAT": Function("keyword", _TEXTS),
    "MV_COUNT": Function("integer", (None,)),
    "MV_SLICE": Function("same", (None, NUMBERS)),
    "MV_SORT": Function("same", (_SORTED,)),
    "NOW": Function("date"),
    "ROUND": Function("double", _NUMERIC),
    "STARTS_WITH": Function("boolean", _TEXTS),
    "TO_DATETIME": Function("date", (_DATES,)),
    "TO_LOWER": Function("keyword", _TEXTS),
}


def comparable(one: str, other: str) -> bool:
    """Whether ES|QL compares the two types."""
    if UNKNOWN in (one, other) or one == other:
        return True
    groups = (NUMBERS, STRINGS, _DATES)
    if any(one in group and other in group for group in groups):
        return True
    # A text beside a date, an address or a version is read as one.
    return "keyword" in (one, other) and {one, other} & {"date", "date_nanos", "ip", "version"} != (
        set()
    )

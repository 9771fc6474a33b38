"""What has to be known of a KQL query before the service runs it: its table and its time.

A query says with ``WindowStart`` and ``WindowEnd`` where its time goes. One that does not gets the
condition behind the table that it begins with.
"""

from __future__ import annotations

import re

START, END = "WindowStart", "WindowEnd"
WINDOW = f"| where Timestamp >= {START} and Timestamp < {END}"
_BLANKED = re.compile(
    r"""//[^\n]*|@"(?:[^"]|"")*"|@'(?:[^']|'')*'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
)
_LET = re.compile(r"\s*let\s[^;]*;")
_TABLE = re.compile(r"\s*([A-Za-z_]\w*)\s*(?=\||$)")
_ANYTHING = re.compile(r"\|\s*(take|limit|sample|top|top-nested|sample-distinct)\b")
_TOGETHER = re.compile(r"\|\s*(summarize|count|distinct|make-series)\b")


def blanked(query: str) -> str:
    """``query``, as long as it is, without its comments and what stands in quotes."""
    return _BLANKED.sub(lambda match: (" " if match[0][0] == "/" else "'") * len(match[0]), query)


def table_of(query: str) -> str | None:
    """The table that ``query`` begins with, or None where it begins with something else."""
    found = _first_table(query)
    return found[1] if found else None


def says_its_time(query: str) -> bool:
    """Whether ``query`` names both ends of its window."""
    text = blanked(query)
    return all(re.search(rf"\b{name}\b", text) for name in (START, END))


def with_window(query: str) -> str | None:
    """``query`` with its window behind its table, where it names none; None where nobody can tell
    where it belongs.
    """
    if says_its_time(query):
        return query
    found = _first_table(query)
    if found is None:
        return None
    place = found[0] + len(found[1])
    return f"{query[:place]}\n{WINDOW}{query[place:]}"


def within(query: str, start: str, end: str) -> str:
    """``query`` for the time from ``start`` to before ``end``, both as ISO 8601."""
    return f"let {START} = datetime({start});\nlet {END} = datetime({end});\n{query}"


def takes_anything(query: str) -> str | None:
    """The operator by which ``query`` gives some of its rows, whichever; None where it has none."""
    match = _ANYTHING.search(blanked(query))
    return match[1] if match else None


def puts_together(query: str) -> str | None:
    """The operator by which ``query`` makes one row of several; None where it has none."""
    match = _TOGETHER.search(blanked(query))
    return match[1] if match else None


def _first_table(query: str) -> tuple[int, str] | None:
    text, place = blanked(query).rstrip().rstrip(";"), 0
    while match := _LET.match(text, place):
        place = match.end()
    found = _TABLE.match(text, place)
    return (found.start(1), found[1]) if found else None

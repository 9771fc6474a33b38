"""What has changed between the snapshots of the vulnerability export, and who may ask how.

The changes of a period are found with the snapshot at its end, not earlier, and are given as a
whole: with a time within the period comes everything that was found in it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from aquila_mde.simulator.clock import DAY, format_export_time, format_time, parse_time
from aquila_mde.simulator.export_rows import (
    Casing,
    RowWriter,
    Snapshot,
    Turnover,
    cased,
    id_of,
)
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.seeds import mixed

Status = Literal["New", "Fixed", "Updated"]
Row = dict[str, Any]

AT_MOST = 14 * DAY
_MOST_ROWS = 200_000
_ROWS = 50_000
_UPDATABLE = (
    "cvssScore",
    "vulnerabilitySeverityLevel",
    "exploitabilityLevel",
    "diskPaths",
    "registryPaths",
    "recommendedSecurityUpdate",
    "recommendedSecurityUpdateId",
    "recommendedSecurityUpdateUrl",
)
"""A row is Updated when one of these has changed; a change of anything else is none."""
_NOT_TOLD = ("securityUpdateAvailable",)
"""Columns of the export that changes do not have."""


class QueryRefused(Exception):  # noqa: N818 - an answer, not a failure of the program
    """A question that is refused with 400; ``code`` is the API's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class ChangesPage:
    """The rows of one answer, as JSON, and the query string of the next."""

    rows: list[bytes]
    next_query: str | None


class Changes:
    """The changes between the snapshots of one export, kept as long as they can be asked for."""

    def __init__(self, turnover: Turnover, writer: Callable[[Snapshot], RowWriter]) -> None:
        self._turnover = turnover
        self._writer = writer
        self._snapshots: list[Snapshot] = []
        self._found: dict[int, list[Row]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """The export was made anew; its changes are worked out when somebody asks."""
        self._snapshots.append(snapshot)
        # The period that the oldest allowed time lies in began up to one snapshot earlier.
        while len(self._snapshots) > 2 and self._snapshots[1].generated < (
            snapshot.generated - AT_MOST
        ):
            self._found.pop(self._snapshots.pop(0).generated, None)

    def since(self, moment: int) -> Iterator[Row]:
        """Every change of the period that ``moment`` lies in and of those after it."""
        for before, after in zip(self._snapshots, self._snapshots[1:], strict=False):
            if after.generated <= moment:
                continue
            if before.generated not in self._found:
                self._found[before.generated] = list(self._between(before, after))
            yield from self._found[before.generated]

    def _between(self, before: Snapshot, after: Snapshot) -> Iterator[Row]:
        # One thing has one time: the Fixed and the New row of a machine that moved are found
        # together. Nothing is in the order of these times.
        length = after.generated - before.generated
        found = [*self._of_generated(before, after), *_of_added(before, after)]
        for status, row in found:
            place = f"{row.get('id')}\0{after.generated}"
            at = before.generated + 1 + mixed(zlib.crc32(place.encode()), 5) * 97 % (length - 1)
            kept = {name: value for name, value in row.items() if name not in _NOT_TOLD}
            # Both spellings of a time that the export has occur here as well.
            text = format_export_time(at) if at % 3 == 0 else format_time(at)
            yield kept | {"status": status, "eventTimestamp": text}

    def _of_generated(self, before: Snapshot, after: Snapshot) -> Iterator[tuple[Status, Row]]:
        if not after.machines:
            return
        last, count = self._turnover.numbered(after.age), len(after.machines)
        numbers = set(self._turnover.changed(before.age, after.age))
        for machine in _moved_or_gone(before, after):
            numbers.update(range(machine, last, count))
        if after.removed != before.removed:
            # Taken away by hand and told by their ids: every row has to be looked at.
            numbers.update(range(last))
        for number in sorted(numbers):
            yield from _difference(self._row(before, number), self._row(after, number))

    def _row(self, snapshot: Snapshot, number: int) -> Row | None:
        for line in self._writer(snapshot).rows(number, number + 1, snapshot.age):
            if id_of(line) not in snapshot.removed:
                row: Row = msgspec.json.decode(line)
                return row
        return None


def page(changes: Changes, asked: Mapping[str, str], quirks: Quirks, now: int) -> ChangesPage:
    """The rows that a query chooses, no more than the service gives at once.

    Raises :class:`QueryRefused` for what the service refuses.
    """
    rows = list(changes.since(_since(asked.get("sinceTime"), now)))
    most = min(quirks.page_cap or _MOST_ROWS, _MOST_ROWS)
    size = _number(asked, "$top" if "$top" in asked else "pageSize", min(_ROWS, most))
    if size == 0 or (size > most and quirks.above_cap == "refuse"):
        raise QueryRefused("InvalidInput", f"Invalid page size {size}: 1 to {most}.")
    first = _number(asked, "$skip", 0)
    if first > quirks.skip_cap:
        raise QueryRefused("ODataError", f"The limit of '{quirks.skip_cap}' for Skip is exceeded.")
    if "$skiptoken" in asked:
        first = _offset(asked["$skiptoken"])
    end = first + min(size, most)
    found = [_encoded(row, quirks.changes_casing) for row in rows[first:end]]
    # With $top there never is a link.
    linked = quirks.changes_next_link == "given" and "$top" not in asked
    return ChangesPage(found, _next_query(asked, end) if linked and end < len(rows) else None)


def _since(text: str | None, now: int) -> int:
    if not text:
        raise QueryRefused("MissingRequiredParameter", "The parameter sinceTime is required.")
    try:
        moment = parse_time(text)
    except ValueError as error:
        raise QueryRefused("InvalidInput", f"Invalid input sinceTime: {error}.") from error
    if moment < now - AT_MOST:
        raise QueryRefused(
            "InvalidInput", f"Invalid input sinceTime {text}: it is more than 14 days ago."
        )
    return moment


def _number(asked: Mapping[str, str], name: str, otherwise: int) -> int:
    text = asked.get(name, str(otherwise))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise QueryRefused("InvalidInput", f"Invalid input {name} {text}.")
    return int(text)


def _offset(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError) as error:
        raise QueryRefused("InvalidInput", "The $skiptoken is not valid.") from error


def _next_query(asked: Mapping[str, str], offset: int) -> str:
    token = base64.urlsafe_b64encode(str(offset).encode()).decode()
    options = {name: value for name, value in asked.items() if name != "$skip"}
    options["$skiptoken"] = token
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())


def _encoded(row: Row, casing: Casing) -> bytes:
    return msgspec.json.encode({cased(name, casing): value for name, value in row.items()})


def _difference(old: Row | None, new: Row | None) -> Iterator[tuple[Status, Row]]:
    moved = old and new and old.get("rbacGroupId") != new.get("rbacGroupId")
    if old and (moved or not new):
        yield "Fixed", old
    if new and (moved or not old):
        yield "New", new
    if old and new and not moved and any(old.get(name) != new.get(name) for name in _UPDATABLE):
        yield "Updated", new


def _of_added(before: Snapshot, after: Snapshot) -> Iterator[tuple[Status, Row]]:
    """What has changed among the rows that were added by hand."""
    old, new = _added(before), _added(after)
    for key in {**old, **new}:
        yield from _difference(old.get(key), new.get(key))


def _added(snapshot: Snapshot) -> dict[tuple[Any, Any], Row]:
    return {
        (row.get("id"), row.get("rbacGroupId")): row
        for row in snapshot.added
        if row.get("id") not in snapshot.removed
    }


class _Place(msgspec.Struct):
    group: int | None = msgspec.field(name="rbacGroupId", default=None)


def _moved_or_gone(before: Snapshot, after: Snapshot) -> Iterator[int]:
    """The numbers of the machines whose rows are all fixed in the group that they were in."""
    place = msgspec.json.Decoder(_Place)
    for number, (old, new) in enumerate(zip(before.machines, after.machines, strict=True)):
        if old is new:
            continue
        if old is None or new is None or place.decode(old) != place.decode(new):
            yield number

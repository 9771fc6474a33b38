"""Reads a whole collection of the API, trusting nothing that is not documented.

No order of the rows is promised, ``$skip`` is capped, a link to the next page may be missing and
``$top`` may be cut without a word. What is documented is ``$filter`` on a time. So a stretch of
time is read at once, and an answer that may have been cut is no answer: the stretch is shortened
until one comes that has not been.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from aquila_mde.defender.client import Answer, DefenderClient
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    PagingLimitError,
)
from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks

_AIM = 2 / 3
"""How full a page should be: fuller ones come back cut too often, and of evenly spread rows this
is no round number, which would look like a limit."""
_GROWTH = 4
_FEW = 0.05
"""Below this part of a page the number of rows says nothing about those that follow."""
_MOST_PASSES = 25
_MOST_IDLE_CALLS = 50
"""Calls in a row, within one pass, that bring only rows which that pass has had."""
_MISSING = (b"", b"null", b'""')


@dataclass(frozen=True)
class Collection:
    """What the collection is called and how it is asked for."""

    path: str
    page_size: int
    """The ``$top`` of each call."""
    id_property: str
    time_field: str | None = None
    """The property that stretches of time are cut by."""
    expand: tuple[str, ...] = ()
    empty_on: tuple[int, ...] = ()
    """Statuses that mean an empty collection."""
    size_parameter: str = "$top"
    """What the number of rows that are asked for is called."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What else each call says."""


@dataclass(frozen=True)
class Page:
    """Some records, as they came."""

    records: list[msgspec.Raw]
    """Parts of one body, which lives as long as any of them."""
    done_until: Ticks | None
    """With this page delivered, so is every record of the stretch whose time is before this.

    ``None``: not yet known, more pages of the same time follow. In a reading without an upper
    bound it is never beyond the service's own time or, where the service does not say it, the
    newest time among the records: what is dated later, others may still be added before it.
    """
    server_time: Ticks | None


class _Envelope(msgspec.Struct):
    value: list[msgspec.Raw]
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)


@dataclass(frozen=True)
class Rows:
    """The rows of one answer, and the link to the next if it has one."""

    records: list[msgspec.Raw]
    next_link: str | None
    server_time: Ticks | None


class PageReader:
    """One collection of one tenant."""

    def __init__(self, client: DefenderClient, collection: Collection, stream: str) -> None:
        self.collection = collection
        self.stream = stream
        self._client = client
        self._limit = client.page_limit(collection.path, collection.expand)
        self._ids = _property_decoder(collection.id_property)
        self._times = _property_decoder(collection.time_field or "")

    async def rows(self, condition: str | None, *, skip: int = 0) -> Rows:
        """The rows that fulfil ``condition``, as many as the service gives at once."""
        params = dict(self.collection.parameters)
        params[self.collection.size_parameter] = str(self.collection.page_size)
        if skip:
            params["$skip"] = str(skip)
        if condition:
            params["$filter"] = condition
        if self.collection.expand:
            params["$expand"] = ",".join(self.collection.expand)
        return await self._get(self.collection.path, params)

    async def follow(self, link: str) -> Rows:
        """The rows behind a paging link."""
        return await self._get(link, None)

    def cut(self, rows: Rows) -> bool | None:
        """Whether the service cut this answer; ``None``: it has to be asked."""
        count = len(rows.records)
        if count >= self.collection.page_size or rows.next_link is not None:
            return True
        return self._limit.cuts(count)

    async def may_be_cut(self, rows: Rows, condition: str) -> bool:
        """Whether the service holds more rows than it gave; asks for the next one if need be."""
        cut = self.cut(rows)
        if cut is not None:
            return cut
        count = len(rows.records)
        params = {"$top": "1", "$skip": str(count), "$filter": condition}
        try:
            behind = await self._get(self.collection.path, params)
        except BadRequestError:
            # Nobody may look there, so nobody knows.
            return True
        self.learn(rows, whole=not behind.records)
        return bool(behind.records)

    def learn(self, rows: Rows, *, whole: bool) -> None:
        """It turned out whether there are further rows behind these."""
        self._limit.learn(len(rows.records), whole=whole)

    async def _get(self, path_or_link: str, params: dict[str, str] | None) -> Rows:
        answer = await self._client.get(
            path_or_link, params, stream=self.stream, empty_on=self.collection.empty_on
        )
        if answer.status in self.collection.empty_on:
            return Rows([], None, answer.server_time)
        envelope = self._open(answer)
        self._limit.saw(len(envelope.value))
        return Rows(envelope.value, envelope.next_link, answer.server_time)

    def _open(self, answer: Answer) -> _Envelope:
        try:
            return msgspec.json.decode(answer.body, type=_Envelope)
        except msgspec.DecodeError as error:
            raise DefenderUnavailableError(
                f"The answer of {self.collection.path} is not a list of records: {error}",
                stream=self.stream,
                request_id=answer.request_id,
            ) from None

    def window(self, start: Ticks, end: Ticks | None) -> str:
        """``$filter`` for the times from ``start`` to before ``end``."""
        name = self.collection.time_field
        since = f"{name} ge {format_ticks(start)}"
        return since if end is None else f"{since} and {name} lt {format_ticks(end)}"

    def identities(self, records: list[msgspec.Raw]) -> list[bytes]:
        """What tells each record from the others: its id or, without one, all of it."""
        found = (bytes(self._ids.decode(raw).value) for raw in records)
        return [
            identity if identity not in _MISSING else bytes(raw)
            for identity, raw in zip(found, records, strict=True)
        ]

    def latest(self, records: list[msgspec.Raw]) -> Ticks | None:
        """The newest time of ``records``."""
        times = self.times(records)
        return times[-1] if times else None

    def times(self, records: list[msgspec.Raw]) -> list[Ticks]:
        """The times of ``records`` in order; a record without a time has none here either."""
        found = []
        for raw in records:
            try:
                found.append(parse_ticks(msgspec.json.decode(self._times.decode(raw).value)))
            except (msgspec.DecodeError, TypeError, ValueError):
                continue
        found.sort()
        return found


def _property_decoder(name: str) -> msgspec.json.Decoder[Any]:
    """Decodes one property of a record, as it is written there, and nothing else."""
    record = msgspec.defstruct(
        "Record", [("value", msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw()))]
    )
    return msgspec.json.Decoder(record)


async def read_since(
    client: DefenderClient,
    collection: Collection,
    since: Ticks,
    until: Ticks | None,
    *,
    stream: str,
) -> AsyncIterator[Page]:
    """Every record whose time is at or after ``since`` and, if given, before ``until``.

    The pages go forward in time, so that a record that is updated meanwhile is met again later
    and never missed. One call is enough where one answer holds everything and is shorter than
    an earlier one; if not, one more call asks whether that was all.
    """
    reader = PageReader(client, collection, stream)
    position = since
    # The service's own time or what comes closest to it.
    now: Ticks | None = None
    # Ends of stretches that are known to hold more than one answer; the innermost is the last.
    ends = [until]
    end = until
    fullest = 0
    cut_once = False
    while True:
        condition = reader.window(position, end)
        rows = await reader.rows(condition)
        fullest = max(fullest, len(rows.records))
        here = rows.server_time or reader.latest(rows.records)
        now = max((time for time in (now, here) if time is not None), default=None)
        if await reader.may_be_cut(rows, condition):
            cut_once = True
            if end != position + 1:
                if end != ends[-1]:
                    ends.append(end)
                end = _shorter(reader, rows, position, end)
                continue
            # One single point in time holds more than an answer.
            async for page in read_all(client, collection, stream=stream, filter=condition):
                yield page
            rows = replace(rows, records=[])
        if end is None:
            yield Page(rows.records, now, rows.server_time)
            return
        known = until is not None or (now is not None and end <= now)
        yield Page(rows.records, end if known else now, rows.server_time)
        count, length = len(rows.records), end - position
        position = end
        while ends and ends[-1] is not None and ends[-1] <= position:
            ends.pop()
        if not ends:
            return
        full = fullest if cut_once else collection.page_size
        end = _longer(position, ends[-1], count, length, full)
        if end is not None and ends[-1] is None and rows.server_time is not None:
            # Behind the service's own time there is next to nothing: leave the end open.
            end = None if end >= rows.server_time else end


def _shorter(reader: PageReader, rows: Rows, start: Ticks, end: Ticks | None) -> Ticks:
    """An end before ``end`` and after ``start`` for the stretch that came back cut.

    Half way, or at the middle one of the rows received if that is earlier: were the rows spread
    evenly that says the same, and where they are all of one time it leads there at once.
    """
    times = [time for time in reader.times(rows.records) if time >= start]
    if end is None:
        end = max([*times[-1:], rows.server_time or start, start + 1]) + 1
    half = (start + end) // 2
    middle = times[len(times) // 2] if times else half
    return max(min(half, middle), start + 1)


def _longer(start: Ticks, end: Ticks | None, count: int, length: Ticks, full: int) -> Ticks | None:
    """The end to try next, after ``count`` rows came from a stretch of ``length``."""
    if count < _FEW * full:
        return end
    grown = start + max(int(length * min(_GROWTH, _AIM * full / count)), 1)
    return grown if end is None else min(grown, end)


async def read_all(
    client: DefenderClient,
    collection: Collection,
    *,
    stream: str,
    filter: str | None = None,  # noqa: A002 - what the API calls it
) -> AsyncIterator[Page]:
    """Every record that fulfils ``filter``, each once, of a set that cannot be cut by time.

    Rows may change places while they are paged through, so the set is read again until a reading
    of several pages has brought nothing twice and nothing new, or until two readings in a row
    have counted as many rows as there are different ones. Raises :class:`PagingLimitError` when
    the service lets nobody see the rest.
    """
    reader = PageReader(client, collection, stream)
    seen: set[bytes] = set()
    counted_before = -1
    for _ in range(_MOST_PASSES):
        known_before = len(seen)
        this_pass: set[bytes] = set()
        counted = calls = idle = 0
        async for rows in _one_pass(reader, filter, seen):
            had = len(this_pass)
            fresh = []
            for identity, raw in zip(reader.identities(rows.records), rows.records, strict=True):
                this_pass.add(identity)
                if identity not in seen:
                    seen.add(identity)
                    fresh.append(raw)
            counted += len(rows.records)
            calls += 1
            if fresh or counted_before < 0:
                yield Page(fresh, None, rows.server_time)
            # A service that takes no notice of $skip, or a link that leads to itself.
            idle = idle + 1 if len(this_pass) == had else 0
            if idle > _MOST_IDLE_CALLS:
                raise _endless(collection, stream, len(seen))
        nothing_twice = len(this_pass) == counted
        nothing_new = len(seen) == known_before
        if calls == 1 or (nothing_twice and nothing_new):
            return
        if counted == counted_before and len(seen) >= counted:
            return
        counted_before = counted
    raise _endless(collection, stream, len(seen))


def _endless(collection: Collection, stream: str, read: int) -> PagingLimitError:
    return PagingLimitError(
        f"{collection.path} gives its rows in another order, or the same rows, each time: {read} "
        "different ones were read, whether there are more cannot be told.",
        hint="The next pass reads them again; what was read has been delivered.",
        stream=stream,
    )


async def _one_pass(
    reader: PageReader, condition: str | None, seen: set[bytes]
) -> AsyncIterator[Rows]:
    """The set once from its start: along the links where there are some, by ``$skip`` if not."""
    rows = await reader.rows(condition)
    skip = 0
    while True:
        yield rows
        skip += len(rows.records)
        if rows.next_link is not None:
            rows = await reader.follow(rows.next_link)
            continue
        if reader.cut(rows) is False:
            return
        try:
            behind = await reader.rows(condition, skip=skip)
        except BadRequestError as error:
            raise PagingLimitError(
                f"{reader.collection.path} holds more rows than it lets a client page "
                f"through: {len(seen)} were read, those behind number {skip} were not "
                f"({error.message})",
                hint=(
                    f"All of them have the same time ({condition})."
                    if condition
                    else "The collection has no time that it could be cut by."
                ),
                tenant=error.tenant,
                stream=error.stream,
                request_id=error.request_id,
            ) from None
        reader.learn(rows, whole=not behind.records)
        if not behind.records:
            return
        rows = behind

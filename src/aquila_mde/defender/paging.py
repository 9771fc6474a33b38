"""Reads a whole collection of the API, trusting nothing that is not documented.

No order of the rows is promised, ``$skip`` is capped, a link to the next page may be missing and
``$top`` may be cut without a word. What is documented is ``$filter`` on a time. So a stretch of
time is read at once, and an answer that may have been cut is no answer: the stretch is shortened
until one comes that has not been.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import BadRequestError, ExpandFailedError, PagingLimitError
from aquila_mde.defender.page_reader import Collection, Page, PageReader, Rows
from aquila_mde.defender.times import Ticks

_AIM = 2 / 3
"""How full a page should be: fuller ones come back cut too often, and of evenly spread rows this
is no round number, which would look like a limit."""
_GROWTH = 4
_FEW = 0.05
"""Below this part of a page the number of rows says nothing about those that follow."""
_MOST_PASSES = 25
_MOST_IDLE_CALLS = 50
"""Calls in a row, within one pass, that bring only rows which that pass has had."""
_IDS_AT_ONCE = 20
"""So many ids are well below the 2,048 characters that a query string may be limited to."""


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

    Where answers that are to be expanded may fail for ever, one that does is read without that and
    shared out until the record is found that cannot be expanded, or the number that can. Raises
    :class:`DefenderUnavailableError` when too many in a row cannot.
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
    # Fewest rows that could not be expanded together, unless one of them alone was the reason.
    too_many: int | None = None
    while True:
        condition = reader.window(position, end)
        rows = await reader.rows_at_any_rate(condition)
        if not rows.unexpanded:
            fullest = max(fullest, len(rows.records))
        here = rows.server_time or reader.latest(rows.records)
        now = max((time for time in (now, here) if time is not None), default=None)
        cut = await reader.may_be_cut(rows, condition)
        several = cut or len(rows.records) > 1
        if cut or (rows.unexpanded and several):
            cut_once = cut_once or not rows.unexpanded
            if rows.unexpanded:
                too_many = min(too_many or len(rows.records), len(rows.records))
            if end != position + 1:
                if end != ends[-1]:
                    ends.append(end)
                end = _shorter(reader, rows, position, end, cut=cut)
                continue
            # One single point in time holds more than an answer.
            async for page in _at_one_time(client, reader, condition):
                yield page
            rows = replace(rows, records=[], unexpanded=())
            too_many = None
        elif rows.unexpanded:
            too_many = None
        if end is None:
            yield Page(rows.records, now, rows.server_time, rows.unexpanded)
            return
        known = until is not None or (now is not None and end <= now)
        count, length, server_time = len(rows.records), end - position, rows.server_time
        page = Page(rows.records, end if known else now, server_time, rows.unexpanded)
        # A page may have megabytes, and the next one is waited for here.
        del rows
        yield page
        del page
        position = end
        while ends and ends[-1] is not None and ends[-1] <= position:
            ends.pop()
        if not ends:
            return
        full = fullest if cut_once else collection.page_size
        full = full if too_many is None else min(full, max(1, too_many - 1))
        end = _longer(position, ends[-1], count, length, full)
        if end is not None and ends[-1] is None and server_time is not None:
            # Behind the service's own time there is next to nothing: leave the end open.
            end = None if end >= server_time else end


async def _at_one_time(
    client: DefenderClient, reader: PageReader, condition: str
) -> AsyncIterator[Page]:
    """Every record of one single point in time, each once, those that cannot be expanded too."""
    collection, stream = reader.collection, reader.stream
    given: set[bytes] = set()
    try:
        async for page in read_all(client, collection, stream=stream, filter=condition):
            given.update(reader.identities(page.records))
            yield page
    except ExpandFailedError:
        plain = replace(collection, expand=())
        async for page in read_all(client, plain, stream=stream, filter=condition):
            identified = zip(reader.identities(page.records), page.records, strict=True)
            left = [raw for identity, raw in identified if identity not in given]
            parts = [left[at : at + _IDS_AT_ONCE] for at in range(0, len(left), _IDS_AT_ONCE)]
            while parts:
                part = parts.pop()
                rows = await reader.rows_at_any_rate(f"{condition} and ({reader.one_of(part)})")
                if len(part) > 1 and (rows.unexpanded or len(rows.records) < len(part)):
                    parts += [part[: len(part) // 2], part[len(part) // 2 :]]
                else:
                    yield Page(rows.records, None, rows.server_time, rows.unexpanded)


def _shorter(
    reader: PageReader, rows: Rows, start: Ticks, end: Ticks | None, *, cut: bool
) -> Ticks:
    """An end before ``end`` and after ``start`` for the stretch that was too long.

    Half way, or at the middle one of the rows received if that is earlier: were the rows spread
    evenly that says the same, and where they are all of one time it leads there at once. Rows
    that were not ``cut`` are known to be all, so the middle one halves them.
    """
    times = [time for time in reader.times(rows.records) if time >= start]
    if times and not cut:
        return max(times[len(times) // 2], start + 1)
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

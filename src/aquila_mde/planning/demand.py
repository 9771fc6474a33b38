"""What one tenant asks for: the readings of each stream, with their calls, rows and documents.

A *reading* is what a stream reads again and again in the same way: the passes of its interval, the
wider sweep now and then, the changes, the full export, what it is joined with. Rows are those that
the service gives, most of them again and again; documents are those that are new among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from aquila_mde.planning.assumptions import Assumptions
from aquila_mde.planning.tenants import Collected
from aquila_mde.streams.collect_spec import CollectSpec, Endpoint, Part
from aquila_mde.streams.cost import Cost, costs

DAY = timedelta(days=1)
_MONTH_DAYS = 30
KNOWN = frozenset(("alert", "machine", "machine_action", "vulnerability", "hunting"))
"""The streams of which something is assumed; of another one only the calls are counted."""
Kind = Literal["pass", "sweep", "changes", "full export", "join"]


@dataclass(frozen=True)
class Reading:
    """One way in which a stream reads; numbers are those of one time."""

    kind: Kind
    endpoint: Endpoint
    every: timedelta
    rows: float
    documents: float
    calls: float
    offered: float
    """Documents that the engine is sent, those included that it holds already."""

    @property
    def a_day(self) -> float:
        """How often it happens in a day."""
        return DAY / self.every


@dataclass(frozen=True)
class Volume:
    """How much of a stream there is in one tenant."""

    changes: float
    """Records a day whose time moves, so that they are read."""
    documents: float
    """New versions a day."""
    most: float
    """Records that there are to be read in all."""
    at_once: float = 0
    """Records that every reading meets, however short the time is that it reads."""
    new: float | None = None
    """Things a day that were not there before; ``None`` where what there is stays."""

    def within(self, time: timedelta) -> float:
        """Records that a reading of the last ``time`` is given."""
        return min(max(self.changes * (time / DAY), self.at_once), self.most)

    def things(self, kept: timedelta) -> float:
        """How many different ones there are of which something was heard within ``kept``."""
        return self.most if self.new is None else self.new * (kept / DAY)


def readings(collected: Collected, machines: int, assumed: Assumptions) -> list[Reading]:
    """Everything that a tenant with ``machines`` has read of a stream."""
    spec = collected.stream.collect
    found = costs(spec, collected.interval)
    if spec.strategy == "hunting":
        return list(_queries(found[0], collected, machines, assumed))
    if spec.strategy == "export":
        own = _export(spec, found, machines, assumed)
    else:
        volume = volume_of(collected, machines, assumed)
        own = _incremental(spec, found[0], collected.interval, volume)
    return [*own, *_joins(spec, found, assumed)]


def volume_of(collected: Collected, machines: int, assumed: Assumptions) -> Volume:
    """How much of a stream there is in a tenant with ``machines``; of one not known, nothing."""
    cursor = collected.stream.collect.cursor
    days = cursor.look_back / DAY if cursor else 0
    match collected.stream.name:
        case "alert":
            new = machines * assumed.alerts / _MONTH_DAYS
            versions = new * assumed.alert_versions
            return Volume(versions, versions, new * days, new=new)
        case "machine":
            # One is read whenever it has reported, and sent once a day and when it has changed.
            return Volume(
                machines,
                machines * (1 + assumed.machine_changes),
                machines,
                machines * assumed.online,
            )
        case "machine_action":
            new = machines * assumed.actions / _MONTH_DAYS
            versions = new * assumed.action_versions
            return Volume(versions, versions, new * days, new=new)
        case "vulnerability":
            rows = machines * assumed.vulnerabilities
            changes = rows * assumed.vulnerability_changes
            return Volume(changes, changes, rows)
        case "hunting":
            rows = machines * assumed.hunting_rows
            return Volume(rows, rows, rows * days)
        case _:
            return Volume(0, 0, 0)


def calls_for(rows: float, page_size: int) -> float:
    """Calls that ``rows`` take which are read by stretches of time.

    A full answer may have been cut, so it counts for nothing and its stretch is halved; the
    stretches behind it are made to come back two thirds full.
    """
    if rows < page_size:
        return 1
    pages = rows / page_size
    return 1 + math.ceil(math.log2(pages) + 1) + math.ceil(1.5 * pages)


def _incremental(
    spec: CollectSpec, cost: Cost, interval: timedelta, volume: Volume
) -> Iterator[Reading]:
    cursor, size = spec.cursor, spec.endpoint.page_size
    if cursor is None:
        rows, sent = volume.most, volume.documents * (interval / DAY)
        yield Reading("pass", cost.endpoint, interval, rows, sent, calls_for(rows, size), sent)
        return
    every = interval
    if spec.sweep is not None:
        swept = max(spec.sweep.every, interval)
        rows = volume.within(spec.sweep.look_back + interval)
        sent = volume.documents * (interval / DAY)
        yield Reading("sweep", cost.endpoint, swept, rows, sent, calls_for(rows, size), sent)
        if swept <= interval:
            return
        # The pass in whose place the sweep comes does not happen.
        every = interval / (1 - interval / swept)
    rows = volume.within(cursor.overlap + interval)
    sent = volume.documents * (interval / DAY)
    yield Reading("pass", cost.endpoint, every, rows, sent, calls_for(rows, size), sent)


def _export(
    spec: CollectSpec, found: list[Cost], machines: int, assumed: Assumptions
) -> Iterator[Reading]:
    rows = machines * assumed.vulnerabilities
    full = next((cost for cost in found if cost.kind == "full export"), found[0])
    bucket = next((p.bucket_of_export for p in spec.identity.parts if _renews(p)), None)
    # What is new in a full export: other versions, and every row once in each bucket of time.
    share = assumed.renewed + (full.every / bucket if bucket else 0)
    new = rows * min(share, 1)
    yield Reading("full export", full.endpoint, full.every, rows, new, 1, rows)
    delta = spec.delta
    if delta is None:
        return
    cost = next(cost for cost in found if cost.kind == "changes")
    changes = rows * assumed.vulnerability_changes
    # It begins an overlap behind the last reading, and whole periods are given.
    met = changes * ((cost.every + delta.overlap) / DAY)
    sent = changes * (cost.every / DAY)
    # Links lead from page to page; behind a last one that is full there may be an empty one.
    calls = met // cost.endpoint.page_size + 1
    yield Reading("changes", cost.endpoint, cost.every, met, sent, calls, sent)


def _renews(part: Part) -> bool:
    return part.bucket_of_export is not None


def _joins(spec: CollectSpec, found: list[Cost], assumed: Assumptions) -> Iterator[Reading]:
    joined = [join.source for join in spec.joins.values() if join.source is not None]
    for cost, source in zip((c for c in found if c.kind == "join"), joined, strict=True):
        changed = assumed.cves * assumed.cve_changes * ((source.overlap + cost.every) / DAY)
        rows = min(changed, assumed.cves)
        calls = calls_for(rows, source.endpoint.page_size)
        yield Reading("join", cost.endpoint, cost.every, rows, 0, calls, 0)


def _queries(
    cost: Cost, collected: Collected, machines: int, assumed: Assumptions
) -> Iterator[Reading]:
    spec, volume = collected.stream.collect, volume_of(collected, machines, assumed)
    if not collected.queries or spec.cursor is None:
        return
    runs = sum(collected.interval / every for every in collected.queries)
    rows = volume.within(spec.cursor.overlap + collected.interval)
    sent = volume.documents * (collected.interval / DAY)
    calls = runs + calls_for(rows, cost.endpoint.page_size) - 1
    yield Reading("pass", cost.endpoint, collected.interval, rows, sent, calls, sent)
    if spec.sweep is not None:
        swept = max(spec.sweep.every, collected.interval)
        more = volume.within(spec.sweep.look_back)
        # A sweep is a run that reads further back, so it adds rows and no call of its own.
        yield Reading("sweep", cost.endpoint, swept, more, 0, 0, 0)

"""The collector's own health as documents, so that a dashboard can show it by tenant and stream.

What a collector suppresses never reaches the engine, and what it could not read leaves no trace
there. So it writes now and then, for each stream, what it has done since the last time and how far
behind it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from aquila_mde.collect import stopping
from aquila_mde.collect.delivery import Sink
from aquila_mde.collect.document import iso_milliseconds
from aquila_mde.collect.last_passes import LastPasses
from aquila_mde.collect.note import leave, note
from aquila_mde.collect.report import StreamReport
from aquila_mde.elastic.bulk import Item

DATASET = "aquila_mde.health"
EVERY = timedelta(minutes=5)
"""Between two documents of a stream."""
_LONGEST_ERROR = 1_000
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Since:
    """What one stream has done since its last document."""

    passes: int = 0
    failed_passes: int = 0
    records: int = 0
    documents_created: int = 0
    duplicates_suppressed: int = 0
    dead_letters: int = 0
    requests: int = 0
    retries: int = 0


class HealthRecord:
    """Keeps and writes the health of the streams of one tenant.

    ``intervals`` are those of its streams in seconds, ``complete`` says when the last complete pass
    of each began (seconds since 1970). ``now`` is this machine's clock.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        tenant: Mapping[str, str],
        namespace: str,
        intervals: Mapping[str, float],
        complete: Mapping[str, float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._tenant = tenant
        self._namespace = namespace
        self._intervals = intervals
        self._last = LastPasses(dict(complete))
        self._now = now
        self._began = now()
        self._since = {name: _Since() for name in intervals}

    def passed(self, report: StreamReport, *, began: float, retries: int) -> None:
        """Note a pass that began at ``began`` (seconds since 1970)."""
        since = self._since[report.stream]
        since.passes += 1
        since.records += report.records
        since.documents_created += report.created
        since.duplicates_suppressed += report.existing
        since.dead_letters += report.dead
        since.requests += report.requests
        since.retries += retries
        since.failed_passes += self._last.note(report, began) == "failed"

    async def keep(self, stop: asyncio.Event, every: timedelta = EVERY) -> None:
        """Write after each time of ``every``, until ``stop``."""
        await stopping.every(every, self.write, stop)

    async def write(self) -> None:
        """Write a document for each stream. Nothing depends on it: a failure is logged."""
        began, self._began = self._began, self._now()
        since, self._since = self._since, {name: _Since() for name in self._intervals}
        items = [self._item(name, done, began) for name, done in since.items()]
        if problem := await leave(self._sink, DATASET, self._namespace, items):
            _log.warning(
                "The health of the collector was not taken: the dashboard lacks it",
                reason=problem,
            )

    def _item(self, name: str, done: _Since, began: float) -> Item:
        lag, error = self._last.lag(name, self._began), self._last.errors.get(name)
        health: dict[str, Any] = {
            "stream": name,
            "interval_seconds": self._intervals[name],
            **{key: getattr(done, key) for key in _Since.__slots__},
        }
        if lag is not None:
            health["lag_seconds"] = round(lag, 3)
        if error is not None:
            health["error"] = error[:_LONGEST_ERROR]
        return note(
            DATASET,
            self._namespace,
            *(self._tenant["id"], name, began, self._began),
            at=_time(self._began),
            event={
                "kind": "metric",
                "start": iso_milliseconds(_time(began)),
                "end": iso_milliseconds(_time(self._began)),
                "outcome": "success" if error is None else "failure",
            },
            more={"organization": dict(self._tenant), "mde": {"health": health}},
        )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

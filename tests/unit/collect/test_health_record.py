"""What the collector writes of itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import structlog

from aquila_mde.collect.health_record import HealthRecord
from aquila_mde.collect.report import StreamReport
from aquila_mde.elastic.bulk import Item, Outcome, Result
from aquila_mde.errors import AquilaError, RetriableError

Json = dict[str, Any]
NOON = 1_772_366_400.0
"""2026-03-01T12:00:00Z"""


class Taken:
    """Takes documents, or fails as it is told to."""

    def __init__(self, *, refused: str = "", away: bool = False) -> None:
        self.index = ""
        self.documents: list[Json] = []
        self.ids: list[str] = []
        self._refused, self._away = refused, away

    async def send(self, index: str, items: list[Item]) -> list[Outcome]:
        if self._away:
            raise RetriableError("The engine does not answer.", hint="Start it.")
        self.index = index
        self.documents += [msgspec.json.decode(item.source) for item in items]
        self.ids += [item.id for item in items]
        result = Result.DEAD if self._refused else Result.CREATED
        return [Outcome(result, reason=self._refused) for _ in items]


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> float:
        return self.time


def record(sink: Taken, clock: Clock, **complete: float) -> HealthRecord:
    return HealthRecord(
        sink,  # type: ignore[arg-type]
        tenant={"id": "t-1", "name": "Contoso"},
        namespace="contoso",
        intervals={"alert": 300.0, "machine": 900.0},
        complete=complete,
        now=clock,
    )


def report(*, error: AquilaError | None = None, **numbers: int) -> StreamReport:
    given = {"records": 0, "created": 0, "existing": 0, "dead": 0, "requests": 1} | numbers
    return StreamReport("alert", **given, seconds=0.5, complete=error is None, error=error)


async def test_what_was_done_since_the_last_time_is_told_once() -> None:
    sink, clock = Taken(), Clock()
    health = record(sink, clock, machine=NOON - 60)
    health.passed(report(records=10, created=7, existing=3, dead=0), began=NOON, retries=2)
    health.passed(report(records=5, created=0, existing=4, dead=1), began=NOON + 300, retries=0)
    clock.time += 400
    await health.write()
    alert, machine = sink.documents
    assert sink.index == "logs-aquila_mde.health-contoso"
    assert alert["organization"] == {"id": "t-1", "name": "Contoso"}
    assert alert["event"] == {
        "module": "aquila_mde",
        "dataset": "aquila_mde.health",
        "kind": "metric",
        "start": "2026-03-01T12:00:00.000Z",
        "end": "2026-03-01T12:06:40.000Z",
        "outcome": "success",
    }
    assert alert["mde"]["health"] == {
        "stream": "alert",
        "interval_seconds": 300.0,
        "passes": 2,
        "failed_passes": 0,
        "records": 15,
        "documents_created": 7,
        "duplicates_suppressed": 7,
        "dead_letters": 1,
        "requests": 2,
        "retries": 2,
        "lag_seconds": 100.0,
    }
    assert machine["mde"]["health"]["lag_seconds"] == 460.0
    clock.time += 300
    await health.write()
    again = sink.documents[2]
    assert again["event"]["start"] == alert["event"]["end"]
    assert (again["mde"]["health"]["passes"], again["mde"]["health"]["lag_seconds"]) == (0, 400.0)
    assert len(set(sink.ids)) == 4


async def test_an_error_stays_until_a_pass_ends_well() -> None:
    sink, clock = Taken(), Clock()
    health = record(sink, clock)
    health.passed(report(error=AquilaError("No permission.")), began=NOON, retries=0)
    await health.write()
    await health.write()
    for document in (sink.documents[0], sink.documents[2]):
        assert document["event"]["outcome"] == "failure"
        assert document["mde"]["health"]["error"] == "No permission."
        assert "lag_seconds" not in document["mde"]["health"]
    assert [one["mde"]["health"]["failed_passes"] for one in sink.documents[::2]] == [1, 0]
    health.passed(report(), began=NOON, retries=0)
    await health.write()
    assert "error" not in sink.documents[4]["mde"]["health"]


@pytest.mark.parametrize(
    ("sink", "told"), [(Taken(refused="no template"), "no template"), (Taken(away=True), "Start")]
)
async def test_an_engine_that_does_not_take_it_is_told_and_ends_nothing(
    sink: Taken, told: str
) -> None:
    health = record(sink, Clock())
    with structlog.testing.capture_logs() as logs:
        await health.write()
    (line,) = logs
    assert line["event"].startswith("The health of the collector was not taken")
    assert told in line["reason"]


async def test_it_is_written_again_and_again_until_the_end() -> None:
    sink = Taken()
    health = record(sink, Clock())
    stop = asyncio.Event()
    keeping = asyncio.create_task(health.keep(stop, timedelta(milliseconds=1)))
    async with asyncio.timeout(30):
        while len(sink.documents) < 6:
            await asyncio.sleep(0)
    stop.set()
    await keeping

"""Something breaks between collector and engine; the index holds the tenant all the same."""

from __future__ import annotations

import httpx
import pytest
from tests.faults.conftest import MakeWorld
from tests.faults.engine_proxy import EngineFault
from tests.faults.oracle import findings, letters
from tests.faults.world import World
from tests.system.conftest import STREAMS

from aquila_mde.collect.replay import replay
from aquila_mde.elastic.errors import EngineUnavailableError

SIZES = {"machines": 8, "alerts": 20, "actions": 8, "vulnerabilities": 60, "rows_per_file": 20}


async def collected(world: World) -> int:
    """One pass without an error. How many documents it created."""
    reports = await world.collect()
    assert [report.error for report in reports] == [None] * len(reports)
    return sum(report.created for report in reports)


async def holds(world: World) -> None:
    """The index is the tenant, and another pass adds nothing."""
    assert await findings(world) == []
    assert await collected(world) == 0
    assert await letters(world) == {}


@pytest.mark.parametrize(
    "fault",
    [
        EngineFault("bulk", "cut", times=3),
        EngineFault("bulk", "lost", times=3),
        EngineFault("bulk", "reset", times=2),
        EngineFault("bulk", "short", times=2),
        EngineFault("bulk", "truncated", times=2),
        EngineFault("bulk", "empty", times=2),
        EngineFault("bulk", "slow", times=2),
        EngineFault("bulk", "html", times=3),
        EngineFault("bulk", "status", status=429, headers={"Retry-After": "1"}, times=3),
        EngineFault("bulk", "status", status=429, times=3),
        EngineFault("bulk", "status", status=503, times=3),
        EngineFault("bulk", "status", status=413, times=3),
        EngineFault("bulk", "items", status=429, times=4),
        EngineFault("bulk", "items", status=503, nth=3, times=2),
        EngineFault("bulk", "items", status=500, nth=7, times=2),
        EngineFault("bulk", "items", status=429, nth=1),
        EngineFault("any", "cut", times=3),
        EngineFault("any", "status", status=503, when=2, times=4),
        EngineFault("any", "html", when=3, times=2),
        EngineFault("_index_template", "lost"),
        EngineFault("_data_stream", "truncated"),
        EngineFault("checkpoint", "status", status=503, times=3),
    ],
    ids=lambda fault: f"{fault.where} {fault.name.strip()} {fault.nth} {len(fault.headers)}",
)
async def test_one_pass_gets_over(world: MakeWorld, fault: EngineFault) -> None:
    here = world(**SIZES)
    here.proxy.play([fault])
    await collected(here)
    assert here.proxy.left == []
    await holds(here)


async def test_an_answer_is_lost_and_the_data_stream_rolls_over_before_the_next_try(
    world: MakeWorld,
) -> None:
    here = world(**SIZES)
    here.proxy.play([EngineFault("aquila_mde.alert", "lost")])
    here.proxy.at("documents", 1, lambda: [here.rollover(stream) for stream in STREAMS])
    await collected(here)
    assert not here.proxy.disarm()
    assert here.proxy.left == []
    await holds(here)


async def test_an_outage_ends_the_pass_and_the_next_one_goes_on(world: MakeWorld) -> None:
    here = world(**SIZES)
    here.proxy.play([EngineFault("bulk", "status", status=503, when="always")])
    reports = await here.collect()
    assert {type(report.error) for report in reports} == {EngineUnavailableError}
    here.proxy.play([])
    await collected(here)
    await holds(here)


async def test_a_document_refused_inside_a_good_bulk_is_kept_and_replayed(
    world: MakeWorld,
) -> None:
    here = world(machines=12)
    refused, *_ = here.control.add_alerts([{}] * 20)
    here.note()
    here.proxy.play([EngineFault("alert", "items", status=400, holding=refused)])
    (report,) = await here.collect("alert")
    assert (report.created, report.dead, report.error) == (19, 1, None)
    assert set(await letters(here)) == here.proxy.refused
    (report,) = await here.collect("alert")
    assert (report.created, report.dead) == (0, 0), "it is not sent again and again"
    (again,) = await replay(here.job.settings(), here.job.tree)
    assert (again.letters, again.created) == (1, 1)
    await collected(here)
    await holds(here)


async def test_an_answer_to_a_replaced_document_is_lost(world: MakeWorld) -> None:
    """An alert that came before its machine is completed once, where it lies."""
    here = world(machines=3)
    (machine,) = here.control.add_machines([{"lastSeen": "2026-03-02T09:00:00Z"}])
    here.control.add_alerts([{"machineId": machine}])
    here.note()
    (report,) = await here.collect("alert")
    assert report.created == 1
    here.rollover("alert")
    here.proxy.play([EngineFault(".ds-", "lost")])
    await collected(here)
    assert here.proxy.left == []
    await holds(here)


async def test_the_proxy_passes_on_what_no_fault_hits(world: MakeWorld) -> None:
    here = world(machines=1)
    here.proxy.play([EngineFault("bulk", "cut")])
    direct = here.direct.ask("GET", "/")
    assert here.job.ask("GET", "/") == direct
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        here.job.ask("GET", f"/{here.job.index('none')}/_doc/1")
    assert len(here.proxy.left) == 1
    assert here.proxy.seen == ["GET /", f"GET /{here.job.index('none')}/_doc/1"]

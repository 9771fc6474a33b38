"""What every stream has to keep, run for each folder of data_stream/ that is collected."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.system.conftest import Job, installed, job

from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree

__all__ = ["installed", "job"]
MakeJob = Callable[..., Job]
SIZES = {"machines": 25, "alerts": 40, "actions": 30, "vulnerabilities": 120}


ALL = load_streams(PackageTree.default())


@pytest.fixture(params=[one for one in ALL if one.collect.enabled], ids=lambda one: one.name)
def stream(request: pytest.FixtureRequest) -> Stream:
    return request.param


@pytest.fixture(params=ALL, ids=lambda one: one.name)
def any_stream(request: pytest.FixtureRequest) -> Stream:
    """Also one that the settings have to turn on, whose versions the tenant does not count."""
    return request.param


def turned_on(work: Job, stream: Stream) -> Job:
    return replace(work, more={"streams": {stream.name: {"enabled": True}}})


async def test_the_index_holds_what_the_tenant_holds(job: MakeJob, stream: Stream) -> None:
    work = job(**SIZES)
    report = (await work.collect(stream.name))[stream.name]
    assert report.complete
    result = await work.compare(stream.name)
    assert result.perfect, result
    assert result.indexed == report.created > 0


async def test_a_second_pass_adds_nothing(job: MakeJob, stream: Stream) -> None:
    work = job(**SIZES)
    await work.collect(stream.name)
    work.rollover(stream.name)
    again = (await work.collect(stream.name))[stream.name]
    assert again.created == 0
    assert (await work.compare(stream.name)).perfect


async def test_a_poll_with_nothing_new_costs_one_request(job: MakeJob, stream: Stream) -> None:
    work = job(**SIZES)
    async with await work.open() as collector:
        for _ in range(2):
            (report,) = await collector.collect([stream.name])
        (report,) = await collector.collect([stream.name])
    assert report.error is None
    assert (report.created, report.requests) == (0, 1)


async def test_an_empty_tenant_is_no_fault(job: MakeJob, any_stream: Stream) -> None:
    work = turned_on(job(machines=0), any_stream)
    report = (await work.collect(any_stream.name))[any_stream.name]
    assert report.complete
    assert (report.records, report.created, report.dead) == (0, 0, 0)


async def test_a_missing_permission_is_named(job: MakeJob, any_stream: Stream) -> None:
    work = turned_on(job(**SIZES), any_stream)
    permission = any_stream.collect.endpoint.permission
    work.simulator.control.remove_role(permission)
    with pytest.raises(PermissionDeniedError) as caught:
        await work.collect(any_stream.name)
    assert permission in caught.value.hint
    assert caught.value.stream == any_stream.name


async def test_every_document_says_what_it_is(job: MakeJob, any_stream: Stream) -> None:
    work = turned_on(job(**SIZES), any_stream)
    await work.collect(any_stream.name)
    tenant = work.simulator.tenant_id
    for document in work.documents(any_stream.name):
        assert document["event"]["module"] == "aquila_mde"
        assert document["event"]["dataset"] == any_stream.dataset
        assert document["event"]["kind"] in {"alert", "asset", "event", "state"}
        assert document["data_stream"]["dataset"] == any_stream.dataset
        assert document["organization"] == {"id": tenant, "name": "simulated"}
        assert document["ecs"]["version"] == "9.4.0"
        assert "error" not in document or any_stream.name == "machine_action"
        assert "join" not in document["mde"]

"""The service stumbles, the collector does not: then the index holds what the tenant holds."""

from collections.abc import Callable

import pytest
from tests.system.conftest import STREAMS, Job, installed, job

from aquila_mde.defender.errors import DefenderUnavailableError
from aquila_mde.simulator.faults import Fault

__all__ = ["installed", "job"]
MakeJob = Callable[..., Job]
SIZES = {"machines": 25, "alerts": 60, "actions": 30, "vulnerabilities": 400, "rows_per_file": 100}


async def all_is_there(work: Job) -> None:
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/api/", "status", status=503, times=3),
        Fault("/api/", "status", status=500, times=2),
        Fault("/api/", "status", status=429, headers={"Retry-After": "7"}, times=3),
        Fault("/api/", "status", status=429, times=3),
        Fault("/api/", "reset", times=2),
        Fault("/api/", "short", times=2),
        Fault("/api/", "html", times=2),
        Fault("token", "status", status=503),
    ],
    ids=lambda fault: (
        f"{fault.where} {fault.what} {fault.status if fault.what == 'status' else ''}"
    ),
)
async def test_one_pass_gets_over(job: MakeJob, fault: Fault) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([fault])
    await work.collect()
    assert work.simulator.control.faults_left == []
    await all_is_there(work)


async def test_what_a_pass_could_not_get_the_next_one_gets(job: MakeJob) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([Fault("/api/alerts", "status", when="always", status=503)])
    with pytest.raises(DefenderUnavailableError):
        await work.collect()
    assert (await work.compare("machine")).perfect
    work.simulator.control.set_faults([])
    await work.collect()
    await all_is_there(work)


async def test_a_token_that_is_revoked_is_renewed_once(job: MakeJob) -> None:
    work = job(**SIZES)
    async with await work.open() as collector:
        await collector.collect(["alert"])
        work.simulator.control.revoke_tokens()
        (report,) = await collector.collect(["machine"])
    assert report.error is None
    assert (await work.compare("machine")).perfect


async def test_a_record_that_the_mapping_refuses_is_kept_with_the_reason(job: MakeJob) -> None:
    work = job(machines=2)
    # One term of more than 32,766 bytes in a field that is indexed whole.
    (alert,) = work.simulator.control.add_alerts([{"id": "x" * 40_000}])
    report = (await work.collect("alert"))["alert"]
    assert report.created + report.dead == 1
    if report.dead:
        (letter,) = work.documents("dead_letter")
        assert alert in letter["mde"]["dead_letter"]["original"]
    assert (await work.collect("alert"))["alert"].created == 0

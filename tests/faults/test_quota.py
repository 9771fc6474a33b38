"""Quotas that are used up, shrink, or say when to come back in another way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.faults.parts import SIZES, MakeJob, all_is_there, one_pass, told
from tests.system.conftest import STREAMS

from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "1"}, {"Retry-After": "Mon, 02 Mar 2026 09:30:01 GMT"}, {}],
    ids=["seconds", "date", "without"],
)
async def test_429_with_retry_after_as(job: MakeJob, headers: dict[str, str]) -> None:
    work = job(alerts=20)
    fault = Fault("/api/alerts", "status", status=429, headers=headers)
    work.simulator.control.set_faults([fault])
    # The date is a second ahead of the tenant's clock, which years lie between and ours.
    reports = await one_pass(work, "alert", retry_wait=True)
    assert reports["alert"].error is None
    assert [each.status for each in work.simulator.control.requests if each.fault] == [429]
    await all_is_there(work, ["alert"])


async def test_an_hour_quota_that_is_used_up_stops_its_stream_for_that_hour(job: MakeJob) -> None:
    work = job(**SIZES, quota_scale=1.0)
    control = work.simulator.control
    control.exhaust_quota("/api/alerts")
    reports = await one_pass(work)
    said = told(reports["alert"])
    assert "HTTP 429" in said
    assert "quota of the application in this tenant is used up" in said
    others = [name for name in STREAMS if name != "alert"]
    assert [reports[name].error for name in others] == [None] * 3
    await all_is_there(work, others)
    control.advance(timedelta(hours=1))
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_a_quota_that_shrinks_slows_a_stream_down_and_no_more(job: MakeJob) -> None:
    work = job(alerts=150, quota_scale=1.0, quirks=Quirks(page_cap=20, retry_after="none"))
    control = work.simulator.control
    passes = 0
    control.set_quota("/api/alerts", 12, 1_500)
    while (error := (await one_pass(work, "alert"))["alert"].error) is not None:
        assert "HTTP 429" in error.message
        passes += 1
        assert passes < 20
        control.advance(timedelta(minutes=1))
    assert passes
    await all_is_there(work, ["alert"])

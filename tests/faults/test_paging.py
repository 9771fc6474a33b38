"""A service that pages as it likes: nothing is lost, nothing comes twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.faults.parts import MakeJob, all_is_there, nothing_lost_or_doubled, one_pass, told

from aquila_mde.simulator.quirks import Quirks

EQUAL = "2026-03-01T00:00:00.1234567Z"
COLLECTIONS = ("alert", "machine", "machine_action")
SMALL_PAGES = Quirks(page_cap=20)


async def test_top_above_the_largest_page_is_cut_without_a_word(job: MakeJob) -> None:
    work = job(alerts=70, machines=45, actions=50, quirks=SMALL_PAGES)
    await work.collect(*COLLECTIONS)
    await all_is_there(work, COLLECTIONS)


async def test_top_above_the_largest_page_is_refused(job: MakeJob) -> None:
    work = job(alerts=40, quirks=replace(SMALL_PAGES, above_cap="refuse"))
    said = told((await one_pass(work, "alert"))["alert"])
    assert "The limit of '20' for Top query has been exceeded" in said
    work.simulator.control.set_quirks(above_cap="cut")
    await work.collect("alert")
    await all_is_there(work, ["alert"])


@pytest.mark.parametrize("next_link", ["missing", "given"])
async def test_a_skip_cap_where_times_differ(job: MakeJob, next_link: str) -> None:
    quirks = replace(SMALL_PAGES, skip_cap=10, next_link=next_link)
    work = job(alerts=70, quirks=quirks)
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_a_skip_cap_below_the_number_of_alerts_of_one_time(job: MakeJob) -> None:
    work = job(quirks=replace(SMALL_PAGES, skip_cap=40))
    work.simulator.control.add_alerts([{"lastUpdateTime": EQUAL}] * 90 + [{}] * 5)
    said = told((await one_pass(work, "alert"))["alert"])
    assert "more rows than it lets a client page through" in said
    assert "All of them have the same time" in said
    assert EQUAL in said
    work.simulator.control.set_quirks(skip_cap=10_000)
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_a_next_link_to_a_host_of_somebody_else_gets_no_token(job: MakeJob) -> None:
    quirks = replace(SMALL_PAGES, next_link="given", next_link_host="collector.example.com")
    work = job(quirks=quirks)
    work.simulator.control.add_alerts([{"lastUpdateTime": EQUAL}] * 50)
    said = told((await one_pass(work, "alert"))["alert"])
    assert "names collector.example.com for its next page" in said
    assert "the token was not sent there" in said
    work.simulator.control.set_quirks(next_link_host=None)
    await work.collect("alert")
    await all_is_there(work, ["alert"])


@pytest.mark.parametrize("next_link", ["missing", "given"])
async def test_updates_and_new_records_during_paging(job: MakeJob, next_link: str) -> None:
    work = job(alerts=70, machines=45, actions=50, quirks=replace(SMALL_PAGES, next_link=next_link))
    control = work.simulator.control

    def shift() -> None:
        for name in control.ids("alert")[::7]:
            control.update_alert(name)
        for name in control.ids("machine")[::7]:
            control.update_machine(name, {"riskScore": "High"})
        for name in control.ids("machine_action")[::7]:
            control.update_action(name, {"status": "Failed"})
        control.add_alerts([{}] * 5)
        control.remove("machine", control.ids("machine")[3])

    for report in (await one_pass(work, *COLLECTIONS, at_first=shift)).values():
        assert report.error is None
    await work.collect(*COLLECTIONS)
    await nothing_lost_or_doubled(work, COLLECTIONS)
    assert {each.created for each in (await work.collect(*COLLECTIONS)).values()} == {0}

"""Evidence that the service cannot give: that alert comes without it and says so, all others whole.

https://github.com/elastic/integrations/issues/18144 is a stream that such a page stopped for ever.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.parts import MakeJob, all_is_there
from tests.plugins.tally import Tally
from tests.system.conftest import Job

from aquila_mde.collect.backfill import backfill
from aquila_mde.collect.reconcile import reconcile
from aquila_mde.defender.errors import DefenderUnavailableError
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks

EQUAL = "2026-03-01T00:00:00.1234567Z"


def lacking(work: Job) -> set[str]:
    """The alerts that say that their evidence is missing; all others have theirs."""
    found = set()
    for document in work.documents("alert"):
        own: dict[str, Any] = document["mde"]["alert"]
        name = document["event"]["id"]
        expected = work.simulator.control.record("alert", name)["evidence"]
        if "expand_missing" in own:
            assert own["expand_missing"] == ["evidence"]
            assert "evidence" not in own
            found.add(name)
        else:
            assert len(own.get("evidence", [])) == len(expected), name
    return found


def answers_of_500(work: Job) -> int:
    return sum(request.status == 500 for request in work.simulator.control.requests)


async def test_one_poisoned_alert_comes_plain_and_the_rest_of_the_page_whole(
    job: MakeJob, tally: Tally
) -> None:
    work = job(alerts=150)
    poisoned = work.simulator.control.ids("alert")[70]
    work.simulator.control.poison(poisoned)
    report = (await work.collect("alert"))["alert"]
    assert report.created == 150
    await all_is_there(work, ["alert"])
    assert lacking(work) == {poisoned}
    assert report.requests < 60
    again = (await work.collect("alert"))["alert"]
    assert (again.created, again.dead) == (0, 0)
    await all_is_there(work, ["alert"])
    tally.fault("tenant evidence that cannot be expanded", answers_of_500(work))


async def test_a_poisoned_alert_does_not_hold_up_those_that_come_after_it(job: MakeJob) -> None:
    work = job()
    control = work.simulator.control
    (poisoned,) = control.add_alerts([{}])
    control.poison(poisoned)
    assert (await work.collect("alert"))["alert"].created == 1
    control.add_alerts([{}, {}])
    assert (await work.collect("alert"))["alert"].created == 2
    assert lacking(work) == {poisoned}
    await all_is_there(work, ["alert"])


async def test_an_update_brings_the_evidence_once_it_can_be_read(job: MakeJob) -> None:
    work = job()
    control = work.simulator.control
    (poisoned,) = control.add_alerts([{}])
    control.poison(poisoned)
    await work.collect("alert")
    assert lacking(work) == {poisoned}
    # The same version stays one document, as it was sent.
    control.poison(poisoned, healed=True)
    assert (await work.collect("alert"))["alert"].created == 0
    control.update_alert(poisoned)
    assert (await work.collect("alert"))["alert"].created == 1
    said = [one["mde"]["alert"].get("expand_missing") for one in work.documents("alert")]
    assert sorted(said, key=str) == [None, ["evidence"]]


async def test_poisoned_alerts_among_many_of_one_time(job: MakeJob, tally: Tally) -> None:
    work = job()
    control = work.simulator.control
    names = control.add_alerts([{"lastUpdateTime": EQUAL}] * 70 + [{}] * 5)
    for name in (names[3], names[40], names[72]):
        control.poison(name)
    assert (await work.collect("alert"))["alert"].created == 75
    assert lacking(work) == {names[3], names[40], names[72]}
    await all_is_there(work, ["alert"])
    tally.fault("tenant evidence that cannot be expanded", answers_of_500(work))


@pytest.mark.parametrize("equal", [0, 60], ids=["spread", "one time"])
async def test_pages_too_long_to_expand_are_shortened_and_none_comes_plain(
    job: MakeJob, equal: int, tally: Tally
) -> None:
    work = job(alerts=120, quirks=Quirks(expand_fails_above=25, equal_times=equal))
    report = (await work.collect("alert"))["alert"]
    assert report.created == len(work.simulator.control.ids("alert"))
    assert lacking(work) == set()
    await all_is_there(work, ["alert"])
    tally.fault("tenant page too long to expand", answers_of_500(work))


async def test_backfill_and_reconcile_get_over_it_too(job: MakeJob) -> None:
    work = job(alerts=60)
    poisoned = work.simulator.control.ids("alert")[30]
    work.simulator.control.poison(poisoned)
    now = work.simulator.control.now
    span = int((now.timestamp() - 180 * 86_400) * 1e7), int(now.timestamp() * 1e7)
    for report in await backfill(work.settings(), work.tree, *span, ["alert"], retry_wait=False):
        assert report.error is None
    await all_is_there(work, ["alert"])
    assert lacking(work) == {poisoned}
    work.ask("DELETE", f"/_data_stream/{work.index('alert')}")
    for found in await reconcile(
        work.settings(),
        work.tree,
        ["alert"],
        since=span[0],
        until=span[1] + 10,
        repair=True,
        retry_wait=False,
    ):
        assert found.error is None
    await all_is_there(work, ["alert"])
    assert lacking(work) == {poisoned}


async def test_a_burst_of_500_costs_no_alert_its_evidence(job: MakeJob) -> None:
    work = job(alerts=40)
    work.simulator.control.set_faults([Fault("/api/alerts", "status", status=500, times=5)])
    assert (await work.collect("alert"))["alert"].created == 40
    assert lacking(work) == set()
    await all_is_there(work, ["alert"])


async def test_an_outage_of_all_evidence_is_an_error_and_is_made_up_for(job: MakeJob) -> None:
    work = job(alerts=80, quirks=Quirks(expand_fails_above=0))
    with pytest.raises(DefenderUnavailableError, match="outage of the service") as raised:
        await work.collect("alert")
    assert "evidence of 20 records in a row" in raised.value.message
    work.simulator.control.set_quirks(expand_fails_above=None)
    await work.collect("alert")
    await all_is_there(work, ["alert"])
    assert len(lacking(work)) <= 20

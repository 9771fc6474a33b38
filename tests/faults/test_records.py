"""Records that do what no record should: come late, change in silence, merge, vanish."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from tests.faults.parts import MakeJob, all_is_there, nothing_lost_or_doubled
from tests.system.conftest import Job

from aquila_mde.simulator.quirks import Quirks

MINUTE = timedelta(minutes=1)
EQUAL = "2026-03-01T00:00:00.1234567Z"


def just_seen(work: Job) -> dict[str, Any]:
    return {"lastSeen": work.simulator.control.now.isoformat().replace("+00:00", "Z")}


async def created(work: Job, stream: str) -> int:
    return (await work.collect(stream))[stream].created


@pytest.mark.parametrize("minutes", [5, 70, 110])
async def test_a_late_alert_is_found_by_the_overlap(job: MakeJob, minutes: int) -> None:
    work = job()
    control = work.simulator.control
    control.add_alerts([{}], visible_after=timedelta(minutes=minutes))
    control.advance(MINUTE)
    control.add_alerts([{}])
    assert await created(work, "alert") == 1
    control.advance(timedelta(minutes=minutes))
    control.add_alerts([{}])
    assert await created(work, "alert") == 2
    await all_is_there(work, ["alert"])


async def test_the_status_of_an_alert_that_changes_without_a_new_time_is_a_version(
    job: MakeJob,
) -> None:
    work = job()
    control = work.simulator.control
    (name,) = control.add_alerts([{"status": "New"}])
    assert await created(work, "alert") == 1
    control.update_alert(name, {"status": "InProgress"}, move_time=False)
    assert await created(work, "alert") == 1
    assert await created(work, "alert") == 0
    control.update_alert(name, {"status": "Resolved"})
    assert await created(work, "alert") == 1
    statuses = sorted(one["mde"]["alert"]["status"] for one in work.documents("alert"))
    assert statuses == ["InProgress", "New", "Resolved"]


async def test_other_changes_of_an_alert_without_a_new_time_come_with_the_next(
    job: MakeJob,
) -> None:
    work = job()
    control = work.simulator.control
    (name,) = control.add_alerts([{"status": "New", "assignedTo": None}])
    assert await created(work, "alert") == 1
    control.update_alert(name, {"assignedTo": "someone@contoso.com"}, move_time=False)
    # Told by time and status, it is the version that is there.
    assert await created(work, "alert") == 0
    await all_is_there(work, ["alert"])
    control.update_alert(name, {"status": "Resolved"})
    assert await created(work, "alert") == 1


async def test_an_action_changed_without_a_new_time_is_a_version_all_the_same(
    job: MakeJob,
) -> None:
    work = job()
    control = work.simulator.control
    (name,) = control.add_actions([{"status": "Pending"}])
    assert await created(work, "machine_action") == 1
    control.update_action(name, {"status": "Failed"}, move_time=False)
    assert await created(work, "machine_action") == 1
    assert await created(work, "machine_action") == 0
    statuses = sorted(
        one["mde"]["machine_action"]["status"] for one in work.documents("machine_action")
    )
    assert statuses == ["Failed", "Pending"]


@pytest.mark.parametrize("by_update_time", [True, False], ids=["update time", "creation time"])
async def test_an_action_goes_from_pending_to_in_progress_to_failed_days_later(
    job: MakeJob, by_update_time: bool
) -> None:
    work = job(quirks=Quirks(actions_by_update_time=by_update_time))
    control = work.simulator.control
    (name,) = control.add_actions([{"status": "Pending"}])
    assert await created(work, "machine_action") == 1
    for status in ("InProgress", "Failed"):
        control.advance(timedelta(days=4))
        control.add_actions([{"status": "Succeeded"}])
        control.update_action(name, {"status": status})
        assert await created(work, "machine_action") == 2
    found = [
        one["mde"]["machine_action"]["status"]
        for one in work.documents("machine_action")
        if one["event"]["id"] == name
    ]
    assert sorted(found) == ["Failed", "InProgress", "Pending"]
    await nothing_lost_or_doubled(work, ["machine_action"])


async def test_a_machine_merged_into_another_id(job: MakeJob) -> None:
    work = job(machines=0)
    control = work.simulator.control
    old, kept = control.add_machines([just_seen(work) | {"computerDnsName": "pc-1"}] * 2)
    assert await created(work, "machine") == 2
    control.remove("machine", old)
    control.update_machine(kept, {"mergedIntoMachineId": None, "aadDeviceId": old})
    assert await created(work, "machine") == 1
    assert await created(work, "machine") == 0
    names = Counter(
        one["event"].get("id") or one["host"]["id"] for one in work.documents("machine")
    )
    assert sorted(names.values()) == [1, 2]


async def test_a_machine_renamed(job: MakeJob) -> None:
    work = job(machines=0)
    control = work.simulator.control
    (name,) = control.add_machines([just_seen(work) | {"computerDnsName": "before.contoso.com"}])
    assert await created(work, "machine") == 1
    control.update_machine(name, {"computerDnsName": "after.contoso.com"})
    assert await created(work, "machine") == 1
    hosts = sorted(one["host"]["hostname"] for one in work.documents("machine"))
    assert [host.partition(".")[0] for host in hosts] == ["after", "before"]


async def test_a_machine_that_is_gone_stays_as_it_was(job: MakeJob) -> None:
    work = job(machines=5)
    assert await created(work, "machine") == 5
    control = work.simulator.control
    control.remove("machine", control.ids("machine")[2])
    assert await created(work, "machine") == 0
    result = await work.compare("machine")
    assert (result.tenant, result.indexed, result.unknown) == (4, 5, 1)
    await nothing_lost_or_doubled(work, ["machine"])


@pytest.mark.parametrize("answer", ["404", "empty"])
async def test_an_empty_machine_list(job: MakeJob, answer: Any) -> None:
    work = job(machines=0, quirks=Quirks(no_machines=answer))
    assert await created(work, "machine") == 0
    await all_is_there(work, ["machine"])
    work.simulator.control.add_machines([just_seen(work)])
    assert await created(work, "machine") == 1
    await all_is_there(work, ["machine"])


async def test_an_alert_whose_machine_is_not_in_the_list(job: MakeJob) -> None:
    work = job(machines=3)
    work.simulator.control.add_alerts([{"machineId": "f" * 40}])
    await work.collect("machine", "alert")
    (alert,) = work.documents("alert")
    assert alert["mde"]["alert"]["join_missing"] == ["machine"]
    await all_is_there(work, ["machine", "alert"])


async def test_nothing_empty_none_unknown_and_one_instead_of_many(job: MakeJob) -> None:
    work = job(machines=2)
    work.simulator.control.add_alerts(
        [
            {"threatName": None, "relatedUser": None, "comments": None},
            {"threatName": "", "relatedUser": {}, "mitreTechniques": []},
            {"threatName": "None", "machineId": "None", "severity": "UnSpecified"},
            {"severity": "Catastrophic", "status": "Frozen", "detectionSource": "Oracle"},
            {"inventedLater": {"by": ["Microsoft", 7, None]}, "another": True},
            {"comments": {"comment": "one", "createdBy": "a@contoso.com", "createdTime": EQUAL}},
            {"loggedOnUsers": {"accountName": "a", "domainName": "b"}, "mitreTechniques": "T1059"},
        ]
    )
    report = (await work.collect("alert"))["alert"]
    assert (report.created, report.dead) == (7, 0)
    await all_is_there(work, ["alert"])

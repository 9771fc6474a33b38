"""Index equals tenant, whatever is polled, rolled over or paged."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from aquila_mde.simulator.quirks import Quirks
from tests.system.conftest import IN_BOTH, STREAMS, Job

MakeJob = Callable[..., Job]
MINUTE = timedelta(minutes=1)
EQUAL = "2026-03-01T00:00:00.1234567Z"


@IN_BOTH
async def test_every_stream_of_a_tenant_is_in_the_index_once(job: MakeJob) -> None:
    work = job(machines=60, alerts=150, actions=70, vulnerabilities=2_000)
    first = await work.collect()
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)
        assert result.tenant == result.indexed == first[stream].created > 0
    second = await work.collect()
    assert {stream: report.created for stream, report in second.items()} == dict.fromkeys(
        STREAMS, 0
    )


@IN_BOTH
async def test_with_its_state_lost_the_collector_adds_no_version_twice(job: MakeJob) -> None:
    work = job(alerts=40, actions=20, vulnerabilities=300)
    await work.collect()
    for stream in ("alert", "machine_action", "vulnerability"):
        work.rollover(stream)
    work.lose_state()
    again = await work.collect("alert", "machine_action", "vulnerability")
    assert [report.created for report in again.values()] == [0, 0, 0]
    assert again["vulnerability"].existing == 300


@IN_BOTH
@pytest.mark.parametrize("quirks", [Quirks(), Quirks(actions_by_update_time=False)])
async def test_a_lost_state_is_rebuilt_from_the_index(job: MakeJob, quirks: Quirks) -> None:
    streams = ("alert", "machine_action")
    work = job(alerts=300, actions=200, quirks=quirks)
    control = work.simulator.control
    control.add_alerts([{}, {}])
    waiting, _ = control.add_actions([{"status": "Pending"}, {"status": "Succeeded"}])
    first = await work.collect(*streams)
    for stream in (*streams, "checkpoint"):
        work.rollover(stream)
        work.ask("POST", f"/{work.index(stream)}/_refresh")
    before = {stream: await known(work, stream) for stream in streams}
    work.lose_state()

    control.advance(timedelta(hours=3))
    control.update_action(waiting, {"status": "Succeeded"})
    control.add_alerts([{}])
    again = await work.collect(*streams)
    for stream in streams:
        assert again[stream].created == 1
        # Three days, or thirty for actions that are still open, instead of half a year.
        assert 0 < again[stream].records < first[stream].records * 0.6
        assert (await work.compare(stream)).missing == 0
        ids, cursor = await known(work, stream)
        assert before[stream][1] < cursor
        assert len(ids & before[stream][0]) > 0.8 * len(before[stream][0]) > 0
    assert len(work.documents("machine_action")) == first["machine_action"].created + 1
    assert len(work.documents("alert")) == first["alert"].created + 1
    assert {report.created for report in (await work.collect(*streams)).values()} == {0}


async def test_data_that_was_deleted_with_the_state_is_collected_again(job: MakeJob) -> None:
    work = job(alerts=50)
    await work.collect("alert")
    work.ask("DELETE", f"/_data_stream/{work.index('alert')}")
    work.ask("POST", f"/{work.index('checkpoint')}/_refresh")
    work.lose_state()
    assert (await work.collect("alert"))["alert"].created == 50


async def test_after_a_lost_state_a_machine_is_indexed_once_more(job: MakeJob) -> None:
    work = job(machines=30)
    await work.collect("machine")
    work.lose_state()
    assert (await work.collect("machine"))["machine"].created == 30
    assert (await work.collect("machine"))["machine"].created == 0


async def test_an_alert_polled_three_hundred_times_is_as_many_documents_as_versions(
    job: MakeJob,
) -> None:
    work = job()
    (alert,) = work.simulator.control.add_alerts([{}])
    created = 0
    async with await work.open() as collector:
        for poll in range(300):
            if poll in (100, 200):
                work.simulator.control.update_alert(alert)
            if poll in (50, 150, 250):
                work.rollover("alert")
            (report,) = await collector.collect(["alert"])
            assert report.error is None
            created += report.created
            expected = 1 + (poll >= 100) + (poll >= 200)
            assert created == expected, poll
            work.simulator.control.advance(MINUTE)
    found = work.documents("alert")
    assert len(found) == 3
    assert len({document["@timestamp"] for document in found}) == 3


@pytest.mark.parametrize("quirks", [Quirks(), Quirks(next_link="given")], ids=["no link", "link"])
@pytest.mark.parametrize("stream", ["alert", "machine", "machine_action"])
async def test_a_thousand_equal_times_lose_nothing_at_page_boundaries(
    job: MakeJob, stream: str, quirks: Quirks
) -> None:
    work = job(machines=0, quirks=replace(quirks, page_cap=170))
    control = work.simulator.control
    if stream == "alert":
        control.add_alerts([{"lastUpdateTime": EQUAL}] * 1_000 + [{}] * 55)
    elif stream == "machine":
        control.add_machines([{"lastSeen": EQUAL}] * 1_000 + [{}] * 55)
    else:
        control.add_actions([{"lastUpdateDateTimeUtc": EQUAL}] * 1_000 + [{}] * 55)
    reports = await work.collect(stream)
    result = await work.compare(stream)
    assert result.perfect, result
    assert result.indexed == reports[stream].created == 1_055


async def test_a_late_alert_is_found_by_the_overlap(job: MakeJob) -> None:
    work = job()
    control = work.simulator.control
    (late,) = control.add_alerts([{}], visible_after=timedelta(minutes=70))
    control.advance(MINUTE)
    control.add_alerts([{}])
    assert (await work.collect("alert"))["alert"].created == 1
    control.advance(timedelta(minutes=75))
    control.add_alerts([{}])
    assert (await work.collect("alert"))["alert"].created == 2
    assert late in {document["event"]["id"] for document in work.documents("alert")}


@IN_BOTH
async def test_a_very_late_alert_is_found_by_the_sweep(job: MakeJob, monkeypatch) -> None:
    work = job()
    control = work.simulator.control
    control.add_alerts([{}], visible_after=timedelta(hours=20))
    for span in (0, 19, 2):
        control.advance(timedelta(hours=span))
        control.add_alerts([{}])
        assert (await work.collect("alert"))["alert"].created == 1
    monkeypatch.setattr("aquila_mde.collect.runner.now_ticks", now_in(timedelta(hours=13)))
    assert (await work.collect("alert"))["alert"].created == 1


@IN_BOTH
async def test_a_machine_is_indexed_again_only_when_it_changed(job: MakeJob) -> None:
    work = job(machines=0)
    control = work.simulator.control
    seen = control.now.isoformat().replace("+00:00", "Z")
    (machine,) = control.add_machines([{"machineTags": ["a"], "lastSeen": seen}])

    async def created() -> int:
        return (await work.collect("machine"))["machine"].created

    assert await created() == 1
    control.advance(MINUTE)
    assert await created() == 0
    for tags in (["b"], ["a"]):
        control.update_machine(machine, {"machineTags": tags})
        assert await created() == 1
    found = sorted(work.documents("machine"), key=lambda document: document["@timestamp"])
    tags_in_order = [document["mde"]["machine"]["machine_tags"] for document in found]
    assert tags_in_order == [["a"], ["b"], ["a"]]


@IN_BOTH
async def test_a_tag_that_does_not_move_last_seen_is_found_by_the_daily_sweep(
    job: MakeJob, monkeypatch
) -> None:
    work = job(machines=0)
    control = work.simulator.control
    old, _ = control.add_machines([{"lastSeen": "2026-02-20T00:00:00Z"}, {}])
    assert (await work.collect("machine"))["machine"].created == 2
    control.update_machine(old, {"machineTags": ["new"]})
    assert (await work.collect("machine"))["machine"].created == 0
    monkeypatch.setattr("aquila_mde.collect.runner.now_ticks", now_in(timedelta(hours=25)))
    assert (await work.collect("machine"))["machine"].created == 1


@IN_BOTH
async def test_a_tenant_that_refuses_the_update_time_of_actions_is_read_by_creation(
    job: MakeJob,
) -> None:
    work = job(quirks=Quirks(actions_by_update_time=False))
    control = work.simulator.control
    waiting, done = control.add_actions([{"status": "Pending"}, {"status": "Succeeded"}])
    assert (await work.collect("machine_action"))["machine_action"].created == 2
    control.advance(timedelta(days=3))
    (newer,) = control.add_actions([{"status": "Succeeded"}])
    assert (await work.collect("machine_action"))["machine_action"].created == 1
    control.update_action(waiting, {"status": "Failed"})
    assert (await work.collect("machine_action"))["machine_action"].created == 1
    control.advance(timedelta(days=1))
    assert (await work.collect("machine_action"))["machine_action"].created == 0
    outcomes = {
        (document["event"]["id"], document["mde"]["machine_action"]["status"])
        for document in work.documents("machine_action")
    }
    assert outcomes == {
        (waiting, "Pending"),
        (waiting, "Failed"),
        (done, "Succeeded"),
        (newer, "Succeeded"),
    }


@IN_BOTH
async def test_a_new_export_adds_only_what_changed(job: MakeJob, monkeypatch) -> None:
    work = job(vulnerabilities=400)
    control = work.simulator.control
    before = set(control.versions("vulnerability"))
    assert (await work.collect("vulnerability"))["vulnerability"].created == len(before) == 400
    work.rollover("vulnerability")
    control.add_vulnerabilities([{}, {}])
    control.regenerate_export()
    after = set(control.versions("vulnerability"))
    monkeypatch.setattr("aquila_mde.collect.runner.now_ticks", now_in(timedelta(days=8)))
    report = (await work.collect("vulnerability"))["vulnerability"]
    assert report.created == len(after - before) >= 2
    assert report.existing == len(after & before) > 300


def now_in(span: timedelta) -> Callable[[], int]:
    return lambda: time.time_ns() // 100 + span // timedelta(microseconds=1) * 10


async def known(work: Job, stream: str) -> tuple[set[str], int]:
    """The ids that the state remembers of ``stream``, and the cursor."""
    async with work.view() as state:
        store = state.stream(work.simulator.tenant_id, stream)
        cursor = store.read().cursor
        rows = store.database.execute("SELECT id FROM delivered WHERE scope = ?", (store.scope,))
        ids = {row[0] for row in rows}
    assert cursor is not None
    return ids, cursor

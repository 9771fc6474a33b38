"""What is missing is found, exactly, and delivered, exactly."""

import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
import time_machine

from aquila_mde.collect.reconcile import reconcile
from aquila_mde.collect.reconciliation import Reconciliation
from aquila_mde.collect.state_database import StateInUseError
from aquila_mde.collect.windows import moment
from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.errors import ConfigurationError
from aquila_mde.simulator.quirks import Quirks
from tests.system.conftest import IN_BOTH, STREAMS, Job
from tests.system.test_kill import indexed, start
from tests.system.test_replay import again, nested_limit, refused_alerts

MakeJob = Callable[..., Job]
SIZES = {"machines": 40, "alerts": 90, "actions": 40, "vulnerabilities": 300}


async def compared(work: Job, *names: str, **options: object) -> dict[str, Reconciliation]:
    reports = await reconcile(
        work.settings(), work.tree, names or None, retry_wait=False, **options
    )
    for report in reports:
        if report.error is not None:
            raise report.error
    return {report.stream: report for report in reports}


def total(report: Reconciliation, what: str) -> int:
    return sum(getattr(window, what) for window in report.windows)


def lose(work: Job, stream: str, count: int) -> set[str]:
    """Take documents out of the index. Their ids."""
    work.ask("POST", f"/{work.index(stream)}/_refresh")
    found = work.ask("POST", f"/{work.index(stream)}/_search", {"size": count, "_source": False})
    for hit in found["hits"]["hits"]:
        work.ask("DELETE", f"/{hit['_index']}/_doc/{hit['_id']}?refresh=true")
    return {hit["_id"] for hit in found["hits"]["hits"]}


async def test_a_tenant_that_was_collected_has_nothing_missing(job: MakeJob) -> None:
    work = job(**SIZES)
    await work.collect()
    async with await work.open():
        reports = await compared(work)
    for stream in STREAMS:
        report = reports[stream]
        held = work.simulator.control.truth()[stream]["versions"]
        assert total(report, "tenant") == total(report, "indexed") == held
        assert report.missing == 0
    assert len(reports["alert"].windows) > 10


async def test_without_state_everything_that_is_not_there_is_missing(job: MakeJob) -> None:
    work = job(**SIZES)
    for stream, report in (await compared(work)).items():
        held = work.simulator.control.truth()[stream]["versions"]
        assert total(report, "tenant") == report.missing == held, stream
        assert len(report.records) == 20
    assert not work.state.exists()


@pytest.mark.parametrize("stream", STREAMS)
async def test_exactly_what_is_missing_is_delivered(job: MakeJob, stream: str) -> None:
    work = job(**SIZES)
    await work.collect()
    work.rollover(stream)
    lost = lose(work, stream, 7)
    (report,) = (await compared(work, stream)).values()
    assert report.missing == len(report.records) == 7
    if stream in ("alert", "machine_action", "vulnerability"):
        assert {record.document_id for record in report.records} == lost
    (report,) = (await compared(work, stream, repair=True)).values()
    assert (total(report, "missing"), total(report, "repaired"), report.missing) == (7, 7, 0)
    (report,) = (await compared(work, stream)).values()
    assert (total(report, "missing"), report.missing) == (0, 0)
    assert (await work.compare(stream)).perfect
    assert (await work.collect(stream))[stream].created == 0


async def test_what_the_collector_has_not_come_to_yet_is_not_missing(job: MakeJob) -> None:
    work = job(**SIZES)
    control = work.simulator.control
    await work.collect()
    control.advance(timedelta(hours=7))
    control.add_alerts([{}, {}])
    control.add_vulnerabilities([{}, {}, {}])
    control.regenerate_export()
    before = {"alert": 2, "vulnerability": 3}
    reports = await compared(work, *before)
    for stream, count in before.items():
        assert reports[stream].missing == 0
        assert total(reports[stream], "pending") >= count
    repaired = await compared(work, *before, repair=True)
    assert [total(report, "repaired") for report in repaired.values()] == [0, 0]


async def test_changes_are_versions_and_what_has_none_is_missing(job: MakeJob) -> None:
    work = job(machines=25, vulnerabilities=300)
    control = work.simulator.control
    await work.collect("vulnerability")
    control.add_vulnerabilities([{}, {}, {}])
    control.upgrade_software(control.ids("vulnerability")[0], "99.0")
    control.advance(timedelta(hours=6))
    (report,) = (await compared(work, "vulnerability")).values()
    assert report.missing == 0, "its changes were not read yet"
    assert total(report, "pending") >= 3
    assert (await work.collect("vulnerability"))["vulnerability"].created > 3
    (report,) = (await compared(work, "vulnerability")).values()
    assert report.missing == 0
    assert total(report, "pending") >= 3, "the index has their changes"

    work.rollover("vulnerability")
    present = set(control.ids("vulnerability"))
    documents = work.documents("vulnerability")
    gone = next(d["event"]["id"] for d in documents if d["event"]["id"] in present)
    everywhere = f"/{work.index('vulnerability')}/_delete_by_query?refresh=true"
    deleted = work.ask("POST", everywhere, {"query": {"term": {"event.id": gone}}})["deleted"]
    (report,) = (await compared(work, "vulnerability")).values()
    assert [record.entity for record in report.records] == [gone]
    (report,) = (await compared(work, "vulnerability", repair=True)).values()
    assert (total(report, "repaired"), report.missing) == (1, 0)
    (report,) = (await compared(work, "vulnerability")).values()
    assert total(report, "missing") == 0
    assert len(work.documents("vulnerability")) == len(documents) - deleted + 1
    assert (await work.collect("vulnerability"))["vulnerability"].created == 0


async def test_dead_letters_are_told_apart(job: MakeJob) -> None:
    work = job(alerts=60)
    dead = await refused_alerts(work)
    (report,) = (await compared(work, "alert")).values()
    assert (report.dead, report.missing) == (dead, 0)
    nested_limit(work, None)
    await again(work)
    (report,) = (await compared(work, "alert")).values()
    assert (report.dead, report.missing) == (0, 0)


async def test_a_repair_that_the_engine_refuses_ends_in_the_dead_letters(job: MakeJob) -> None:
    work = job(alerts=40)
    await work.collect("alert")
    lose(work, "alert", 40)
    nested_limit(work, 1)
    (report,) = (await compared(work, "alert", repair=True)).values()
    assert report.missing == 0
    assert report.dead > 0
    assert report.dead + total(report, "repaired") == 40


async def test_a_tenant_that_refuses_the_update_time_of_actions(job: MakeJob) -> None:
    work = job(actions=40, quirks=Quirks(actions_by_update_time=False))
    await work.collect("machine_action")
    lost = lose(work, "machine_action", 3)
    work.state.unlink()
    since = moment("2025-09-01T00:00:00Z", "")
    (report,) = (await compared(work, "machine_action", since=since)).values()
    assert {record.document_id for record in report.records} == lost
    assert total(report, "tenant") == 40


async def test_only_the_window_that_was_asked_for(job: MakeJob) -> None:
    work = job(machines=0)
    times = [f"2026-02-{day:02}T12:00:00Z" for day in range(1, 11)]
    work.simulator.control.add_alerts([{"lastUpdateTime": time} for time in times])
    since, until = moment("2026-02-03", ""), moment("2026-02-06T12:00:00Z", "")
    (report,) = (await compared(work, "alert", since=since, until=until)).values()
    assert [window.missing for window in report.windows] == [0] * 2 + [1] + [0] * 3 + [1] + [
        0
    ] * 3 + [1] + [0] * 3


async def test_a_repair_beside_a_running_collector_is_refused(job: MakeJob) -> None:
    work = job(alerts=5)
    async with await work.open():
        with pytest.raises(StateInUseError, match="A collector is running") as caught:
            await compared(work, "alert", repair=True)
    assert "Stop the collector" in caught.value.hint


async def test_the_error_of_one_stream_stops_no_other(job: MakeJob) -> None:
    work = job(**SIZES)
    await work.collect()
    work.simulator.control.remove_role("Machine.Read.All")
    reports = await reconcile(work.settings(), work.tree, retry_wait=False)
    errors = {report.stream: report.error for report in reports if report.error is not None}
    assert set(errors) == {"machine", "machine_action"}
    assert all(isinstance(each, PermissionDeniedError) for each in errors.values())
    with pytest.raises(ConfigurationError, match="'alarm'"):
        await compared(work, "alarm")


def killed(work: Job, documents: int, *times: str) -> None:
    """A repair is killed when the index holds so many."""
    process = start(work, "reconcile", "--repair", *times)
    while indexed(work) < documents:
        assert process.poll() is None, process.communicate()[0].decode()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@IN_BOTH
async def test_a_repair_that_was_killed_goes_on_in_the_windows(job: MakeJob) -> None:
    work = job(machines=0)
    control = work.simulator.control
    for day in range(1, 29):
        control.add_alerts([{"lastUpdateTime": f"2026-02-{day:02}T08:00:00Z"}] * 60)
    killed(work, 600, "--from", "2026-02-01", "--to", "2026-03-01")
    work.rollover("alert")
    control.clear_requests()
    since, until = moment("2026-02-01", ""), moment("2026-03-01", "")
    reports = await compared(work, "alert", since=since, until=until, repair=True)
    report = reports["alert"]
    asked = {
        filtered
        for each in control.requests
        if each.path == "/api/alerts"
        for filtered in parse_qs(each.query).get("$filter", ())
    }
    assert 0 < len(asked) < 24
    assert total(report, "tenant") == 28 * 60
    # What was on its way when it was killed is there, and not missing any more.
    assert 28 * 60 - 120 <= total(report, "repaired") <= 28 * 60
    assert report.missing == 0
    assert len(report.records) == 20
    assert (await work.compare("alert")).perfect


@IN_BOTH
async def test_a_repair_that_was_killed_goes_on_in_the_export(job: MakeJob) -> None:
    rows, in_a_file = 20_000, 4_000
    work = job(machines=300, vulnerabilities=rows, rows_per_file=in_a_file)
    killed(work, 14_000)
    control = work.simulator.control
    control.clear_requests()
    (report,) = (await compared(work, "vulnerability", repair=True)).values()
    asked = [re.search(r"/part-(\d+)-", request.path) for request in control.requests]
    files = [int(found[1]) for found in asked if found]
    assert files == list(range(files[0], 5))
    assert files[0] > 0
    assert total(report, "tenant") == rows
    assert report.missing == 0
    assert (await work.compare("vulnerability")).perfect
    (report,) = (await compared(work, "vulnerability", repair=True)).values()
    assert (total(report, "tenant"), total(report, "indexed")) == (rows, rows)


async def test_a_repair_of_another_time_or_of_another_day_begins_anew(job: MakeJob) -> None:
    work = job(**SIZES | {"alerts": 0})
    control = work.simulator.control
    for day in range(1, 29):
        control.add_alerts([{"lastUpdateTime": f"2026-02-{day:02}T08:00:00Z"}] * 3)
    control.remove_role("Machine.Read.All")
    since, until = moment("2026-02-01", ""), moment("2026-02-20", "")
    asked = {"since": since, "until": until, "repair": True}
    left = work.state.with_name(f"{work.state.name}.repair")

    async def requests(names: tuple[str, ...], **options: object) -> int:
        control.clear_requests()
        await reconcile(work.settings(), work.tree, names, retry_wait=False, **options)
        return sum(each.path == "/api/alerts" for each in control.requests)

    both = ("alert", "machine")
    whole = await requests(both, **asked)
    assert whole >= 19
    assert left.exists(), "the machines failed"
    assert await requests(both, **asked) == 0
    assert await requests(both, **asked | {"until": until + 1}) >= 19
    with time_machine.travel(datetime.now(UTC) + timedelta(days=2)):
        assert await requests(both, **asked | {"until": until + 1}) >= 19
    assert await requests(("alert",), **asked) >= 19
    assert not left.exists()

"""An older stretch of time comes in beside a collector that is at work, and nothing twice."""

import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from aquila_mde.collect.backfill import BackfillReport, backfill
from aquila_mde.collect.runner import Collector
from aquila_mde.collect.windows import moment, short
from aquila_mde.defender.errors import DefenderUnavailableError
from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import Settings, load_settings
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks
from tests.system.conftest import Job
from tests.system.test_kill import PROGRAM, indexed

MakeJob = Callable[..., Job]
SINCE, UNTIL = moment("2025-08-01", ""), moment("2026-03-03", "")


def settings_of(work: Job) -> Settings:
    """A collector that began to collect a day ago."""
    late = {stream: {"look_back": "1d"} for stream in ("alert", "machine_action")}
    return load_settings(work.config(streams=late), environment={}).only()


async def past(
    work: Job, *names: str, since: int = SINCE, until: int = UNTIL, **options: Any
) -> dict[str, BackfillReport]:
    reports = await backfill(
        settings_of(work), work.tree, since, until, names or None, retry_wait=False, **options
    )
    for report in reports:
        if report.error is not None:
            raise report.error
    return {report.stream: report for report in reports}


async def opened(work: Job) -> Collector:
    return await Collector.open(settings_of(work), work.tree, retry_wait=False)


async def collected(work: Job, *names: str) -> int:
    async with await opened(work) as collector:
        reports = await collector.collect(names)
    assert [report.error for report in reports] == [None] * len(names)
    return sum(report.created for report in reports)


async def test_what_is_older_than_the_first_pass_comes_in_once(job: MakeJob) -> None:
    work = job(alerts=200, actions=100)
    streams = ("alert", "machine_action")
    new = await collected(work, *streams)
    work.rollover("alert")
    reports = await past(work)
    assert set(reports) == set(streams)
    assert new + sum(report.counts.created for report in reports.values()) == 300
    for stream, report in reports.items():
        assert report.windows == report.of > 10
        assert report.left_from is None
        assert (await work.compare(stream)).perfect
        work.rollover(stream)
    assert not list(work.folder.glob("*backfill*"))
    reports = await past(work)
    assert [report.counts.created for report in reports.values()] == [0, 0]
    assert await collected(work, *streams) == 0
    for stream in streams:
        assert (await work.compare(stream)).perfect


async def test_beside_a_running_collector(job: MakeJob) -> None:
    work = job(machines=0)
    control = work.simulator.control
    control.add_alerts(
        {"lastUpdateTime": f"2026-02-{day:02}T08:00:00Z"} for day in (1, 10, 20, 27, 28)
    )
    async with await opened(work) as collector:
        await collector.collect(["alert"])
        (report,) = (await past(work, "alert")).values()
        assert report.left_from is not None
        assert report.left_from > moment("2026-02-27", "")
        # The alert of the 28th is younger than that, and the sweep of the collector brings it.
        assert report.counts.created == 4
        work.rollover("alert")
        control.update_alert(control.ids("alert")[0])
        control.advance(timedelta(minutes=5))
        (passed,) = await collector.collect(["alert"])
    assert passed.created == 1
    work.rollover("alert")
    (report,) = (await past(work, "alert")).values()
    assert report.counts.created == 1
    assert await collected(work, "alert") == 0
    found = [each["event"]["id"] for each in work.documents("alert")]
    assert len(found) == len(set(found)) + 1 == 6


async def test_a_backfill_that_was_cut_off_goes_on(job: MakeJob) -> None:
    work = job(machines=0)
    control = work.simulator.control
    months = [(2025, month) for month in range(8, 13)] + [(2026, 1), (2026, 2)]
    control.add_alerts(
        {"lastUpdateTime": f"{year}-{month:02}-{day:02}T08:00:00Z"}
        for year, month in months
        for day in range(1, 29)
    )
    file = work.state.with_name(f"{work.state.name}.backfill-{short(SINCE)}-{short(UNTIL)}")
    control.set_faults([Fault("/api/alerts", "status", when=15, times=10_000, status=503)])
    with pytest.raises(DefenderUnavailableError):
        await past(work, "alert")
    assert file.exists()
    work.rollover("alert")
    control.set_faults([])
    control.clear_requests()
    (report,) = (await past(work, "alert")).values()
    asked = {
        filtered
        for each in control.requests
        if each.path == "/api/alerts"
        for filtered in parse_qs(each.query)["$filter"]
    }
    assert report.windows == report.of
    # Fourteen answers: four windows were under way, and no other took more than two.
    assert 0 < len(asked) <= report.of - 5
    assert 0 < report.counts.records < len(months) * 28
    assert (await work.compare("alert")).perfect
    assert not file.exists()


async def test_kills_at_random_moments(job: MakeJob) -> None:
    work = job(alerts=1_500, actions=500)
    times = ("--from", "2025-08-01", "--to", "2026-03-03")
    config = work.config()
    for moment_of_kill in (60, 400, 900, 1_400):
        process = subprocess.Popen(
            [PROGRAM, "backfill", *times, "--config", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and indexed(work) < moment_of_kill:
            pass
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        work.rollover("alert")
    await past(work, since=SINCE, until=UNTIL)
    for stream in ("alert", "machine_action"):
        assert (await work.compare(stream)).perfect


async def test_alerts_of_the_past_are_joined_with_what_the_collector_knows(job: MakeJob) -> None:
    work = job(machines=20, alerts=50)
    await collected(work, "machine")
    await past(work, "alert")
    joined = [each for each in work.documents("alert") if "machine" in each["mde"]["alert"]]
    assert len(joined) > 25


async def test_a_tenant_that_refuses_the_update_time_of_actions(job: MakeJob) -> None:
    work = job(actions=60, quirks=Quirks(actions_by_update_time=False))
    (report,) = (await past(work, "machine_action")).values()
    assert report.counts.created == 60
    assert (await work.compare("machine_action")).perfect
    assert await collected(work, "machine_action") == 0


async def test_a_new_collector_reads_what_lies_before_a_backfill_too(
    job: MakeJob,
) -> None:
    work = job(machines=0)
    control = work.simulator.control
    control.add_alerts(
        {"lastUpdateTime": f"2026-{month:02}-{day:02}T08:00:00Z"}
        for month in (1, 2)
        for day in range(1, 29)
    )
    # The newest ones are in the index, and no pass has ever reached its end.
    await backfill(
        work.settings(), work.tree, moment("2026-02-20", ""), moment("2026-03-01", ""), ["alert"]
    )
    report = (await work.collect("alert"))["alert"]
    assert report.created == 56 - 9
    assert (await work.compare("alert")).perfect


@pytest.mark.parametrize("stream", ["machine", "vulnerability", "alarm"])
async def test_a_stream_without_a_past_is_named(job: MakeJob, stream: str) -> None:
    work = job()
    with pytest.raises(ConfigurationError, match=stream) as caught:
        await past(work, stream)
    assert caught.value.hint
    assert not list(work.folder.glob("*backfill*"))


async def test_a_stretch_that_ends_before_it_begins(job: MakeJob) -> None:
    with pytest.raises(ConfigurationError, match="--to must be later"):
        await past(job(), since=UNTIL, until=SINCE)

"""The plan against a real collector: a day of a simulated tenant, in which hours pass at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from statistics import fmean

import pytest

from aquila_mde.collect.runner import Collector
from aquila_mde.defender.times import parse_ticks, ticks_of
from aquila_mde.simulator.quirks import Quirks
from tests.system.conftest import STREAMS, Job
from tests.unit.planning.parts import at_intervals, groups, plan

HOUR = timedelta(hours=1)
MACHINES = 60
BEFORE, DAY = 9, 24
"""Hours until every overlap is filled, and those that are counted."""
SWEEP = 12
"""Hours. A sweep finds less than planned: before its first hour little happened in this tenant."""
START = parse_ticks("2026-03-02T10:30:00Z")
UNAUTHORIZED = 401


async def test_calls_and_rows_of_a_day_are_what_was_planned(job: Callable[..., Job]) -> None:
    work = job(
        machines=MACHINES,
        alerts=100,
        actions=50,
        vulnerabilities=1_000,
        activity=10,
        quirks=Quirks(late_share=0),
    )
    control = work.simulator.control
    rows: dict[str, list[int]] = {name: [] for name in STREAMS}
    new: Counter[str] = Counter()
    hour = 0
    opened = Collector.open(
        work.settings(), work.tree, retry_wait=False, now=lambda: START + ticks_of(hour * HOUR)
    )
    async with await opened as collector:
        for hour in range(BEFORE + DAY + 1):
            control.upgrade_software(control.ids("vulnerability")[hour], f"{hour}.99")
            control.advance(HOUR)
            if hour == BEFORE + 1:
                control.clear_requests()
            for report in await collector.collect():
                assert report.error is None
                if hour > BEFORE:
                    new[report.stream] += report.created
                    if hour % SWEEP:
                        rows[report.stream].append(report.records)

    # The token of the tenant is over each time, for hours pass at once.
    asked = Counter(one.path for one in control.requests if one.status != UNAUTHORIZED)
    made = plan(
        at_intervals(groups(1, MACHINES), **dict.fromkeys(STREAMS, HOUR)),
        alerts=new["alert"] * 30 / MACHINES,
        alert_versions=1,
        actions=new["machine_action"] * 30 / MACHINES,
        action_versions=1,
        vulnerabilities=1_000 / MACHINES,
        vulnerability_changes=new["vulnerability"] / 1_000,
    )
    for endpoint in made.endpoints:
        path, calls = endpoint.endpoint.path, endpoint.calls_a_day
        # An answer with more rows than any before may be cut, so it is asked behind that one.
        assert calls - 1 <= asked[path] <= calls + 6, path
    planned = {
        one.stream: one.reading.rows
        for one in made.readings
        if one.reading.kind in ("pass", "changes")
    }
    for name in ("alert", "machine_action", "vulnerability"):
        assert new[name] > 10
        assert fmean(rows[name]) == pytest.approx(planned[name], rel=0.25), name
    # Not every machine reports within each hour.
    assert max(rows["machine"]) <= planned["machine"]

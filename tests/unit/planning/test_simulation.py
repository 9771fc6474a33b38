"""The plan against a simulation of the same tenants, event by event, over a week."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.planning.parts import (
    MEASURED,
    at_intervals,
    groups,
    kinds,
    only,
    plan,
    slower,
)
from tests.unit.planning.simulation import DAY, WEEK, Seen, World

from aquila_mde.planning.measured import Measured
from aquila_mde.planning.plan import Plan
from aquila_mde.planning.tenants import TenantGroup
from aquila_mde.planning.warnings import is_kept

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CALM = {
    "alert": 30 * MINUTE,
    "machine": 30 * MINUTE,
    "machine_action": 30 * MINUTE,
    "vulnerability": 2 * HOUR,
}
"""The intervals of somebody with many tenants."""


def simulated(
    made: Plan, found: list[TenantGroup], measured: Measured = MEASURED, days: float = 7
) -> Seen:
    return World(found, made.wanted.assumed, measured, made.given).run(days * DAY)


def compared(made: Plan, seen: Seen) -> set[bool]:
    """Whether readings are kept, where the plan is sure of it; the simulation says the same.

    The plan tells how long a reading takes on average, so half and twice the interval is sure.
    """
    found = set()
    for one in made.readings:
        kind, interval = one.reading.kind, one.collected.interval.total_seconds()
        seconds, passes = made.seconds(one), seen.passes[one.stream, kind]
        if kind != "join" and passes >= 5 and not interval / 2 <= seconds <= interval * 2:
            kept = seconds < interval
            late = seen.late_share(one.stream, kind)
            assert late < 0.1 if kept else late > 0.5, (one.stream, kind, seconds, late)
            found.add(kept)
    return found


def test_a_week_of_a_thousand_tenants_is_as_it_was_planned() -> None:
    found = at_intervals(groups(1_000, 800, 40_000), **CALM)
    made = plan(found)
    seen = simulated(made, found)
    for one in made.streams:
        assert seen.calls[one.name] == pytest.approx(7 * one.calls, rel=0.05), one.name
        assert seen.rows[one.name] == pytest.approx(7 * one.rows, rel=0.05), one.name
    assert seen.collector_s == pytest.approx(WEEK * made.cores, rel=0.05)
    assert seen.engine_s == pytest.approx(WEEK * made.engine_load, rel=0.05)
    # The full export of the largest is what takes longer than its interval, and nothing else.
    late = {(one.reading.kind, one.group.name) for one in made.readings if not is_kept(made, one)}
    assert late == {("full export", "largest")}
    assert set(seen.late) == {("vulnerability", "full export")}
    assert seen.late.total() == 1


def test_at_the_intervals_of_the_package_nothing_is_late() -> None:
    found = groups(40, 2_000)
    made = plan(found)
    assert not {"quota", "collector", "engine", "interval", "exports"} & kinds(made)
    seen = simulated(made, found)
    assert not seen.late
    assert not seen.held_back
    assert compared(made, seen) == {True}
    for one in made.streams:
        assert seen.calls[one.name] == pytest.approx(7 * one.calls, rel=0.03), one.name
        assert seen.rows[one.name] == pytest.approx(7 * one.rows, rel=0.05), one.name


@pytest.mark.parametrize(("share", "kept"), [(1, True), (0.2, False)])
def test_so_many_processes_keep_the_intervals_and_a_fifth_of_them_do_not(
    share: float, kept: bool
) -> None:
    found = at_intervals(groups(60, 20_000), **CALM)
    measured = slower(130)
    needed = plan(found, measured).needed.processes
    assert needed > 3
    made = plan(found, measured, processes=int(needed * share))
    seen = simulated(made, found, measured, days=3)
    assert ("collector" in kinds(made)) == (not kept)
    assert compared(made, seen) == ({True} if kept else {True, False})


@pytest.mark.parametrize(("cores", "kept"), [(None, True), (1, False)])
def test_an_engine_that_is_too_small_makes_exports_late_and_one_that_fits_does_not(
    cores: int | None, kept: bool
) -> None:
    found = only(at_intervals(groups(100, 1_500), vulnerability=12 * HOUR), "vulnerability")
    measured = slower(1, engine=40)
    made = plan(found, measured, engine_cores=cores)
    assert ({"engine", "exports"} <= kinds(made)) == (not kept)
    assert ("interval" in kinds(made)) == (not kept)
    seen = simulated(made, found, measured)
    assert compared(made, seen) == ({True} if kept else {True, False})
    assert (seen.unfinished_exports > 50) == (not kept)


@pytest.mark.parametrize(("seconds", "kept"), [(3, True), (2, False)])
def test_a_quota_that_is_exceeded_holds_the_calls_back(seconds: int, kept: bool) -> None:
    found = only(at_intervals(groups(5, 100), alert=timedelta(seconds=seconds)), "alert")
    made = plan(found, answer_seconds=0.01)
    seen = simulated(made, found, days=0.25)
    assert ("quota" in kinds(made)) == (not kept)
    assert (seen.held_back["alert"] > 0) == (not kept)


def test_a_large_reading_waits_for_the_quota_of_a_minute_as_it_was_planned() -> None:
    found = only(at_intervals(groups(3, 3_000_000), machine=2 * MINUTE), "machine")
    made = plan(found, answer_seconds=0.01)
    seen = simulated(made, found, days=0.5)
    assert "interval" in kinds(made)
    assert compared(made, seen) == {False}
    assert seen.late_share("machine", "pass") == 1
    assert seen.held_back["machine"] > 0

"""A clock of this machine that is wrong, or is set while the collector is away."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.faults.parts import SIZES, MakeJob, all_is_there, clock_moved_by
from tests.plugins.tally import Tally
from tests.system.conftest import STREAMS

CLOCK = "aquila_mde.collect.runner.now_ticks"
DAY = timedelta(days=1)
TIMED = ("alert", "machine_action")


@pytest.mark.parametrize("span", [400 * DAY, -400 * DAY, -30 * 365 * DAY], ids=str)
async def test_a_first_pass_with_a_wrong_clock(
    job: MakeJob, span: timedelta, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    work = job(**SIZES)
    monkeypatch.setattr(CLOCK, clock_moved_by(span))
    await work.collect()
    tally.fault("clock wrong from the start")
    await all_is_there(work)
    control = work.simulator.control
    control.advance(timedelta(minutes=5))
    control.add_alerts([{}])
    monkeypatch.undo()
    assert (await work.collect("alert"))["alert"].created == 1
    await all_is_there(work, TIMED)


async def test_steps_of_the_clock_both_ways_between_passes(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    work = job(**SIZES)
    control = work.simulator.control
    await work.collect()
    for span in (2 * DAY, -2 * DAY, 90 * DAY, -90 * DAY, timedelta(0)):
        monkeypatch.setattr(CLOCK, clock_moved_by(span))
        control.advance(timedelta(minutes=20))
        control.add_alerts([{}, {}])
        control.add_actions([{}])
        reports = await work.collect()
        tally.fault("clock step")
        assert reports["alert"].created == 2
        assert reports["machine_action"].created == 1
        for stream in STREAMS:
            result = await work.compare(stream)
            assert (result.missing, result.duplicates, result.failed) == (0, 0, 0), (stream, span)
    await all_is_there(work, TIMED)

"""What random schedules have found, each as short as it could be made."""

from __future__ import annotations

import pytest
from tests.faults.schedules import Schedule
from tests.faults.test_schedules import played
from tests.plugins.tally import Tally

FOUND = {
    "a machine is seen on another day before a pass that was cut off goes on": Schedule(
        steps=[["cut_off", "documents", 1], ["seen", 66]]
    ),
    "a repair brought rows before the first pass that are fixed by then": Schedule(
        steps=[["reconcile"], ["time", 4000], ["alerts", 25]]
    ),
    "the first export is cut off, and a newer one lacks rows that were delivered": Schedule(
        steps=[
            *(["collect", stream] for stream in ("machine", "alert", "machine_action")),
            ["cut_off", "documents", 10],
            *(["fixed", row] for row in (119, 118, 117)),
            ["time", 400],
        ]
    ),
}


@pytest.mark.parametrize("schedule", FOUND.values(), ids=FOUND)
async def test_it_is_mended(installed: str, tally: Tally, schedule: Schedule) -> None:
    assert await played(installed, schedule, tally) == ""

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
}


@pytest.mark.parametrize("schedule", FOUND.values(), ids=FOUND)
async def test_it_is_mended(installed: str, tally: Tally, schedule: Schedule) -> None:
    assert await played(installed, schedule, tally) == ""

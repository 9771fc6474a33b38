"""A state that is lost, and a rebuilding of it that is cut off itself."""

from __future__ import annotations

import pytest
from tests.faults.conftest import MakeWorld
from tests.faults.oracle import findings

from aquila_mde.collect.state import StreamStore


class Killed(BaseException):
    """What no part of the program catches."""


async def test_killed_between_the_rebuilt_cursor_and_the_first_pass(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass after it still looks into older indices for what a search did not show."""
    here = world(machines=0)
    here.change(lambda: here.control.add_alerts([{}] * 5))
    await here.collect("alert")
    index = here.direct.index("alert")
    here.direct.ask("POST", f"/{index}/_refresh")
    here.direct.ask("PUT", f"/{index}/_settings", {"index.refresh_interval": -1})
    here.change(lambda: here.control.add_alerts([{}]))
    (report,) = await here.collect("alert")
    assert report.created == 1
    here.rollover("alert")
    here.direct.ask("POST", f"/{here.direct.index('checkpoint')}/_refresh")
    for file in here.state_files():
        file.unlink()

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(StreamStore, "begin", killed)
        with pytest.raises(Killed):
            await here.collect("alert")
    (report,) = await here.collect("alert")
    assert (report.error, report.created) == (None, 0)
    assert await findings(here) == []

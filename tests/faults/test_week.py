"""A week of a tenant that is at work, with a fault every few minutes: in the end index = tenant.

Time is the tenant's, moved five minutes at a time, and the collector's clock goes with it. Each
stream is collected at its interval. Microsoft's quotas apply, tokens expire, the export is made
anew four times a day, sweeps and full exports fall due as they do in a real week.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from tests.faults.conftest import MakeWorld
from tests.faults.player import Player
from tests.faults.schedules import PATHS, engine_fault, tenant_fault
from tests.faults.world import World
from tests.plugins.tally import Tally
from tests.system.conftest import STREAMS

from aquila_mde.collect.runner import Collector
from aquila_mde.errors import AquilaError

TICK = timedelta(minutes=5)
SIZES = {"machines": 20, "alerts": 120, "actions": 60, "vulnerabilities": 300}


class Days:
    """Lets time pass over a world."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._player = Player(world)
        self._rng = Random(seed)
        self._collector: Collector | None = None
        self._ticks = 0
        self._faults_off_at = 0

    async def pass_by(self, span: timedelta) -> None:
        """``span`` of collecting, then all is well again and everything is compared."""
        for _ in range(span // TICK):
            self._world.pass_time(TICK)
            await self._something_happens()
            await self._collect()
            self._world.count_hits()
            self._ticks += 1
        await self._stop()
        await self._player.settle(reconciled=True)

    async def _something_happens(self) -> None:
        rng, world = self._rng, self._world
        if self._ticks >= self._faults_off_at:
            world.control.set_faults([])
            world.proxy.play([])
            if rng.random() < 0.6:
                await self._fault()
        once_in = rng.randrange(10_000)
        if once_in < 150:
            await self._player.step(["rollover", rng.choice(STREAMS)])
        elif once_in < 400:
            await self._player.step(["revoke"])
        elif once_in < 450:
            await self._player.step(["quota", rng.choice(list(PATHS)), 1])
            await self._player.step(["exhaust", rng.choice(list(PATHS))])
        elif once_in < 500:
            for path, quota in PATHS.items():
                world.control.set_quota(path, *quota)
        elif once_in < 530:
            await self._player.step(["clock", rng.choice([-90, -20, 20, 90])])
        elif once_in < 700:
            await self._stop()
            # Something has to be new, or the pass is over before its moment comes.
            await self._player.step(["alerts", 6])
            name = rng.choice(["cut_off", "cut_off", "kill"])
            await self._player.step([name, "documents", rng.randint(1, 6)])
        elif once_in < 710:
            await self._stop()
            await self._player.step(["lose_state"])

    async def _fault(self) -> None:
        """Something goes wrong, mostly for a moment, sometimes for an hour."""
        rng, long = self._rng, self._rng.random() < 0.02
        if rng.random() < 0.5:
            fault = tenant_fault(rng) | ({"when": "always"} if long else {"when": 1})
            await self._player.step(["tenant_faults", [fault]])
        else:
            fault = engine_fault(rng) | ({"when": "always"} if long else {"when": 1})
            await self._player.step(["engine_faults", [fault]])
        self._faults_off_at = self._ticks + (12 if long else 2)

    async def _collect(self) -> None:
        minutes = self._ticks * 5
        due = ["alert", "machine_action"]
        due += ["machine"] if minutes % 15 == 0 else []
        due += ["vulnerability"] if minutes % 60 == 0 else []
        try:
            if self._collector is None:
                self._collector = await self._world.open()
        except AquilaError:
            return  # the engine did not answer; in five minutes it may
        await self._collector.collect(due)

    async def _stop(self) -> None:
        if self._collector is not None:
            await self._collector.aclose()
            self._collector = None


async def test_some_hours(world: MakeWorld, tally: Tally) -> None:
    await Days(world(**SIZES, activity=4, quota_scale=1.0), 1).pass_by(timedelta(hours=5))
    tally.schedule()


@pytest.mark.long
async def test_a_week(world: MakeWorld, tally: Tally) -> None:
    await Days(world(**SIZES, activity=4, quota_scale=1.0), 2).pass_by(timedelta(days=7, hours=8))
    tally.schedule()

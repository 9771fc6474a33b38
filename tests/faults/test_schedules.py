"""Whatever happens, in whatever order: in the end the index is the tenant.

Each seed is one schedule. When one fails, it is made as short as it can be and still fail, and
printed with the command that plays it again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import pytest
import structlog
import structlog.testing
from tests.faults.engine_proxy import EngineProxy
from tests.faults.player import play
from tests.faults.schedules import SIZES, Schedule, generate
from tests.faults.world import World
from tests.plugins.memory import memory_folder
from tests.plugins.tally import Tally
from tests.system.conftest import Job
from tests.system.stateless import QUICK

from aquila_mde.collect import engine_lease
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree

FIXED = range(12)
MANY = range(1_000, 1_200)
REPLAYED = "AQUILA_TEST_SCHEDULE"
_SHRINKING_SECONDS = 240
"""A schedule that fails is made shorter for so long at most."""


@asynccontextmanager
async def fresh_world(engine_url: str, schedule: Schedule) -> AsyncIterator[World]:
    """A world that nobody else uses, as long as the context lasts."""
    namespace = f"s{uuid.uuid4().hex[:12]}"
    with (
        tempfile.TemporaryDirectory(prefix="aquila-schedule-", dir=memory_folder()) as folder,
        SimulatorServer(**SIZES, activity=0, quirks=Quirks(**schedule.quirks)) as server,
        EngineProxy(engine_url, keep_original=True) as proxy,
    ):
        tree, at = PackageTree.default(), Path(folder)
        job = Job(server, engine_url, namespace, at, tree, stateless=schedule.stateless)
        pace, engine_lease.PACE = engine_lease.PACE, QUICK
        try:
            yield World(job, proxy)
        finally:
            engine_lease.PACE = pace
            with httpx.Client(base_url=engine_url, trust_env=False, timeout=60) as client:
                client.delete(f"/_data_stream/*-{namespace}").raise_for_status()
                client.delete(f"/{job.state_index}")


async def played(
    engine_url: str, schedule: Schedule, tally: Tally | None = None, *, reconciled: bool = True
) -> str:
    """What was wrong at the end of ``schedule``, or nothing."""
    async with fresh_world(engine_url, schedule) as world:
        try:
            with structlog.testing.capture_logs():
                await play(world, schedule, reconciled=reconciled)
        except Exception as error:
            log = world.job.folder / "process.log"
            said = log.read_text(errors="replace")[-2_000:] if log.exists() else ""
            return f"{type(error).__name__}: {error}\n{said}"
        if tally is not None:
            world.count_hits()
            tally.schedule()
            tally.kill(world.kills)
            tally.fault("pass cut off", world.cut_offs)
            for name, times in (world.proxy.hits + world.tenant_hits).items():
                tally.fault(name, times)
    return ""


async def shrunken(engine_url: str, schedule: Schedule) -> Schedule:
    """``schedule`` without the steps that it fails without."""
    until = time.monotonic() + _SHRINKING_SECONDS
    steps, size = schedule.steps, max(1, len(schedule.steps) // 2)
    while True:
        start = 0
        while start < len(steps) and time.monotonic() < until:
            shorter = replace(schedule, steps=steps[:start] + steps[start + size :])
            if await played(engine_url, shorter):
                steps = shorter.steps
            else:
                start += size
        if size == 1 or time.monotonic() >= until:
            return replace(schedule, steps=steps)
        size //= 2


async def check(engine_url: str, seed: int, schedule: Schedule, tally: Tally) -> None:
    problem = await played(engine_url, schedule, tally, reconciled=seed % 3 == 0)
    if not problem:
        return
    short = await shrunken(engine_url, schedule)
    again = await played(engine_url, short)
    text = json.dumps(asdict(short))
    pytest.fail(
        f"The schedule of seed {seed} fails:\n{problem}\n"
        f"Shortened to {len(short.steps)} of {len(schedule.steps)} steps it "
        f"{'says: ' + again if again else 'fails now and then.'}\nPlay it again:\n"
        f"{REPLAYED}='{text}' .venv/bin/pytest tests/faults/test_schedules.py -k given",
        pytrace=False,
    )


@pytest.mark.parametrize("seed", FIXED)
async def test_a_fixed_schedule(installed: str, tally: Tally, seed: int) -> None:
    await check(installed, seed, generate(seed, kills=seed % 4 == 0), tally)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
async def test_one_schedule_of_many(installed: str, tally: Tally, seed: int) -> None:
    await check(installed, seed, generate(seed, kills=seed % 4 == 0), tally)


def test_what_the_many_schedules_are_made_of() -> None:
    many = [generate(seed, kills=seed % 4 == 0) for seed in MANY]
    steps = [step for schedule in many for step in schedule.steps]
    assert 0.3 < sum(schedule.stateless for schedule in many) / len(many) < 0.37
    assert any(s.stateless and any(step[0] == "kill" for step in s.steps) for s in many)
    assert sum(step[0] == "backfill" for step in steps) > 50
    killed = {command for step in steps if step[0] == "kill" for command in step[3:4]}
    assert killed == {"backfill", "reconcile"}


async def test_a_given_schedule(installed: str, tally: Tally) -> None:
    """The schedule of the environment; without one, a pass and nothing else."""
    given = json.loads(os.environ.get(REPLAYED, '{"quirks": {}, "steps": [["collect"]]}'))
    assert await played(installed, Schedule(**given), tally) == ""

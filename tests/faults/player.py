"""Plays random schedules: lets every step happen to a world, then has it settle and compares."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import timedelta
from typing import Any

from tests.faults.engine_proxy import EngineFault
from tests.faults.oracle import findings, letters
from tests.faults.schedules import CHANGES, PATHS, Schedule, Step
from tests.faults.world import World, one_of

from aquila_mde.collect.backfill import backfill
from aquila_mde.collect.reconcile import reconcile
from aquila_mde.collect.replay import replay
from aquila_mde.defender.times import ticks_of
from aquila_mde.errors import AquilaError
from aquila_mde.simulator.faults import Fault

_LONGEST = timedelta(days=11)
"""In all: what the service has changed in more than 14 days it does not tell any more."""
_ROUNDS = 6


async def play(world: World, schedule: Schedule, *, reconciled: bool = True) -> None:
    """Play every step, let it settle, and hold the index against the tenant.

    ``reconciled``: in the end ``reconcile`` has to find nothing missing either.
    """
    player = Player(world)
    for step in schedule.steps:
        await player.step(step)
    await player.settle(reconciled=reconciled)


class Player:
    """Plays the steps of schedules in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._control = world.control
        self._passed = timedelta(0)
        self._number = 0

    async def step(self, step: Step) -> None:
        """Let one step happen."""
        name, *arguments = step
        if name in CHANGES:
            self._change(step)
        else:
            await getattr(self, f"_{name}")(*arguments)

    async def settle(self, *, reconciled: bool) -> None:
        """Faults off, everything collected until nothing new comes, and nothing is amiss."""
        world = self._world
        self._control.set_faults([])
        world.proxy.play([])
        for path in PATHS:
            self._control.set_quota(path, 10_000, 100_000)
        # What used up a quota is over, late alerts are visible, and then the daily sweep is due.
        world.pass_time(timedelta(minutes=100))
        await self._whole()
        world.pass_time(timedelta(hours=25))
        for _ in range(_ROUNDS):
            if not await self._whole():
                break
        else:
            raise AssertionError(f"after {_ROUNDS} passes there still is something new")
        refused = await letters(world)
        unexplained = {one: why for one, why in refused.items() if one not in world.proxy.refused}
        assert not unexplained, f"dead letters that nothing was done to: {unexplained}"
        await replay(world.job.settings(), world.job.tree)
        assert not await letters(world), "dead letters that cannot be replayed"
        found = await findings(world)
        assert not found, "\n".join(found[:20])
        if not reconciled:
            return
        for report in await reconcile(world.job.settings(), world.job.tree, retry_wait=False):
            assert report.error is None, report.error
            assert not report.missing, f"reconcile misses {report.records} of {report.stream}"

    async def _whole(self) -> int:
        """A pass of every stream, without an error; how many documents it created."""
        reports = await self._world.collect()
        for report in reports:
            assert report.error is None, f"{report.stream}: {report.error!r} {report.error.hint}"
        return sum(report.created for report in reports)

    def _change(self, step: Step) -> None:
        name, *arguments = step
        self._world.change(lambda: getattr(self, f"_do_{name}")(*arguments))

    # What happens to the tenant

    def _do_alerts(self, number: int) -> None:
        self._control.add_alerts([{}] * number)

    def _do_late(self, number: int, minutes: int) -> None:
        self._control.add_alerts([{}] * number, visible_after=timedelta(minutes=minutes))

    def _do_equal(self, number: int) -> None:
        moment = self._control.now.isoformat().replace("+00:00", "Z")
        self._control.add_alerts([{"lastUpdateTime": moment}] * number)

    def _do_update(self, number: int) -> None:
        if alert := one_of(self._control.ids("alert"), number):
            self._control.update_alert(alert)

    def _do_update_same_time(self, number: int) -> None:
        if alert := one_of(self._control.ids("alert"), number):
            self._control.update_alert(alert, {"assignedTo": self._name()}, move_time=False)

    def _do_actions(self, number: int) -> None:
        self._control.add_actions([{}] * number)

    def _do_progress(self, number: int) -> None:
        if action := one_of(self._open_actions(), number):
            self._control.update_action(action)

    def _do_progress_same_time(self, number: int) -> None:
        # What does not move the time can only be found as long as that time is read again.
        recent = self._control.now - timedelta(minutes=50)
        actions = [
            action
            for action in self._open_actions()
            if self._control.record("machine_action", action)["lastUpdateDateTimeUtc"]
            > recent.isoformat()
        ]
        if action := one_of(actions, number):
            self._control.update_action(action, move_time=False)

    def _open_actions(self) -> list[str]:
        return [
            action
            for action in self._control.ids("machine_action")
            if self._control.record("machine_action", action)["status"] in ("Pending", "InProgress")
        ]

    def _do_machines(self, number: int) -> None:
        moment = self._control.now.isoformat().replace("+00:00", "Z")
        self._control.add_machines([{"lastSeen": moment}] * number)

    def _machine(self, number: int, **changes: Any) -> None:
        if machine := one_of(self._control.ids("machine"), number):
            self._control.update_machine(machine, changes)

    def _do_tag(self, number: int) -> None:
        # Two tags only, so that machines come back to what they were.
        self._machine(number, machineTags=[["a"], ["b"]][number % 2])

    def _do_rename(self, number: int) -> None:
        self._machine(number, computerDnsName=self._name())

    def _do_seen(self, number: int) -> None:
        self._machine(number, lastSeen=self._control.now.isoformat().replace("+00:00", "Z"))

    def _do_regroup(self, number: int) -> None:
        self._machine(number, rbacGroupId=900 + number % 3)

    def _do_gone(self, number: int) -> None:
        if len(self._control.ids("machine")) > 5:
            self._control.remove("machine", one_of(self._control.ids("machine"), number) or "")

    def _do_vulns(self, number: int) -> None:
        self._control.add_vulnerabilities([{}] * number)

    def _do_fixed(self, number: int) -> None:
        if row := one_of(self._control.ids("vulnerability"), number):
            self._control.remove("vulnerability", row)

    def _do_upgraded(self, number: int) -> None:
        if row := one_of(self._control.ids("vulnerability"), number):
            self._number += 1
            self._control.upgrade_software(row, f"99.{self._number}")

    def _do_regenerate(self) -> None:
        self._control.regenerate_export()

    def _name(self) -> str:
        self._number += 1
        return f"name-{self._number}.contoso.com"

    # What happens to the service, the clocks and the engine

    async def _time(self, minutes: int) -> None:
        span = min(timedelta(minutes=minutes), _LONGEST - self._passed)
        self._passed += span
        self._world.pass_time(span)

    async def _clock(self, minutes: int) -> None:
        self._world.clock += timedelta(minutes=minutes)

    async def _tenant_faults(self, faults: list[dict[str, Any]]) -> None:
        self._control.set_faults([Fault.from_json(fault) for fault in faults])

    async def _engine_faults(self, faults: list[dict[str, Any]]) -> None:
        self._world.proxy.play([EngineFault(**fault) for fault in faults])

    async def _quota(self, path: str, per_minute: int) -> None:
        self._control.set_quota(path, per_minute, 10 * per_minute)

    async def _exhaust(self, path: str) -> None:
        self._control.exhaust_quota(path)

    async def _revoke(self) -> None:
        self._control.revoke_tokens()

    async def _rollover(self, stream: str) -> None:
        self._world.rollover(stream)

    async def _lose_state(self) -> None:
        self._world.lose_state()

    # What the collector does

    async def _collect(self, *names: str) -> None:
        try:
            await self._world.collect(*names)
        except AquilaError:
            return  # the engine did not even answer when the collector was started

    async def _during(self, of: Any, number: int, steps: list[Step]) -> None:
        def happen() -> None:
            for step in steps:
                if step[0] == "rollover":
                    self._world.rollover(step[1])
                elif step[0] == "time":
                    self._world.pass_time(timedelta(minutes=step[1]))
                else:
                    self._change(step)

        self._world.proxy.at(of, number, happen)
        await self._collect()
        self._world.proxy.disarm()

    async def _cut_off(self, of: Any, number: int) -> None:
        """The pass ends in the middle, and the state is what it was at that moment."""
        world, loop = self._world, asyncio.get_running_loop()
        if world.job.stateless:
            # What is kept in the engine is not to be put back by anybody else.
            await self._kill(of, number)
            return
        copy = world.job.folder / "cut-off.sqlite3"
        running = asyncio.create_task(self._collect())

        def cut_off() -> None:
            world.copy_state(copy)
            loop.call_soon_threadsafe(running.cancel)

        world.proxy.at(of, number, cut_off)
        await asyncio.wait([running])
        if not world.proxy.disarm():
            world.cut_offs += 1
            world.put_state(copy)
        elif not running.cancelled():
            running.result()

    async def _kill(self, of: Any, number: int, *command: str) -> None:
        """A collector, or another command, in a process of its own is killed at that moment."""
        world = self._world
        started: list[subprocess.Popen[bytes]] = []

        def kill() -> None:
            started[0].kill()

        world.proxy.at(of, number, kill)
        started.append(world.start(*command))
        await asyncio.to_thread(started[0].wait)
        world.kills += not world.proxy.disarm()

    async def _replay(self) -> None:
        self._world.proxy.play([])
        await replay(self._world.job.settings(), self._world.job.tree)

    async def _reconcile(self) -> None:
        self._world.proxy.play([])
        self._control.set_faults([])
        settings, tree = self._world.job.settings(), self._world.job.tree
        await reconcile(settings, tree, repair=True, retry_wait=False)

    async def _backfill(self, days: int, length: int) -> None:
        """Some days of the past, whatever is going wrong, and so perhaps not to their end."""
        now = self._world.now()
        since = now - ticks_of(timedelta(days=days))
        until = since + ticks_of(timedelta(days=length))
        settings, tree = self._world.job.settings(), self._world.job.tree
        try:
            await backfill(settings, tree, since, until, retry_wait=False, now=self._world.now)
        except AquilaError:
            return  # the engine did not even answer

"""A week of many tenants, event by event: what the plan is held against.

It shares nothing with the plan but what goes into it: ``collect.yml``, what is assumed of a tenant,
what was measured. Each stream of each tenant is a task that goes on as the collector's does: it
reads, then pauses for its interval, a little more or less each time. Reading asks the service page
by page, halving what comes back full, and each call waits for two buckets, of a minute and of an
hour. What was read then waits for the process of the tenant and for the engine, which serve in the
order in which they are asked. Pages, and slices of a full export, are dealt with one by one, so
that others get their turn between two of them.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from aquila_mde.planning.assumptions import Assumptions
from aquila_mde.planning.load import Machines
from aquila_mde.planning.measured import Measured
from aquila_mde.planning.tenants import Collected, TenantGroup
from aquila_mde.streams.collect_spec import Endpoint, Quota

DAY = 86_400.0
WEEK = 7 * DAY
_SLICE = 10_000
"""Rows of an export after which others get their turn."""
_MANY = 30
"""From so many on, what happens by chance is spread as a bell."""


@dataclass
class Seen:
    """What happened."""

    calls: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    passes: Counter[tuple[str, str]] = field(default_factory=Counter)
    late: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Those that took longer than their interval, by stream and by what was read."""
    held_back: Counter[str] = field(default_factory=Counter)
    """Seconds for which the quota has kept calls waiting."""
    collector_s: float = 0
    engine_s: float = 0
    unfinished_exports: int = 0

    def late_share(self, stream: str, kind: str) -> float:
        """Of the passes that ended."""
        return self.late[stream, kind] / max(self.passes[stream, kind], 1)


class Server:
    """Serves in the order in which it is asked."""

    def __init__(self) -> None:
        self.free = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When it has done so."""
        self.free = max(self.free, now) + seconds
        return self.free


class Bucket:
    """Calls that flow in evenly, some of which may be kept."""

    def __init__(self, quota: int, period: float) -> None:
        self.most = max(quota / 5, 1.0)
        self.rate = (quota - self.most) / period
        self.held, self.at = self.most, 0.0

    def take(self, now: float) -> float:
        """When one more call may be made that is wanted ``now``."""
        now = max(now, self.at)
        self.held = min(self.most, self.held + (now - self.at) * self.rate)
        self.at = now
        if self.held < 1:
            self.at += (1 - self.held) / self.rate
            self.held = 1
        self.held -= 1
        return self.at


class Door:
    """An endpoint in one tenant."""

    def __init__(self, quota: Quota) -> None:
        self.buckets = (Bucket(quota.per_minute, 60), Bucket(quota.per_hour, 3_600))

    def enter(self, now: float) -> float:
        """When a call that is wanted ``now`` may be made."""
        for bucket in self.buckets:
            now = bucket.take(now)
        return now


class World:
    """All tenants, the processes and the engine."""

    def __init__(
        self,
        groups: list[TenantGroup],
        assumed: Assumptions,
        measured: Measured,
        machines: Machines,
        *,
        seed: int = 1,
    ) -> None:
        self.assumed, self.measured, self.machines = assumed, measured, machines
        self.chance = random.Random(seed)
        self.processes = [Server() for _ in range(machines.processes)]
        self.engine = Server()
        self.seen = Seen()
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], float | None]]] = []
        number = 0
        for group in groups:
            for _ in range(group.count):
                process = self.processes[number % machines.processes]
                for collected in group.collected:
                    task = Task(self, process, collected, group.machines)
                    due = self.chance.random() * collected.interval.total_seconds()
                    self._queue.append((due, len(self._queue), task.step))
                number += 1
        heapq.heapify(self._queue)

    def run(self, until: float = WEEK) -> Seen:
        """Everything that happens until then."""
        queue = self._queue
        while queue and queue[0][0] < until:
            self.now, number, step = queue[0]
            due = step()
            if due is None:
                heapq.heappop(queue)
            else:
                heapq.heapreplace(queue, (due, number, step))
        self.seen.unfinished_exports = sum(
            step.__self__.left > 0  # type: ignore[attr-defined]
            for _, _, step in queue
        )
        return self.seen

    def number(self, mean: float) -> float:
        """How often something happens that happens ``mean`` times on average."""
        if mean > _MANY:
            return max(0.0, self.chance.gauss(mean, mean**0.5))
        found, left = -1, math.exp(-mean)
        product = 1.0
        while product > left or found < 0:
            product *= self.chance.random()
            found += 1
        return float(found)

    def work(
        self, process: Server, stream: str, rows: float, offered: float, *, first: bool
    ) -> float:
        """When a process and the engine have dealt with ``rows``, of which some are sent."""
        measured = self.measured
        cpu = rows * measured.cpu_of_row(stream) + (measured.cpu_of_pass(stream) if first else 0)
        bytes_ = offered * measured.weight(stream).sent * (1 + self.machines.replicas)
        core_s = bytes_ / measured.engine_bytes_s
        self.seen.collector_s += cpu
        self.seen.engine_s += core_s
        done = process.serve(self.now, cpu)
        if core_s:
            done = max(done, self.engine.serve(self.now, core_s / self.machines.engine_cores))
        return done


class Task:
    """One stream of one tenant."""

    def __init__(self, world: World, process: Server, collected: Collected, machines: int) -> None:
        self.world, self.process = world, process
        self.name = collected.stream.name
        self.spec = collected.stream.collect
        self.interval = collected.interval.total_seconds()
        self.machines = machines
        self.doors: dict[str, Door] = {}
        self.last = -self.interval
        self.recent: deque[tuple[float, float]] = deque()
        self.in_recent = 0.0
        self.swept = -world.chance.random() * _seconds(
            self.spec.sweep.every if self.spec.sweep else None
        )
        full = self.spec.delta.full_export_every if self.spec.delta else None
        self.exported = -world.chance.random() * _seconds(full)
        self.joined: dict[str, float] = {}
        for name, join in self.spec.joins.items():
            if join.source:
                self.joined[name] = -world.chance.random() * _seconds(join.source.refresh)
        self.left = 0.0
        self.pages = 0
        self.page = self.offered = self.waits = 0.0
        self.began = 0.0
        self.kind = "pass"

    def step(self) -> float:
        """Read once, or go on with an export; when to go on."""
        if self.pages > 0:
            return self._page()
        if self.left > 0:
            return self._slice()
        world = self.world
        self.began = world.now
        waits = self._joins()
        if self.spec.strategy == "export":
            delta = self.spec.delta
            assert delta is not None
            if world.now - self.exported >= delta.full_export_every.total_seconds():
                self.exported, self.kind = world.now, "full export"
                self.left = self._export_rows()
                waits = self._ask(self.spec.endpoint, waits, 1)
                world.work(self.process, self.name, 0, 0, first=True)
                return max(waits, world.now)
            self.kind = "changes"
            rate = self._export_rows() * world.assumed.vulnerability_changes / DAY
            rows = self._since(rate, delta.overlap.total_seconds())
            calls = 1 + int(rows // delta.endpoint.page_size)
            waits = self._ask(delta.endpoint, waits, calls)
            offered = rate * (world.now - self.last)
        else:
            rows, offered = self._incremental()
            calls = _calls(rows, self.spec.endpoint.page_size)
            waits = self._ask(self.spec.endpoint, waits, calls)
        self.last = world.now
        self.waits = waits - world.now
        self.pages, self.offered = max(calls, 1), offered / max(calls, 1)
        self.page = rows / self.pages
        return self._page(first=True)

    def _page(self, *, first: bool = False) -> float:
        """Deal with one page; between two of them others get their turn."""
        self.pages -= 1
        self.world.seen.rows[self.name] += self.page  # type: ignore[assignment]
        done = self.world.work(self.process, self.name, self.page, self.offered, first=first)
        return done if self.pages else self._ended(done + self.waits)

    def _slice(self) -> float:
        rows = min(self.left, _SLICE)
        self.left -= rows
        self.world.seen.rows[self.name] += rows  # type: ignore[assignment]
        done = self.world.work(self.process, self.name, rows, rows, first=False)
        return done if self.left > 0 else self._ended(done)

    def _ended(self, done: float) -> float:
        seen, key = self.world.seen, (self.name, self.kind)
        seen.passes[key] += 1
        if done - self.began > self.interval:
            seen.late[key] += 1
        return done + self.interval * (0.95 + 0.1 * self.world.chance.random())

    def _incremental(self) -> tuple[float, float]:
        world, assumed, spec = self.world, self.world.assumed, self.spec
        assert spec.cursor is not None
        gap = world.now - self.last
        self.kind = "pass"
        back = spec.cursor.overlap.total_seconds()
        if spec.sweep and world.now - self.swept >= spec.sweep.every.total_seconds():
            self.swept, self.kind = world.now, "sweep"
            back = spec.sweep.look_back.total_seconds()
        if self.name == "machine":
            per_day = 1 + assumed.machine_changes
            met = self.machines * (1 if self.kind == "sweep" else assumed.online)
            return met, world.number(self.machines * per_day * gap / DAY)
        a_month, versions = {
            "alert": (assumed.alerts, assumed.alert_versions),
            "machine_action": (assumed.actions, assumed.action_versions),
        }[self.name]
        rate = self.machines * a_month * versions / 30 / DAY
        if self.kind == "sweep":
            # What lies further back than what is remembered here happened as often.
            return world.number(rate * (back + gap)), world.number(rate * gap)
        return self._since(rate, back), rate * gap

    def _since(self, rate: float, back: float) -> float:
        """What has changed since the last reading and ``back`` before it."""
        now, recent = self.world.now, self.recent
        start = self.last - back
        if not recent:
            before = self.world.number(rate * back)
            recent.append((self.last, before))
            self.in_recent = before
        fresh = self.world.number(rate * (now - self.last))
        recent.append((now, fresh))
        self.in_recent += fresh
        while recent and recent[0][0] < start:
            self.in_recent -= recent.popleft()[1]
        return max(self.in_recent, 0.0)

    def _export_rows(self) -> float:
        return self.machines * self.world.assumed.vulnerabilities

    def _joins(self) -> float:
        world, assumed = self.world, self.world.assumed
        at = world.now
        for name, join in self.spec.joins.items():
            source = join.source
            if source is None or at - self.joined[name] < source.refresh.total_seconds():
                continue
            time = at - self.joined[name] + source.overlap.total_seconds()
            rows = min(assumed.cves, world.number(assumed.cves * assumed.cve_changes * time / DAY))
            calls = _calls(rows, source.endpoint.page_size)
            self.joined[name] = world.now
            at = self._ask(source.endpoint, at, calls)
            world.work(self.process, self.name, rows, 0, first=True)
        return at

    def _ask(self, endpoint: Endpoint, at: float, calls: int) -> float:
        """When ``calls`` that begin ``at`` are answered, one after the other."""
        door = self.doors.get(endpoint.path)
        if door is None:
            door = self.doors[endpoint.path] = Door(endpoint.quota)
        seen = self.world.seen
        seen.calls[self.name] += calls
        for _ in range(calls):
            entered = door.enter(at)
            if entered > at:
                seen.held_back[self.name] += entered - at  # type: ignore[assignment]
            at = entered + self.world.assumed.answer_seconds
        return at


def _calls(rows: float, size: int) -> int:
    """How often is asked for ``rows`` that are spread evenly over the time that is read."""
    calls, stretch = 1, rows
    while stretch >= size:
        # Full, so it may have been cut.
        calls += 1
        stretch /= 2
    left = rows - stretch
    while left > 0.5:
        stretch = min(left, 2 / 3 * size, 4 * max(stretch, 1))
        calls += 1
        left -= stretch
    return calls


def _seconds(time: timedelta | None) -> float:
    return time.total_seconds() if time else 0.0

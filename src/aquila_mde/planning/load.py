"""What readings cost: seconds of a collector's core, of the engine, of waiting for the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aquila_mde.planning.assumptions import Assumptions
from aquila_mde.planning.demand import Reading
from aquila_mde.planning.measured import Measured
from aquila_mde.streams.collect_spec import Quota

_HALVINGS = 50


@dataclass(frozen=True)
class Machines:
    """What collectors and engine have: processes, of one core each, and cores of the engine."""

    processes: int
    engine_cores: int
    replicas: int = 0
    """Copies of each shard; each of them indexes every document once more."""


@dataclass(frozen=True)
class Work:
    """What one time of a reading costs in seconds, undisturbed."""

    waiting: float
    """Until the service has answered all calls, the quota included."""
    collector: float
    """CPU of one core."""
    engine: float
    """Of one core of the engine."""
    turns: float
    """After each of which others of the same process get theirs: one for a page. Of a full export
    0, since its chunks are so small that nobody waits for one."""

    @property
    def turn(self) -> float:
        """CPU of one turn."""
        return self.collector / self.turns if self.turns else 0

    def seconds(self, machines: Machines, traffic: Traffic) -> float:
        """How long it takes among everything else that goes on.

        Whoever shares what others use for the part ``b`` of the time takes ``1 / (1 - b)`` as
        long; of a process it is one turn of each that is there, before each of one's own. Collector
        and engine work at the same time.
        """
        others = traffic.collector / (1 - traffic.collector)
        collector = self.collector + others * max(self.collector, self.turns * traffic.turn)
        engine = self.engine / machines.engine_cores / (1 - traffic.engine)
        return self.waiting + max(collector, engine)


@dataclass(frozen=True)
class Traffic:
    """Which part of the time processes and engine are at work, and in how long turns."""

    collector: float
    engine: float
    turn: float
    """Seconds of a process that one turn takes on average, as whoever comes meets it."""


def traffic_of(works: Sequence[tuple[float, float, Work]], machines: Machines) -> Traffic:
    """What all readings make together: ``works`` has how many there are of each, the seconds of
    its period, and what one costs.

    The pause of a stream begins when its pass has ended. So with too little of everything the
    passes do not pile up but become rarer, and what is at work is so all of the time at most.
    """
    several, engine = machines.processes, machines.engine_cores
    cpu = [(count, every, work.collector) for count, every, work in works]
    core = [(count / engine, every, work.engine) for count, every, work in works]
    asked = sum(count * work.collector / every for count, every, work in works)
    turns = sum(count * work.collector * work.turn / every for count, every, work in works)
    return Traffic(
        _share([(count / several, every, seconds) for count, every, seconds in cpu]),
        _share([(count, every, seconds / engine) for count, every, seconds in core], engine),
        turns / asked if asked else 0,
    )


def _share(tasks: Sequence[tuple[float, float, float]], servers: float = 1) -> float:
    """The part of the time in which one that serves ``tasks`` is at work; less than 1.

    A task of ``seconds`` takes ``seconds / (1 - share)``, and its next one comes a period later.
    """
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        left = 1 - share
        used = sum(
            count * servers * seconds / (every + seconds / left) for count, every, seconds in tasks
        )
        low, high = (share, high) if used > share else (low, share)
    return low


def work_of(
    stream: str, reading: Reading, measured: Measured, assumed: Assumptions, replicas: int
) -> Work:
    """What ``reading`` costs once."""
    cpu = measured.cpu_of_pass(stream) + reading.rows * measured.cpu_of_row(stream)
    offered = reading.offered * measured.weight(stream).sent
    return Work(
        waiting=max(
            reading.calls * assumed.answer_seconds,
            least_seconds(reading.calls, reading.endpoint.quota),
        ),
        collector=cpu,
        engine=offered * (1 + replicas) / measured.engine_bytes_s,
        turns=0 if reading.kind == "full export" else max(reading.calls, 1),
    )


def least_seconds(calls: float, quota: Quota) -> float:
    """How long ``calls`` of one reading take at least if the quota was not touched before."""
    minutes = max(0.0, calls / quota.per_minute - 1)
    hours = max(0.0, calls / quota.per_hour - 1)
    return max(minutes * 60, hours * 3_600)

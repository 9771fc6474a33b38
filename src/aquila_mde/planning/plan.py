"""The plan: what was asked for, worked out for each stream and in sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aquila_mde.planning.assumptions import Assumptions, wrong_number
from aquila_mde.planning.demand import DAY, KNOWN, Reading, readings, volume_of
from aquila_mde.planning.load import Machines, Traffic, Work, traffic_of, work_of
from aquila_mde.planning.measured import Measured
from aquila_mde.planning.room import Room, read_latest, room_of
from aquila_mde.planning.tenants import Collected, TenantGroup
from aquila_mde.streams.collect_spec import Endpoint
from aquila_mde.streams.lifecycle import read_lifecycle
from aquila_mde.streams.tree import PackageTree

_DAY_S = DAY.total_seconds()
_LEAVE_OUT = "Leave it out to be told how much is needed."
_FIXED_SHARDS = 1
"""Of a data stream that nearly nothing is written to: checkpoints, dead letters."""


@dataclass(frozen=True)
class Wanted:
    """What a plan is made for."""

    groups: Sequence[TenantGroup]
    assumed: Assumptions = field(default_factory=Assumptions)
    retention: timedelta | None = None
    """For every stream; ``None``: as the lifecycle policy of each says."""
    replicas: int = 1
    processes: int | None = None
    """Those there are; ``None``: as many as are needed."""
    engine_cores: int | None = None
    """Those there are; ``None``: as many as are needed."""
    nodes: int = 3
    """Data nodes of the engine."""
    full: float = 0.6
    """How busy collectors and engine may be on average; the rest is for what comes at once."""

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--replicas", self.replicas, 0),
            ("--processes", self.processes, 1),
            ("--engine-cores", self.engine_cores, 1),
            ("--nodes", self.nodes, 1),
        ):
            if value is not None and value < least:
                raise wrong_number(option, value, f"{least} or more", _LEAVE_OUT)
        if not 0 < self.full <= 1:
            hint = "0.6 leaves 40 % of each core for what comes at once."
            raise wrong_number("--busy", self.full, "more than 0 and at most 1", hint)


@dataclass(frozen=True)
class TenantReading:
    """A reading of one tenant of a group, and what it costs."""

    group: TenantGroup
    collected: Collected
    reading: Reading
    work: Work

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.collected.stream.name


@dataclass(frozen=True)
class EndpointPlan:
    """The calls of one endpoint in the tenant that calls it most."""

    stream: str
    endpoint: Endpoint
    tenant: str
    calls_a_day: float
    at_once: float
    """Calls of the largest reading."""

    @property
    def an_hour(self) -> float:
        """Calls an hour on average."""
        return self.calls_a_day / 24


@dataclass(frozen=True)
class StreamPlan:
    """What one stream of all tenants comes to in a day, and in the engine."""

    name: str
    calls: float
    rows: float
    read_bytes: float
    documents: float
    sent_bytes: float
    cpu_s: float
    room: Room
    """The shards and bytes of all tenants; ``largest`` is the largest index of any."""
    latest_bytes: float
    latest_shards: int
    latest_template: str
    """The index template of the newest versions."""


@dataclass(frozen=True)
class Plan:
    """Everything that was worked out."""

    wanted: Wanted
    measured: Measured
    readings: Sequence[TenantReading]
    endpoints: Sequence[EndpointPlan]
    streams: Sequence[StreamPlan]
    tenants: int
    cores: float
    """Cores of collectors that are at work on average."""
    engine_load: float
    """Cores of the engine that are at work on average."""
    needed: Machines
    given: Machines
    """What there is; where nothing was said, what is needed."""
    traffic: Traffic
    shards: float
    """With replicas."""
    stored: float
    """Bytes, with replicas."""

    @property
    def only_calls(self) -> list[str]:
        """The streams of which nothing is assumed, so that rows and documents are missing."""
        return [one.name for one in self.streams if one.name not in KNOWN]

    @property
    def collector_busy(self) -> float:
        """Which part of the time the processes would have to be at work; 1 is all of it."""
        return self.cores / self.given.processes

    @property
    def engine_busy(self) -> float:
        """Which part of the time the engine would have to be at work; 1 is all of it."""
        return self.engine_load / self.given.engine_cores

    @property
    def tenants_a_core(self) -> float:
        """Tenants that one process carries, as far as its processor goes."""
        return self.tenants * self.wanted.full / self.cores

    @property
    def memory(self) -> float:
        """Bytes of all processes."""
        more = max(self.tenants - self.given.processes, 0) * self.measured.tenant_bytes
        return self.given.processes * self.measured.process_bytes + more

    def seconds(self, one: TenantReading) -> float:
        """How long a reading takes with what there is."""
        return one.work.seconds(self.given, self.traffic)

    def full_exports(self) -> list[tuple[TenantReading, float]]:
        """The full export of one tenant of each group, and its seconds."""
        every = [one for one in self.readings if one.reading.kind == "full export"]
        return [(one, self.seconds(one)) for one in every]

    def all_exports_seconds(self) -> float:
        """How long the full exports of all tenants take when nothing else is done."""
        every = [one for one in self.readings if one.reading.kind == "full export"]
        collector = sum(one.group.count * one.work.collector for one in every)
        engine = sum(one.group.count * one.work.engine for one in every)
        return max(collector / self.given.processes, engine / self.given.engine_cores)


def make_plan(wanted: Wanted, measured: Measured, tree: PackageTree) -> Plan:
    """Work out what ``wanted`` needs."""
    every = [
        TenantReading(group, collected, reading, _work(wanted, measured, collected, reading))
        for group in wanted.groups
        for collected in group.collected
        for reading in readings(collected, group.machines, wanted.assumed)
    ]
    cores = _sum(every, lambda one: one.work.collector) / _DAY_S
    engine = _sum(every, lambda one: one.work.engine) / _DAY_S
    needed = Machines(
        max(1, math.ceil(cores / wanted.full)),
        max(1, math.ceil(engine / wanted.full)),
        wanted.replicas,
    )
    given = Machines(
        wanted.processes or needed.processes,
        wanted.engine_cores or needed.engine_cores,
        wanted.replicas,
    )
    names = sorted({one.stream for one in every})
    streams = [_stream(name, every, wanted, measured, tree) for name in names]
    copies = 1 + wanted.replicas
    tenants = sum(group.count for group in wanted.groups)
    others = len(tree.data_streams()) - len(names)
    shards = float(tenants * others * _FIXED_SHARDS)
    shards += sum(one.room.shards + one.latest_shards for one in streams)
    return Plan(
        wanted,
        measured,
        every,
        _endpoints(every),
        streams,
        tenants,
        cores,
        engine,
        needed,
        given,
        traffic_of(
            [(one.group.count, one.reading.every.total_seconds(), one.work) for one in every],
            given,
        ),
        shards * copies,
        sum(one.room.stored + one.latest_bytes for one in streams) * copies,
    )


def _work(wanted: Wanted, measured: Measured, collected: Collected, reading: Reading) -> Work:
    return work_of(collected.stream.name, reading, measured, wanted.assumed, wanted.replicas)


def _sum(every: Sequence[TenantReading], value: Callable[[TenantReading], float]) -> float:
    """Of all tenants in a day."""
    return sum(one.group.count * one.reading.a_day * value(one) for one in every)


def _endpoints(every: Sequence[TenantReading]) -> list[EndpointPlan]:
    found: dict[str, EndpointPlan] = {}
    calls: dict[tuple[str, str], list[TenantReading]] = {}
    for one in every:
        calls.setdefault((one.reading.endpoint.path, one.group.name), []).append(one)
    for (path, group), several in calls.items():
        plan = EndpointPlan(
            several[0].stream,
            several[0].reading.endpoint,
            group,
            sum(one.reading.a_day * one.reading.calls for one in several),
            max(one.reading.calls for one in several),
        )
        if path not in found or plan.calls_a_day > found[path].calls_a_day:
            found[path] = plan
    return list(found.values())


def _stream(
    name: str,
    every: Sequence[TenantReading],
    wanted: Wanted,
    measured: Measured,
    tree: PackageTree,
) -> StreamPlan:
    own = [one for one in every if one.stream == name]
    weight = measured.weight(name)
    lifecycle = read_lifecycle(own[0].collected.stream.folder)
    shards = stored = largest = newest = 0.0
    latest = read_latest(tree, own[0].collected.stream)
    for group, collected in {one.group.name: (one.group, one.collected) for one in own}.values():
        documents = sum(
            one.reading.a_day * one.reading.documents for one in own if one.group is group
        )
        room = room_of(documents * weight.stored, lifecycle, wanted.retention)
        shards += group.count * room.shards
        stored += group.count * room.stored
        largest = max(largest, room.largest)
        if latest is not None:
            volume = volume_of(collected, group.machines, wanted.assumed)
            newest += group.count * volume.things(latest.kept) * weight.stored
    rows = _sum([one for one in own if one.reading.kind != "join"], lambda one: one.reading.rows)
    offered = _sum(own, lambda one: one.reading.offered)
    return StreamPlan(
        name,
        _sum(own, lambda one: one.reading.calls),
        rows,
        rows * weight.record,
        _sum(own, lambda one: one.reading.documents),
        offered * weight.sent,
        _sum(own, lambda one: one.work.collector),
        Room(shards, stored, largest),
        newest,
        latest.shards if latest else 0,
        latest.template if latest else "",
    )

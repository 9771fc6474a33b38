"""What will not hold, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from aquila_mde.planning.demand import DAY
from aquila_mde.planning.plan import Plan, TenantReading
from aquila_mde.streams.cost import number

Kind = Literal["quota", "collector", "engine", "interval", "exports", "shard size", "shards"]
GIB = 1 << 30
LARGEST_SHARD = 50 * GIB
"""https://www.elastic.co/docs/deploy-manage/production-guidance/optimize-performance/size-shards"""
SMALL_SHARD = GIB
"""The same page wants shards of 10 GB and more; a tenth of that is small by any measure."""
SHARDS_A_NODE = 1_000
"""cluster.max_shards_per_node: what a data node takes before an engine refuses new indices."""
_MANY_SMALL = 1_000
"""Small shards are no trouble as long as they are few."""


@dataclass(frozen=True)
class PlanWarning:
    """One thing that will not hold."""

    kind: Kind
    where: str
    said: str
    hint: str


def warnings_of(plan: Plan) -> list[PlanWarning]:
    """Everything in ``plan`` that will not hold."""
    return [
        *_quota(plan),
        *_collector(plan),
        *_engine(plan),
        *_interval(plan),
        *_exports(plan),
        *_shards(plan),
    ]


def _quota(plan: Plan) -> Iterator[PlanWarning]:
    for one in plan.endpoints:
        allowed = one.endpoint.quota.per_hour
        if one.an_hour > allowed:
            yield PlanWarning(
                "quota",
                f"{one.stream}, tenant {one.tenant}",
                f"{number(one.an_hour)} calls an hour to {one.endpoint.path}, and Microsoft allows "
                f"{number(allowed)}",
                f"Make streams.{one.stream}.interval {number(one.an_hour / allowed)} times as long"
                + (", or run fewer queries." if one.stream == "hunting" else "."),
            )


def _collector(plan: Plan) -> Iterator[PlanWarning]:
    if plan.collector_busy > plan.wanted.full:
        yield PlanWarning(
            "collector",
            "collector",
            f"{plan.given.processes} processes are busy for {plan.collector_busy:.0%} of the time",
            f"Run {plan.needed.processes}, each with its part of the tenants.",
        )


def _engine(plan: Plan) -> Iterator[PlanWarning]:
    if plan.engine_busy > plan.wanted.full:
        yield PlanWarning(
            "engine",
            "engine",
            f"{plan.given.engine_cores} cores are busy with indexing for {plan.engine_busy:.0%} of "
            "the time",
            f"Give it {plan.needed.engine_cores}, and some for the searches.",
        )


def is_kept(plan: Plan, one: TenantReading) -> bool:
    """Whether a reading ends before the next pass of its stream is due."""
    return plan.seconds(one) <= one.collected.interval.total_seconds()


def _interval(plan: Plan) -> Iterator[PlanWarning]:
    for one in plan.readings:
        if is_kept(plan, one):
            continue
        seconds = plan.seconds(one)
        yield PlanWarning(
            "interval",
            f"{one.stream}, tenant {one.group.name}",
            f"A {one.reading.kind} takes {spoken(seconds)}, and the next pass is due every "
            f"{spoken(one.collected.interval.total_seconds())}",
            _faster(plan, one),
        )


def _faster(plan: Plan, one: TenantReading) -> str:
    """What makes a reading shorter: that which it waits for."""
    work, stream = one.work, one.stream
    longer = f"or make streams.{stream}.interval longer"
    if work.waiting > one.collected.interval.total_seconds():
        return f"It waits for the service: make streams.{stream}.interval longer."
    if work.engine / plan.given.engine_cores > work.collector:
        later = ", or take it as it is: the stream is late until it has ended"
        return f"Give the engine more cores, {longer}" + (
            f"{later}." if one.reading.kind == "full export" else "."
        )
    return f"Give this tenant a process of its own on a faster core, {longer}."


def _exports(plan: Plan) -> Iterator[PlanWarning]:
    every = [one.reading.every for one in plan.readings if one.reading.kind == "full export"]
    if not every:
        return
    seconds, period = plan.all_exports_seconds(), min(every)
    if seconds > period.total_seconds():
        yield PlanWarning(
            "exports",
            "vulnerability",
            f"The full exports of all tenants take {spoken(seconds)}, and each is due every "
            f"{spoken(period.total_seconds())}",
            "Give the engine more cores and run more processes, or set full_export_every higher in "
            "data_stream/vulnerability/collect.yml.",
        )


def _shards(plan: Plan) -> Iterator[PlanWarning]:
    for one in plan.streams:
        if one.latest_shards and one.latest_bytes / one.latest_shards > LARGEST_SHARD:
            needed = math.ceil(one.latest_bytes / LARGEST_SHARD)
            yield PlanWarning(
                "shard size",
                f"{one.name}, newest versions",
                f"All tenants share one index, whose shard grows to "
                f"{number(one.latest_bytes / one.latest_shards / GIB)} GB, and 50 GB are good",
                f"Say number_of_shards: {needed} in the component template "
                f"{one.latest_template}@custom before the package is installed, or spread the "
                "tenants over several engines.",
            )
        if one.room.largest > LARGEST_SHARD:
            yield PlanWarning(
                "shard size",
                one.name,
                f"An index grows to {number(one.room.largest / GIB)} GB before the next one "
                "is begun, and 50 GB are good",
                "Set max_primary_shard_size: 50gb in its lifecycle policy.",
            )
    room = plan.wanted.nodes * SHARDS_A_NODE
    if plan.shards > room:
        yield PlanWarning(
            "shards",
            "engine",
            f"{number(plan.shards)} shards, and {plan.wanted.nodes} data nodes take {number(room)}",
            f"Have {math.ceil(plan.shards / SHARDS_A_NODE)} data nodes, keep documents for less "
            "long (--retention), begin new indices less often (max_age in the lifecycle policies), "
            "or leave out streams.",
        )
    elif plan.shards > _MANY_SMALL and plan.stored / plan.shards < SMALL_SHARD:
        yield PlanWarning(
            "shards",
            "engine",
            f"{number(plan.shards)} shards of {number(plan.stored / plan.shards / 1e6)} MB on "
            "average are many small ones",
            "Begin new indices less often (max_age in the lifecycle policies), so that there are "
            "fewer and larger ones.",
        )


def spoken(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.2 h``, ``8 days``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    if timedelta(seconds=seconds) < 2 * DAY:
        return f"{number(round(seconds / 3_600, 1))} h"
    return f"{number(round(seconds / 86_400, 1))} days"

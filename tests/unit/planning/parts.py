"""What the tests plan with."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from aquila_mde.planning.assumptions import Assumptions
from aquila_mde.planning.measured import Measured, read_measured
from aquila_mde.planning.plan import Plan, Wanted, make_plan
from aquila_mde.planning.tenants import TenantGroup, as_numbers
from aquila_mde.planning.warnings import warnings_of
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

TREE = PackageTree.default()
STREAMS = load_streams(TREE)
MEASURED = read_measured(TREE.performance)


def groups(
    tenants: int, machines: int, largest: int | None = None, *, hunting: bool = False
) -> list[TenantGroup]:
    return as_numbers(STREAMS, tenants=tenants, machines=machines, largest=largest, hunting=hunting)


def at_intervals(found: list[TenantGroup], **intervals: timedelta) -> list[TenantGroup]:
    """The same groups with other intervals."""
    return [
        replace(
            group,
            collected=tuple(
                replace(one, interval=intervals.get(one.stream.name, one.interval))
                for one in group.collected
            ),
        )
        for group in found
    ]


def only(found: list[TenantGroup], *streams: str) -> list[TenantGroup]:
    """The same groups with no other streams."""
    return [
        replace(
            group, collected=tuple(one for one in group.collected if one.stream.name in streams)
        )
        for group in found
    ]


def plan(found: list[TenantGroup], measured: Measured = MEASURED, **more: Any) -> Plan:
    """The plan; what is assumed of a tenant may be named like any other option."""
    names = {name for name, _, _ in Assumptions().named()}
    assumed = Assumptions(**{name: more.pop(name) for name in names & set(more)})
    return make_plan(Wanted(found, assumed, **more), measured, TREE)


def kinds(made: Plan) -> set[str]:
    return {one.kind for one in warnings_of(made)}


def slower(times: float, engine: float = 1) -> Measured:
    """A collector and an engine that take so many times as long."""
    return replace(
        MEASURED,
        row_s={name: one * times for name, one in MEASURED.row_s.items()},
        pass_s={name: one * times for name, one in MEASURED.pass_s.items()},
        engine_bytes_s=MEASURED.engine_bytes_s / engine,
    )

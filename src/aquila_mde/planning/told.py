"""A plan as plain values, for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aquila_mde.planning.plan import Plan
from aquila_mde.planning.warnings import PlanWarning

_DIGITS = 6


def as_dict(plan: Plan, warnings: Sequence[PlanWarning]) -> dict[str, Any]:
    """Seconds, bytes, and numbers a day unless the name says otherwise."""
    told = {
        "tenants": plan.tenants,
        "machines": sum(group.count * group.machines for group in plan.wanted.groups),
        "endpoints": [
            {
                "stream": one.stream,
                "path": one.endpoint.path,
                "tenant": one.tenant,
                "calls_a_day": one.calls_a_day,
                "calls_an_hour": one.an_hour,
                "allowed_an_hour": one.endpoint.quota.per_hour,
                "calls_at_once": one.at_once,
                "allowed_a_minute": one.endpoint.quota.per_minute,
            }
            for one in plan.endpoints
        ],
        "streams": [
            {
                "stream": one.name,
                "calls": one.calls,
                "rows": one.rows,
                "read_bytes": one.read_bytes,
                "documents": one.documents,
                "sent_bytes": one.sent_bytes,
                "cpu_seconds": one.cpu_s,
                "stored_bytes": one.room.stored,
                "shards": one.room.shards,
                "largest_shard_bytes": one.room.largest,
                "newest_versions_bytes": one.latest_bytes,
            }
            for one in plan.streams
        ],
        "readings": [
            {
                "stream": one.stream,
                "tenant": one.group.name,
                "kind": one.reading.kind,
                "every_seconds": one.reading.every.total_seconds(),
                "rows": one.reading.rows,
                "documents": one.reading.documents,
                "calls": one.reading.calls,
                "seconds": plan.seconds(one),
            }
            for one in plan.readings
        ],
        "collector": {
            "cores_at_work": plan.cores,
            "processes_needed": plan.needed.processes,
            "processes": plan.given.processes,
            "busy": plan.collector_busy,
            "tenants_a_process": plan.tenants_a_core,
            "memory_bytes": plan.memory,
        },
        "engine": {
            "cores_at_work": plan.engine_load,
            "cores_needed": plan.needed.engine_cores,
            "cores": plan.given.engine_cores,
            "busy": plan.engine_busy,
            "bytes_a_second_of_a_core": plan.measured.engine_bytes_s,
            "shards": plan.shards,
            "stored_bytes": plan.stored,
            "replicas": plan.wanted.replicas,
        },
        "full_exports": {
            "one": [
                {"tenant": one.group.name, "rows": one.reading.rows, "seconds": seconds}
                for one, seconds in plan.full_exports()
            ],
            "all_seconds": plan.all_exports_seconds(),
        },
        "assumptions": {name: value for name, value, _ in plan.wanted.assumed.named()},
        "only_calls_of": plan.only_calls,
        "measured": plan.measured.where,
        "warnings": [
            {"kind": one.kind, "where": one.where, "said": one.said, "hint": one.hint}
            for one in warnings
        ],
    }
    rounded: dict[str, Any] = _rounded(told)
    return rounded


def _rounded(value: Any) -> Any:
    """Without digits that only look exact."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return value

"""The collector alone: a tenant that serves what was rendered, and a sink that only answers."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.collector_job import Cost, Job
from tests.bench.processes import cores, measure, settings, sink, tenant
from tests.bench.spread import spread

Tell = Callable[[str], None]

MILLION = 1_000_000
_POLLS = 10


def throughput(data: Path, repeats: int, tell: Tell) -> dict[str, Any]:
    """Rows a second and CPU seconds for a million rows, of alerts and of vulnerabilities."""
    costs: dict[str, list[Cost]] = {"vulnerability": [], "alert": []}
    for number in range(repeats):
        for stream, measured in costs.items():
            measured.append(collect(data, stream))
            tell(f"null sink {number + 1}/{repeats}: {stream} {_said(measured[-1])}")
    return {
        stream: {
            "rows_per_s": spread([cost.rows / cost.wall_s for cost in measured]),
            "cpu_s_per_million": spread([cost.cpu_s / cost.rows * MILLION for cost in measured]),
        }
        for stream, measured in costs.items()
    }


def memory_and_growth(
    data: Path, rows: int, sizes: list[int], base: int, repeats: int, tell: Tell
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Peak memory at ``sizes`` rows, and CPU time per row at 10 and 100 times ``base`` rows.

    ``rows`` are in the rendered export, which is served as often as is needed.
    """
    growth = [base, base * 10, base * 100]
    costs: dict[int, list[Cost]] = {size: [] for size in sorted({*sizes, *growth})}
    for number in range(repeats):
        for size, measured in costs.items():
            measured.append(collect(data, "vulnerability", times=math.ceil(size / rows), most=size))
            tell(f"growth {number + 1}/{repeats}: {size} rows, {_said(measured[-1])}")
    per_row = {size: [cost.cpu_s / cost.rows for cost in costs[size]] for size in growth}
    memory = {str(size): spread([cost.memory_mb for cost in costs[size]]) for size in sizes}
    grown = {
        f"{factor}x": spread(
            [many / few for few, many in zip(per_row[base], per_row[base * factor], strict=True)]
        )
        for factor in (10, 100)
    }
    return memory, grown


def idle_poll(data: Path, repeats: int, tell: Tell) -> dict[str, Any]:
    """What a pass over all streams costs when there is nothing new, for each stream."""
    cpu_ms, to_tenant, to_engine = [], [], []
    for number in range(repeats):
        with tenant(data) as at, sink() as engine, tempfile.TemporaryDirectory() as folder:
            options = settings(at, engine.url, Path(folder) / "state.sqlite3")
            job = Job(options, [], core=cores()[0], polls=_POLLS)
            streams = 4
            cost = measure(job)
            cpu_ms.append(sum(cost.poll_cpu_ms) / _POLLS / streams)
            to_tenant.append(sum(cost.poll_requests) / _POLLS / streams)
            to_engine.append(cost.poll_engine_requests / _POLLS / streams)
        tell(f"idle poll {number + 1}/{repeats}: {cpu_ms[-1]:.1f} ms a stream")
    return {
        "cpu_ms": spread(cpu_ms),
        "tenant_requests": spread(to_tenant),
        "engine_requests": spread(to_engine),
    }


def collect(data: Path, stream: str, *, times: int = 1, most: int | None = None) -> Cost:
    """One pass over ``stream`` of a fresh collector that knows the machines."""
    with tenant(data, times, most) as at, sink() as engine, tempfile.TemporaryDirectory() as folder:
        options = settings(at, engine.url, Path(folder) / "state.sqlite3")
        return measure(Job(options, [stream], before=["machine"], core=cores()[0]))


def _said(cost: Cost) -> str:
    return (
        f"{cost.rows / cost.wall_s:,.0f} rows/s, {cost.cpu_s / cost.rows * MILLION:.1f} CPU s "
        f"per million, {cost.memory_mb:.0f} MB"
    )

"""The collector alone: a tenant that serves what was rendered, and a sink that only answers."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.collector_job import Cost, Job, Told
from tests.bench.processes import cores, measure, settings, sink, tenant
from tests.bench.spread import rounded_to, spread

Tell = Callable[[str], None]

MILLION = 1_000_000


def throughput(data: Path, rows: int, times: int, repeats: int, tell: Tell) -> dict[str, Any]:
    """Rows a second and CPU seconds for a million rows, of vulnerabilities and of alerts.

    ``rows`` vulnerabilities, for which the rendered export is served ``times`` over.
    """
    costs: dict[str, list[Cost]] = {"vulnerability": [], "alert": []}
    for number in range(repeats):
        for stream, measured in costs.items():
            measured.append(collect(data, stream, times=times, most=rows))
            tell(f"null sink {number + 1}/{repeats}: {stream} {_said(measured[-1])}")
    return {stream: _throughput(measured) for stream, measured in costs.items()}


def _throughput(costs: list[Cost]) -> dict[str, Any]:
    rows = costs[-1].rows
    return {
        "rows": rows,
        "sent_bytes_per_row": rounded_to(_of(costs[-1].sink).bytes / rows),
        "rows_per_s": spread([cost.rows / cost.wall_s for cost in costs]),
        "cpu_s_per_million": spread([cost.cpu_s / cost.rows * MILLION for cost in costs]),
        # How busy the servers keep their core, which they share. Near 1 they would be measured.
        "tenant_busy": spread([_of(cost.tenant).cpu_s / cost.wall_s for cost in costs]),
        "sink_busy": spread([_of(cost.sink).cpu_s / cost.wall_s for cost in costs]),
    }


def memory_and_growth(
    data: Path,
    rendered: int,
    sizes: list[int],
    base: int,
    repeats: int,
    tell: Tell,
    factors: tuple[int, ...] = (10, 100),
) -> dict[str, Any]:
    """Peak memory at ``sizes`` rows, and time per row at ``factors`` times ``base`` rows.

    ``rendered`` rows are in the rendered export, which is served as often as is needed.
    """
    growth = [base, *(base * factor for factor in factors)]
    costs: dict[int, list[Cost]] = {size: [] for size in sorted({*sizes, *growth})}
    for number in range(repeats):
        for size, measured in costs.items():
            times = math.ceil(size / rendered)
            measured.append(collect(data, "vulnerability", times=times, most=size))
            tell(f"growth {number + 1}/{repeats}: {size:,} rows, {_said(measured[-1])}")
    per_row = {size: [cost.wall_s / cost.rows for cost in costs[size]] for size in growth}
    return {
        "peak_memory_mb": {
            str(size): spread([cost.memory_mb for cost in costs[size]]) for size in sizes
        },
        "growth": {
            "microseconds_per_row": {
                str(size): spread([each * MILLION for each in runs])
                for size, runs in per_row.items()
            },
            **{f"{factor}x": grown(per_row[base], per_row[base * factor]) for factor in factors},
        },
    }


def grown(few: list[float], many: list[float]) -> dict[str, Any]:
    """How many times as much a row costs among ``many`` as among ``few``; 1 is no growth."""
    return spread([after / before for before, after in zip(few, many, strict=True)])


def idle_poll(data: Path, rows: int, polls: int, repeats: int, tell: Tell) -> dict[str, Any]:
    """What a pass over a stream costs when there is nothing new, for each stream."""
    runs = []
    for number in range(repeats):
        with (
            tenant(data, most=rows) as at,
            sink() as engine,
            tempfile.TemporaryDirectory() as folder,
        ):
            options = settings(at, engine.url, Path(folder) / "state.sqlite3")
            job = Job(options, [], core=cores()[0], servers_tell=True, idle_polls=polls)
            runs.append(measure(job).polls)
        said = ", ".join(f"{stream} {poll.cpu_ms:.1f} ms" for stream, poll in runs[-1].items())
        tell(f"idle poll {number + 1}/{repeats}: {said}")
    return {
        stream: {
            what: spread([getattr(run[stream], what) for run in runs])
            for what in ("cpu_ms", "tenant_requests", "engine_requests")
        }
        for stream in runs[0]
    }


def collect(data: Path, stream: str, *, times: int = 1, most: int = 0, alerts: int = 0) -> Cost:
    """One pass over ``stream`` of a fresh collector that knows the machines."""
    with (
        tenant(data, times=times, most=most, alerts=alerts) as at,
        sink() as engine,
        tempfile.TemporaryDirectory() as folder,
    ):
        options = settings(at, engine.url, Path(folder) / "state.sqlite3")
        job = Job(options, [stream], before=["machine"], core=cores()[0], servers_tell=True)
        cost = measure(job)
    sent = _of(cost.sink).documents.get(f"logs-aquila_mde.{stream}-default", 0)
    if sent != cost.rows:
        raise RuntimeError(f"{cost.rows} rows of {stream} were read, but {sent} sent")
    return cost


def _of(side: Told | None) -> Told:
    assert side is not None
    return side


def _said(cost: Cost) -> str:
    return (
        f"{cost.rows / cost.wall_s:,.0f} rows/s, {cost.cpu_s / cost.rows * MILLION:.1f} CPU s "
        f"per million, {cost.memory_mb:.0f} MB"
    )

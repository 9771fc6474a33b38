"""One measured run of the collector in a process of its own; prints what it cost as JSON.

The argument is a :class:`Job` as JSON. Streams that others are joined with may be read before the
measurement begins, as they are in a collector that has been at work for a while.
"""

from __future__ import annotations

import asyncio
import cProfile
import logging
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import msgspec

from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.settings import Settings
from aquila_mde.streams.tree import PackageTree


class Job(msgspec.Struct):
    """What to collect. ``settings`` are those of a settings file."""

    settings: dict[str, Any]
    streams: list[str]
    before: list[str] = []
    core: int | None = None
    """The core that the process may use, or any."""
    polls: int = 0
    """Passes of all streams, after the first, in which there is nothing new."""
    profile: str | None = None
    """File for a profile by CPU time, which makes the run several times as long."""


class Cost(msgspec.Struct):
    """What it took: seconds, and the largest resident memory of the process."""

    rows: int
    wall_s: float
    cpu_s: float
    memory_mb: float
    requests: int
    poll_cpu_ms: list[float] = []
    poll_requests: list[int] = []
    """Requests to the tenant, in each of the polls."""
    poll_engine_requests: int = 0
    """Requests to the engine, in all of the polls."""


async def run(job: Job) -> Cost:
    """Run ``job`` in this process."""
    settings = Settings.model_validate(job.settings)
    async with await Collector.open(settings, PackageTree.default(), retry_wait=False) as collector:
        if job.before:
            _without_errors(await collector.collect(job.before))
        profile = cProfile.Profile(time.process_time) if job.profile else nullcontext()
        began, cpu = time.perf_counter(), time.process_time()
        with profile:
            reports = _without_errors(await collector.collect(job.streams))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        if isinstance(profile, cProfile.Profile):
            profile.dump_stats(str(job.profile))
        cost = Cost(
            rows=sum(report.records for report in reports),
            wall_s=wall,
            cpu_s=cpu,
            memory_mb=peak_memory_mb(),
            requests=sum(report.requests for report in reports),
        )
        engine_url = settings.elasticsearch.url
        if job.polls:
            _asked(engine_url)
        for _ in range(job.polls):
            before = time.process_time()
            reports = _without_errors(await collector.collect(job.streams))
            cost.poll_cpu_ms.append((time.process_time() - before) * 1_000)
            cost.poll_requests.append(sum(report.requests for report in reports))
        if job.polls:
            cost.poll_engine_requests = _asked(engine_url)
        return cost


def _asked(sink_url: str) -> int:
    """How many requests the sink has had since this was asked last."""
    answer = httpx.get(f"{sink_url}/_told", trust_env=False)
    return int(answer.json()["requests"])


def _without_errors(reports: list[StreamReport]) -> list[StreamReport]:
    for report in reports:
        if report.error is not None:
            raise report.error
    return reports


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far."""
    # Not ru_maxrss: that begins with what the parent process had when it started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def main() -> None:
    """Entry of the process."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    logging.disable(logging.CRITICAL)
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    cost = asyncio.run(run(job))
    sys.stdout.write(msgspec.json.encode(cost).decode() + "\n")


if __name__ == "__main__":
    main()

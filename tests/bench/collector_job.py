"""One measured run of the collector in a process of its own; prints what it cost as JSON.

The argument is a :class:`Job` as JSON. Streams that others are joined with may be read before the
measurement begins, as they are in a collector that has been at work for a while.
"""

from __future__ import annotations

import asyncio
import cProfile
import logging
import os
import ssl
import sys
import time
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

import httpx
import msgspec

from aquila_mde.collect.outlet import Outlet
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
    servers_tell: bool = False
    """Whether both sides are servers of this folder, which say what they were asked."""
    tenants: int = 1
    """How many tenants the process holds: the same one, each with a state and a namespace."""
    idle_polls: int = 0
    """Passes of each stream, after the first of all, in which there is nothing new."""
    profile: str | None = None
    """File for a profile by CPU time, which makes the run several times as long."""


class Told(msgspec.Struct):
    """What a server of this folder has done since it was last asked."""

    requests: int
    cpu_s: float
    documents: dict[str, int] = {}
    """How many the sink was sent, by the index in the address."""
    bytes: int = 0


class Poll(msgspec.Struct):
    """What one pass of a stream costs in which there is nothing new, on average."""

    cpu_ms: float
    tenant_requests: float
    engine_requests: float


class Cost(msgspec.Struct):
    """What it took: seconds, and the largest resident memory of the process."""

    rows: int
    wall_s: float
    cpu_s: float
    memory_mb: float
    tenant: Told | None = None
    sink: Told | None = None
    polls: dict[str, Poll] = {}
    """By stream."""


async def run(job: Job) -> Cost:
    """Run ``job`` in this process."""
    settings = Settings.model_validate(job.settings)
    tree = PackageTree.default()
    async with (
        await Outlet.open(settings.elasticsearch, retry_wait=False) as outlet,
        await Collector.open(settings, tree, retry_wait=False, outlet=outlet) as collector,
    ):
        if job.before:
            _without_errors(await collector.collect(job.before))
        if job.servers_tell:
            _told(settings)
        profile = cProfile.Profile(time.process_time) if job.profile else nullcontext()
        began, cpu = time.perf_counter(), time.process_time()
        with profile:
            reports = _without_errors(await collector.collect(job.streams))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        if isinstance(profile, cProfile.Profile):
            profile.dump_stats(str(job.profile))
        rows = sum(report.records for report in reports)
        async with AsyncExitStack() as others:
            for number in range(1, job.tenants):
                opened = await Collector.open(_other(settings, number), tree, outlet=outlet)
                other = await others.enter_async_context(opened)
                _without_errors(await other.collect(job.streams))
        cost = Cost(rows=rows, wall_s=wall, cpu_s=cpu, memory_mb=peak_memory_mb())
        if job.servers_tell:
            cost.tenant, cost.sink = _told(settings)
        if job.idle_polls:
            for stream in collector.streams:
                cost.polls[stream.name] = await _idle(job, settings, collector, stream.name)
        return cost


def _other(settings: Settings, number: int) -> Settings:
    name = {"name": f"bench-{number}", "namespace": f"bench_{number}"}
    state = Path(settings.state).with_name(f"state-{number}.sqlite3")
    tenant = settings.tenant.model_copy(update=name)
    return settings.model_copy(update={"tenant": tenant, "state": state})


async def _idle(job: Job, settings: Settings, collector: Collector, stream: str) -> Poll:
    _told(settings)
    began = time.process_time()
    for _ in range(job.idle_polls):
        reports = _without_errors(await collector.collect([stream]))
        if new := sum(report.created for report in reports):
            raise RuntimeError(f"a poll of {stream} that should find nothing new sent {new}")
    cpu = time.process_time() - began
    tenant, sink = _told(settings)
    number = job.idle_polls
    return Poll(cpu * 1_000 / number, tenant.requests / number, sink.requests / number)


def _told(settings: Settings) -> tuple[Told, Told]:
    """What tenant and sink have done since they were asked last."""
    trusted = ssl.create_default_context(cafile=settings.tenant.ca_file)
    with httpx.Client(verify=trusted, trust_env=False) as client:
        tenant, sink = (
            msgspec.json.decode(client.get(f"{url}/_told").content, type=Told)
            for url in (settings.tenant.api_url, settings.elasticsearch.url)
        )
    return tenant, sink


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

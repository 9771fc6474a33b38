"""One tenant, one collector, one engine with a proxy in front, and what was ever true of them.

Everything that happens to the tenant goes through :class:`World`, which writes down each version
that could be read at any time. So the index can be held against the tenant at the end, whatever
happened in between: what is there now must be indexed, and nothing else than what was there once.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.faults.engine_proxy import EngineProxy
from tests.system.conftest import STREAMS, Job

from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.simulator.truth import VersionKey, version_key
from aquila_mde.streams.collect_spec import CollectSpec
from aquila_mde.streams.stream import load_streams

SECOND = 10_000_000
START = "2026-03-02T06:00:00Z"
"""When the first export of a simulated tenant was made."""
_PROGRAM = """
import functools, sys, time
sys.argv[0] = "aquila-mde"
from aquila_mde.collect import engine_lease, runner
from tests.system.stateless import QUICK
engine_lease.PACE = QUICK
began = time.monotonic_ns()
runner.now_ticks = lambda: {now} + (time.monotonic_ns() - began) // 100
runner.Collector.open = functools.partial(runner.Collector.open, retry_wait=False)
from aquila_mde.collect import backfill, reconcile
backfill.backfill = functools.partial(backfill.backfill, retry_wait=False)
reconcile.reconcile = functools.partial(reconcile.reconcile, retry_wait=False)
from aquila_mde.cli import main
main()
"""
MachineState = tuple[VersionKey, str]


class World:
    """A job whose engine is behind ``proxy``; ``clock`` is how far the collector's clock is off."""

    def __init__(self, job: Job, proxy: EngineProxy) -> None:
        self.direct = job
        self.job = replace(job, engine_url=proxy.url)
        self.proxy = proxy
        self.control = job.simulator.control
        self.clock = timedelta(0)
        self.specs: dict[str, CollectSpec] = {
            stream.name: stream.collect for stream in load_streams(job.tree)
        }
        self.seen: dict[str, dict[VersionKey, set[str]]] = {
            stream: defaultdict(set) for stream in STREAMS
        }
        """For each version that could ever be read: the contents that it had."""
        self.machine_turns: Counter[MachineState] = Counter()
        """How often a machine came into a state."""
        self._machine_now: dict[str, MachineState] = {}
        self.lost_states = 0
        self.chain_lost = False
        """Whether the state was lost when the engine did not hold yet where the changes go on."""
        self.kills = 0
        self.cut_offs = 0
        """Passes in this process that were ended as a kill would end them."""
        self.tenant_hits: Counter[str] = Counter()
        self._generated = 0
        self._began = time.monotonic_ns()
        self.note()

    # What is true

    def note(self) -> None:
        """Write down every version that can be read now."""
        with self.control._tenant.lock:
            self.control._tenant.settle()
            for stream in ("alert", "machine", "machine_action"):
                for record in self.control.records(stream):
                    self._add(stream, self.specs[stream], record)
            # Rows are what they were in the newest snapshot.
            generated = self.control._tenant.export.current.generated
            if generated != self._generated:
                self._generated = generated
                spec = self.specs["vulnerability"]
                for record in self.control.records("vulnerability"):
                    self._add("vulnerability", spec, record)
                for record in self.control.changes(START):
                    self._add("vulnerability", spec.for_changes(), record)
            for record in self.control.records("machine"):
                state = machine_state(self.specs["machine"], record)
                if self._machine_now.get(record["id"]) != state:
                    self._machine_now[record["id"]] = state
                    self.machine_turns[state] += 1

    def _add(self, stream: str, spec: CollectSpec, record: dict[str, Any]) -> None:
        self.seen[stream][version_key(spec, record)].add(content(record))

    def change(self, what: Callable[[], Any]) -> None:
        """Let something happen to the tenant."""
        what()
        self.note()

    def pass_time(self, span: timedelta) -> None:
        """The tenant's clock, and the collector's with it."""
        self.change(lambda: self.control.advance(span))

    # The collector

    def now(self) -> int:
        """The collector's clock, in ticks."""
        passed = (time.monotonic_ns() - self._began) // 100
        moment = self.control.now + self.clock
        return int(moment.timestamp()) * SECOND + moment.microsecond * 10 + passed

    async def open(self) -> Collector:
        """A collector in this process."""
        return await Collector.open(
            self.job.settings(), self.job.tree, retry_wait=False, now=self.now
        )

    async def collect(self, *names: str) -> list[StreamReport]:
        """One pass by a collector that is opened for it."""
        async with await self.open() as collector:
            return await collector.collect(names or None)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A command in a process of its own; else a collector: one pass over all streams."""
        output = self.job.folder / "process.log"
        with output.open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _PROGRAM.format(now=self.now()),
                    *(command or ("collect",)),
                    "--config",
                    str(self.job.config()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def state_files(self) -> list[Path]:
        """The files of the state that are there."""
        return [
            file
            for suffix in ("", "-wal", "-shm")
            if (file := self.job.state.with_name(self.job.state.name + suffix)).exists()
        ]

    def copy_state(self, to: Path) -> None:
        """What a kill now would leave of the state."""
        with (
            closing(sqlite3.connect(self.job.state)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)

    def put_state(self, copy: Path) -> None:
        """Go on with a copy of the state."""
        for file in self.state_files():
            file.unlink()
        if copy.exists():
            shutil.move(copy, self.job.state)

    def lose_state(self) -> None:
        """The state file is gone."""
        for stream in ("checkpoint", *STREAMS):
            self.direct.ask("POST", f"/{self.direct.index(stream)}*/_refresh")
        held = self.direct.ask(
            "POST",
            f"/{self.direct.index('checkpoint')}*/_count",
            {"query": {"term": {"mde.checkpoint.stream": "vulnerability"}}},
        )
        self.chain_lost = self.chain_lost or not held["count"]
        if self.job.stateless:
            self.direct.ask("DELETE", f"/{self.direct.state_index}?ignore_unavailable=true")
        for file in self.state_files():
            file.unlink()
        self.lost_states += 1

    def count_hits(self) -> None:
        """Count the faults of the tenant that hit since the last time."""
        for request in self.control.requests:
            if request.fault:
                self.tenant_hits[f"tenant {request.fault}"] += 1
        self.control.clear_requests()

    # The engine

    def data_streams(self) -> set[str]:
        """The data streams of this job that are there."""
        found = self.direct.ask("GET", f"/_data_stream/logs-*-{self.direct.namespace}")
        return {each["name"] for each in found["data_streams"]}

    def rollover(self, stream: str) -> None:
        """Begin a new backing index, if there is a data stream yet."""
        if self.direct.index(stream) in self.data_streams():
            self.direct.rollover(stream)


def content(record: dict[str, Any]) -> str:
    """A record to the letter, whatever the order of its properties."""
    # The truth of the tenant has the digest; a spec of one part is all it needs.
    return repr(sorted((name, _plain(value)) for name, value in record.items()))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{k}:{_plain(v)}" for k, v in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_plain, value)) + "]"
    return repr(value)


def machine_state(spec: CollectSpec, record: dict[str, Any]) -> MachineState:
    """What makes two documents of one machine different ones: its content, and the day."""
    kept = dict(record)
    # collect.yml leaves these out, which the tenant's own account does not.
    kept["ipAddresses"] = [
        {name: value for name, value in each.items() if name not in ("operationalStatus", "type")}
        for each in record.get("ipAddresses") or ()
    ]
    return version_key(spec, kept), str(record.get("lastSeen"))[:10]


def one_of(found: Iterable[str], number: int) -> str | None:
    """One of ``found``, whatever ``number`` is; the newest for 0."""
    held = list(found)
    return held[-1 - number % len(held)] if held else None

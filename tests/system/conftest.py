"""The whole way of a record: a simulated tenant, the collector, a real engine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from aquila_mde.collect import engine_lease
from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.collect.state_place import open_view
from aquila_mde.collect.state_view import StateView
from aquila_mde.demo.comparison import Comparison, compare
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.client import Engine
from aquila_mde.settings import (
    ElasticsearchSettings,
    Settings,
    TenantSettings,
    load_settings,
)
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree
from tests.plugins.tally import Tally
from tests.system.stateless import QUICK

STREAMS = ("alert", "machine", "machine_action", "vulnerability")


@dataclass(frozen=True)
class Job:
    """One collector's world: where it reads, where it writes, what it remembers."""

    simulator: SimulatorServer
    engine_url: str
    namespace: str
    folder: Path
    tree: PackageTree
    stateless: bool = False
    """Whether the state is kept in the engine."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further settings."""

    @property
    def state(self) -> Path:
        return self.folder / "state.sqlite3"

    def values(self) -> dict[str, Any]:
        values = self.simulator.settings()
        values["tenant"]["namespace"] = self.namespace
        values["elasticsearch"] = {"url": self.engine_url}
        values["state"] = "elasticsearch" if self.stateless else str(self.state)
        return values | self.more

    def config(self, **changes: Any) -> Path:
        """A settings file; ``changes`` replace whole sections or keys of the tenant."""
        values = self.values()
        for key, value in changes.items():
            section = values["tenant"] if key in TenantSettings.model_fields else values
            section[key] = value
        file = self.folder / "settings.yml"
        # In one step: a process that was just started may be reading it.
        written = file.with_suffix(".new")
        written.write_text(yaml.safe_dump(values))
        return written.replace(file)

    def settings(self) -> Settings:
        return load_settings(self.config(), environment={}).only()

    def index(self, stream: str) -> str:
        return f"logs-aquila_mde.{stream}-{self.namespace}"

    async def open(self) -> Collector:
        return await Collector.open(self.settings(), self.tree, retry_wait=False)

    async def collect(self, *names: str) -> dict[str, StreamReport]:
        """One pass by a collector that is opened for it; an error of a stream is raised."""
        async with await self.open() as collector:
            reports = await collector.collect(names or None)
        for report in reports:
            if report.error is not None:
                raise report.error
        return {report.stream: report for report in reports}

    def lose_state(self) -> None:
        if self.stateless:
            self.ask("DELETE", f"/{self.state_index}")
        else:
            self.state.unlink()

    @property
    def state_index(self) -> str:
        return f"aquila_mde-state-{self.namespace}"

    @asynccontextmanager
    async def view(self) -> AsyncIterator[StateView]:
        """The state, beside a collector that may be at work."""
        async with await self.engine() as engine:
            with closing(await open_view(self.settings(), engine)) as view:
                yield view

    async def compare(self, stream: str) -> Comparison:
        """Tenant against index."""
        async with await self.engine() as engine:
            return await compare(
                engine,
                stream,
                self.index(stream),
                self.index("dead_letter"),
                self.simulator.control.versions(stream),
            )

    async def engine(self) -> Engine:
        return await Engine.connect(ElasticsearchSettings(url=self.engine_url))

    def command(self, *arguments: str) -> str:
        """What ``aquila-mde`` prints with the settings of this job; it must end well."""
        words = [*arguments, "--config", str(self.config())]
        code = "from aquila_mde.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        with httpx.Client(base_url=self.engine_url, trust_env=False, timeout=60) as client:
            answer = client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    def documents(self, stream: str, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The sources of up to 10,000 documents."""
        self.ask("POST", f"/{self.index(stream)}/_refresh")
        body = {"size": 10_000, "query": query or {"match_all": {}}}
        found = self.ask("POST", f"/{self.index(stream)}/_search", body)
        return [hit["_source"] for hit in found["hits"]["hits"]]

    def rollover(self, stream: str) -> None:
        assert self.ask("POST", f"/{self.index(stream)}/_rollover")["rolled_over"]

    def with_tree(self, tree: PackageTree) -> Job:
        return replace(self, tree=tree)


@pytest.fixture(scope="module")
def installed(engine_url: str) -> str:
    """The engine with the package's objects on it, whatever other tests have done to it."""

    async def put() -> None:
        async with await Engine.connect(ElasticsearchSettings(url=engine_url)) as engine:
            await install(engine, PackageTree.default())

    asyncio.run(put())
    return engine_url


IN_BOTH = pytest.mark.parametrize("state_kind", ["file", "engine"])
"""Runs a test with a state in a file and with one in the engine."""


@pytest.fixture
def job(
    installed: str,
    namespace: str,
    tmp_path: Path,
    state_kind: str,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Job]]:
    """Makes a job on a tenant of its own; nothing happens in it by itself.

    The faults that its tenant played are counted at the end.
    """
    monkeypatch.setattr(engine_lease, "PACE", QUICK)
    servers: list[SimulatorServer] = []

    def make(**options: Any) -> Job:
        sizes = {"machines": 30, "alerts": 0, "actions": 0, "vulnerabilities": 0}
        server = SimulatorServer(**sizes | {"activity": 0, "quota_scale": None} | options)
        servers.append(server)
        tree = options.get("tree") or PackageTree.default()
        return Job(server, installed, namespace, tmp_path, tree, state_kind == "engine")

    yield make
    httpx.delete(f"{installed}/aquila_mde-state-{namespace}")
    for server in servers:
        for kind, times in server.control.faults_played.items():
            tally.fault(f"tenant {kind}", times)
        server.close()

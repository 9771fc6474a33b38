"""The whole way of a record: a simulated tenant, the collector, a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from aquila_mde.collect.runner import Collector, StreamReport
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

STREAMS = ("alert", "machine", "machine_action", "vulnerability")


@dataclass(frozen=True)
class Job:
    """One collector's world: where it reads, where it writes, what it remembers."""

    simulator: SimulatorServer
    engine_url: str
    namespace: str
    folder: Path
    tree: PackageTree

    @property
    def state(self) -> Path:
        return self.folder / "state.sqlite3"

    def values(self) -> dict[str, Any]:
        values = self.simulator.settings()
        values["tenant"]["namespace"] = self.namespace
        values["elasticsearch"] = {"url": self.engine_url}
        values["state"] = str(self.state)
        return values

    def config(self, **changes: Any) -> Path:
        """A settings file; ``changes`` replace whole sections or keys of the tenant."""
        values = self.values()
        for key, value in changes.items():
            section = values["tenant"] if key in TenantSettings.model_fields else values
            section[key] = value
        file = self.folder / "settings.yml"
        file.write_text(yaml.safe_dump(values))
        return file

    def settings(self) -> Settings:
        return load_settings(self.config(), environment={})

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


@pytest.fixture(scope="session")
def installed(engine_url: str) -> str:
    """The engine with the package's objects on it."""

    async def put() -> None:
        async with await Engine.connect(ElasticsearchSettings(url=engine_url)) as engine:
            await install(engine, PackageTree.default())

    asyncio.run(put())
    return engine_url


@pytest.fixture
def job(
    installed: str, namespace: str, tmp_path: Path, tally: Tally
) -> Iterator[Callable[..., Job]]:
    """Makes a job on a tenant of its own; nothing happens in it by itself.

    The faults that its tenant played are counted at the end.
    """
    servers: list[SimulatorServer] = []

    def make(**options: Any) -> Job:
        sizes = {"machines": 30, "alerts": 0, "actions": 0, "vulnerabilities": 0}
        server = SimulatorServer(**sizes | {"activity": 0, "quota_scale": None} | options)
        servers.append(server)
        tree = options.get("tree") or PackageTree.default()
        return Job(server, installed, namespace, tmp_path, tree)

    yield make
    for server in servers:
        for kind, times in server.control.faults_played.items():
            tally.fault(f"tenant {kind}", times)
        server.close()

"""A collector that hunts in a simulated tenant, with queries of its own."""

from __future__ import annotations

from typing import Any

from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.settings import Settings, load_settings
from tests.system.conftest import Job

PATH, GRAPH = "/api/advancedqueries/run", "/v1.0/security/runHuntingQuery"
EVERYTHING = """\
title: Everything
description: Every row of a table.
ids: [DeviceId, Timestamp, ReportId]
query: |
  DeviceFileEvents
  | where Timestamp >= WindowStart and Timestamp < WindowEnd
"""
SIZES = {"machines": 12, "alerts": 15, "actions": 0, "vulnerabilities": 0}


class Hunter:
    """A job that hunts, with queries of its own."""

    def __init__(self, work: Job, **hunting: Any) -> None:
        self.work = work
        self.control = work.simulator.control
        self.folder = work.folder / "queries"
        self.folder.mkdir(exist_ok=True)
        self.hunting = {"folder": str(self.folder)} | hunting
        self.stream: dict[str, Any] = {"enabled": True}

    def write(self, name: str, text: str) -> Hunter:
        (self.folder / f"{name}.yml").write_text(text)
        self.hunting.setdefault("queries", [])
        self.hunting["queries"].append(name)
        return self

    def settings(self) -> Settings:
        config = self.work.config(streams={"hunting": self.stream}, hunting=self.hunting)
        return load_settings(config, environment={}).only()

    def now(self) -> int:
        return int(self.control.now.timestamp() * 1_000_000) * 10

    async def open(self) -> Collector:
        return await Collector.open(self.settings(), self.work.tree, retry_wait=False, now=self.now)

    async def collect(self) -> StreamReport:
        async with await self.open() as collector:
            (report,) = await collector.collect(["hunting"])
        return report

    def documents(self, **where: str) -> list[dict[str, Any]]:
        terms = [{"term": {f"mde.hunting.{key}": value}} for key, value in where.items()]
        return self.work.documents("hunting", {"bool": {"filter": terms}})

    def count(self) -> int:
        index = self.work.index("hunting")
        self.work.ask("POST", f"/{index}/_refresh")
        return int(self.work.ask("GET", f"/{index}/_count")["count"])

    def requests(self, path: str = PATH) -> int:
        return sum(request.path == path for request in self.control.requests)


def rows(work: Hunter, *, since: str = "ago(1d)", table: str = "DeviceFileEvents") -> int:
    """How many rows the tenant has."""
    return len(work.control.hunt(f"{table} | where Timestamp >= {since}", graph=True))

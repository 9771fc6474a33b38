"""The documents that pipelines are measured with: those that the collector sends for a tenant.

The collector reads a simulated tenant into an engine that has no pipeline for them, and what lies
in the index then is what it sent, joins included.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from aquila_mde.collect.runner import Collector
from aquila_mde.settings import (
    ElasticsearchSettings,
    Settings,
    StreamSettings,
    TenantSettings,
)
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

Document = dict[str, Any]

_AT_ONCE = 100_000
_HUNTED = timedelta(days=7)


def sent_documents(
    engine: httpx.Client,
    *,
    machines: int,
    alerts: int,
    actions: int,
    vulnerabilities: int,
    hunting: bool = False,
) -> dict[str, list[Document]]:
    """What the collector sends of each stream for a tenant of this size, at most 100,000 each.

    With ``hunting`` the queries of the package are asked for the days that they may look back.
    """
    bases = [f"logs-{stream.dataset}" for stream in load_streams(PackageTree.default())]
    for base in bases:
        template = _unread(f"{base}-*")
        engine.put(f"/_index_template/{base}", json=template).raise_for_status()
    try:
        with (
            TemporaryDirectory(prefix="aquila-bench-") as folder,
            SimulatorServer(
                machines=machines,
                alerts=alerts,
                actions=actions,
                vulnerabilities=vulnerabilities,
                activity=0,
                quota_scale=None,
                now=datetime.now(UTC),
            ) as tenant,
        ):
            settings = Settings.model_construct(
                tenant=TenantSettings.model_validate(tenant.settings()["tenant"]),
                elasticsearch=ElasticsearchSettings(url=str(engine.base_url).rstrip("/")),
                state=Path(folder) / "state.sqlite3",
                streams={"hunting": StreamSettings(enabled=hunting, look_back=_HUNTED)},
                log_level="warning",
            )
            indices = asyncio.run(_collect(settings))
        return {stream: _read(engine, index) for stream, index in indices.items()}
    finally:
        for base in bases:
            engine.delete(f"/_data_stream/{base}-*").raise_for_status()
            engine.delete(f"/_index_template/{base}").raise_for_status()


def _unread(pattern: str) -> dict[str, Any]:
    """A template under whose name the collector finds what it takes for the package."""
    return {
        "index_patterns": [pattern],
        "priority": 1000,
        "data_stream": {},
        "template": {
            "settings": {"number_of_replicas": 0, "max_result_window": _AT_ONCE},
            "mappings": {"dynamic": False, "properties": {"@timestamp": {"type": "date"}}},
        },
    }


async def _collect(settings: Settings) -> dict[str, str]:
    async with await Collector.open(settings, PackageTree.default()) as collector:
        for report in await collector.collect():
            if report.error is not None:
                raise report.error
        namespace = settings.tenant.namespace
        return {stream.name: stream.index(namespace) for stream in collector.streams}


def _read(engine: httpx.Client, index: str) -> list[Document]:
    engine.post(f"/{index}/_refresh").raise_for_status()
    answer = engine.post(f"/{index}/_search", json={"size": _AT_ONCE})
    return [hit["_source"] for hit in answer.raise_for_status().json()["hits"]["hits"]]

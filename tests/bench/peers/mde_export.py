"""The export files through mde-client's downloader, which streams, and async_bulk."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx
from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_bulk
from mde_client import ViaFiles

from tests.bench.peers.job import run

_EXPORT = "/api/machines/SoftwareVulnerabilitiesExport"


class _Written:
    """Where the downloader puts its rows, batch after batch."""

    def __init__(self, search: AsyncElasticsearch, generated: str) -> None:
        self._search = search
        self._generated = generated
        self.created = 0

    async def extend(self, rows: list[dict[str, Any]]) -> None:
        actions = [
            {
                "_op_type": "create",
                "_index": "logs-vulnerabilities-default",
                "_id": row["Id"],
                "_source": {"@timestamp": self._generated, "defender": row},
            }
            for row in rows
        ]
        created, _ = await async_bulk(self._search, actions, chunk_size=2_000, stats_only=True)
        self.created += created


async def _work(tenant: str, ca_file: str, engine: str) -> int:
    # Its own call for the list of files waits for ten seconds, which would say nothing.
    trusted = ssl.create_default_context(cafile=ca_file)
    async with httpx.AsyncClient(base_url=tenant, verify=trusted, trust_env=False) as client:
        answer = (await client.get(_EXPORT)).json()
    async with AsyncElasticsearch(engine) as search:
        written = _Written(search, answer["generatedTime"])
        await ViaFiles().stream_export_files(answer["exportFiles"], written)
    return written.created


if __name__ == "__main__":
    run(lambda *told: asyncio.run(_work(*told)))

"""What a user would write for the export: httpx, gzip and json, and async_bulk."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_bulk

from tests.bench.peers.job import run

_EXPORT = "/api/machines/SoftwareVulnerabilitiesExport"


async def _rows(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    answer = (await client.get(_EXPORT)).json()
    for link in answer["exportFiles"]:
        content = (await client.get(link)).content
        for line in gzip.decompress(content).splitlines():
            row = json.loads(line)
            yield {
                "_op_type": "create",
                "_index": "logs-vulnerabilities-default",
                "_id": row["Id"],
                "_source": {"@timestamp": answer["generatedTime"], "defender": row},
            }


async def _work(tenant: str, ca_file: str, engine: str) -> int:
    trusted = ssl.create_default_context(cafile=ca_file)
    async with (
        httpx.AsyncClient(base_url=tenant, verify=trusted, trust_env=False) as client,
        AsyncElasticsearch(engine) as search,
    ):
        created, _ = await async_bulk(search, _rows(client), chunk_size=2_000, stats_only=True)
    return created


if __name__ == "__main__":
    run(lambda *told: asyncio.run(_work(*told)))

"""What a user would write: httpx reads page after page, async_bulk of elasticsearch-py writes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_bulk

from tests.bench.peers.job import run

_PAGE = 1_000


async def _alerts(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    skip = 0
    while True:
        params = {"$top": str(_PAGE), "$skip": str(skip), "$expand": "evidence"}
        page = (await client.get("/api/alerts", params=params)).json()["value"]
        for alert in page:
            yield {
                "_op_type": "create",
                "_index": "logs-alerts-default",
                "_id": f"{alert['id']}_{alert['lastUpdateTime']}",
                "_source": {"@timestamp": alert["lastUpdateTime"], "defender": alert},
            }
        if len(page) < _PAGE:
            return
        skip += len(page)


async def _work(tenant: str, ca_file: str, engine: str) -> int:
    trusted = ssl.create_default_context(cafile=ca_file)
    async with (
        httpx.AsyncClient(base_url=tenant, verify=trusted, trust_env=False) as client,
        AsyncElasticsearch(engine) as search,
    ):
        created, _ = await async_bulk(search, _alerts(client), chunk_size=_PAGE, stats_only=True)
    return created


if __name__ == "__main__":
    run(lambda *told: asyncio.run(_work(*told)))

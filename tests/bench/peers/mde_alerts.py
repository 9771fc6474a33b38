"""mde-client reads all alerts, the bulk helper of elasticsearch-py writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
from mde_client import MDEClient, client
from mde_client.endpoints.alerts import AlertsResults

from tests.bench.peers.job import run


class _SignedIn:
    """In place of a sign-in, which can only be one at Microsoft."""

    token = "a.e30.c"

    def __init__(self, *given: Any, **more: Any) -> None:
        pass


def _work(tenant: str, ca_file: str, engine: str) -> int:
    http = httpx.Client(base_url=tenant, timeout=120)
    client.MSALAuth = _SignedIn
    with MDEClient("bench", "bench", "bench", http_client=http) as defender:
        # get_all() has no way to ask for the evidence.
        alerts = AlertsResults(defender.alerts, {"$expand": "evidence"}).to_dicts()

    def actions() -> Iterator[dict[str, Any]]:
        for alert in alerts:
            yield {
                "_op_type": "create",
                "_index": "logs-alerts-default",
                "_id": f"{alert['id']}_{alert['lastUpdateTime'].isoformat()}",
                "_source": {"@timestamp": alert["lastUpdateTime"], "defender": alert},
            }

    with Elasticsearch(engine) as search:
        created, _ = bulk(search, actions(), chunk_size=1_000, stats_only=True)
    return created


if __name__ == "__main__":
    run(_work)

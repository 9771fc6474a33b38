"""dlt's REST source, and a destination that writes with the bulk helper of elasticsearch-py."""

from __future__ import annotations

import tempfile
from typing import Any

import dlt
import requests
from dlt.sources.rest_api import rest_api_source
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from tests.bench.peers.job import run


def _work(tenant: str, ca_file: str, engine: str) -> int:
    session = requests.Session()
    session.verify, session.trust_env = ca_file, False
    search = Elasticsearch(engine)
    written = []

    # Nested lists stay what they are; otherwise each alert would become rows of several tables.
    @dlt.destination(batch_size=1_000, skip_dlt_columns_and_tables=True, max_table_nesting=0)
    def elastic(items: Any, table: Any) -> None:
        actions = [
            {
                "_op_type": "create",
                "_index": "logs-alerts-default",
                "_id": f"{alert['id']}_{alert['lastUpdateTime']}",
                "_source": {"defender": alert},
            }
            for alert in items
        ]
        created, _ = bulk(search, actions, chunk_size=1_000, stats_only=True)
        written.append(created)

    source = rest_api_source(
        {
            "client": {"base_url": tenant, "session": session},
            "resources": [
                {
                    "name": "alerts",
                    "endpoint": {
                        "path": "/api/alerts",
                        "params": {"$expand": "evidence"},
                        "data_selector": "value",
                        "paginator": {
                            "type": "offset",
                            "limit": 1_000,
                            "limit_param": "$top",
                            "offset_param": "$skip",
                            "total_path": None,
                            "stop_after_empty_page": True,
                        },
                    },
                }
            ],
        }
    )
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as folder:
        pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=elastic)
        pipeline.run(source)
    return sum(written)


if __name__ == "__main__":
    run(_work)

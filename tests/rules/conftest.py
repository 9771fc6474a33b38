"""The records of all cases, sent through the pipelines of the package into a real engine."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.rules.cases import read_cases
from tests.system.conftest import installed, job

__all__ = ["installed", "job"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Index:
    """The data streams of one namespace."""

    url: str
    namespace: str

    async def search(self, indices: str, body: Json) -> Json:
        """As a rule asks, but only of this namespace."""
        own = indices.replace("-*", f"-{self.namespace}")
        params = {"ignore_unavailable": "true", "allow_no_indices": "true"}
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            answer = await client.post(f"/{own}/_search", params=params, json=body)
        assert answer.status_code == 200, answer.text[:2000]
        found: Json = answer.json()
        return found


@pytest.fixture(scope="module")
def index(installed: str) -> Iterator[Index]:
    """Where the records of all cases are, each at the time of its case."""
    namespace = f"r{uuid.uuid4().hex[:12]}"
    lines: list[str] = []
    sent: Counter[str] = Counter()
    for case in read_cases():
        for stream, document in case.documents():
            document["data_stream"]["namespace"] = namespace
            into = {"create": {"_index": f"logs-aquila_mde.{stream}-{namespace}"}}
            lines += [json.dumps(into), json.dumps(document)]
            sent[stream] += 1
    with httpx.Client(base_url=installed, trust_env=False, timeout=120) as client:
        answer = client.post(
            "/_bulk?refresh=true",
            content="\n".join(lines) + "\n",
            headers={"Content-Type": "application/x-ndjson"},
        ).json()
        assert not answer["errors"], answer
        failed = {"query": {"term": {"event.kind": "pipeline_error"}}}
        pattern = f"/logs-aquila_mde.*-{namespace}"
        assert client.post(f"{pattern}/_count", json=failed).json()["count"] == 0
        assert client.post(f"{pattern}/_count").json()["count"] == sum(sent.values())
        yield Index(installed, namespace)
        client.delete(f"/_data_stream/*-{namespace}").raise_for_status()

"""Indices with the mappings of the package that refuse whatever is not declared."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from aquila_mde.elastic import dialect
from aquila_mde.elastic.dialect import Flavour
from aquila_mde.elastic.mappings import field_tree, mappings_of, read_fields
from tests.pipeline.pipelines import TREE, Document


@dataclass
class StrictIndices:
    """Takes documents the way a data stream does, but with ``dynamic: strict``."""

    url: str
    _names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=120)
        version = self._http.get("/").json()["version"]
        self.flavour = cast("Flavour", version.get("distribution", "elasticsearch"))

    def name(self, stream: str) -> str:
        """The index of ``stream``, made at the first call."""
        if stream not in self._names:
            name = f"aquila-test-{stream}-{uuid.uuid4().hex[:8]}"
            mappings = mappings_of(field_tree(read_fields(TREE.root / "data_stream" / stream)))
            # The collector sends data_stream.namespace, which the first document would fix.
            mappings = dialect.mappings(mappings, self.flavour) | {"dynamic": "strict"}
            settings = {"number_of_replicas": 0, "mapping.total_fields.limit": 2000}
            body = {"settings": {"index": settings}, "mappings": mappings}
            answer = self._http.put(f"/{name}", json=body)
            assert answer.status_code == 200, answer.text[:2000]
            self._names[stream] = name
        return self._names[stream]

    def refusals(
        self, stream: str, documents: list[Document], *, pipeline: str | None = None
    ) -> list[str]:
        """Index ``documents``; what the engine says to each that it refuses."""
        lines: list[str] = []
        for one in documents:
            lines += ['{"index":{}}', json.dumps(one)]
        answer = self._http.post(
            f"/{self.name(stream)}/_bulk",
            params={"pipeline": pipeline} if pipeline else {},
            content="\n".join(lines) + "\n",
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 200, answer.text[:2000]
        items = [item["index"] for item in answer.json()["items"]]
        return [json.dumps(item["error"])[:1000] for item in items if "error" in item]

    def search(self, stream: str, query: Any) -> list[Document]:
        """The documents that ``query`` finds, once all that was sent is visible."""
        self._http.post(f"/{self.name(stream)}/_refresh").raise_for_status()
        answer = self._http.post(f"/{self.name(stream)}/_search", json={"query": query})
        assert answer.status_code == 200, answer.text[:2000]
        return [hit["_source"] for hit in answer.json()["hits"]["hits"]]

    def close(self) -> None:
        """Remove the indices."""
        for name in self._names.values():
            self._http.delete(f"/{name}").raise_for_status()
        self._http.close()

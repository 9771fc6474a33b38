"""The built pipelines of the package on a real engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from aquila_mde.streams.tree import PackageTree

Document = dict[str, Any]

TREE = PackageTree.default()
STREAMS = [path.name for path in TREE.data_streams() if (path / "mapping.yml").is_file()]


def built_pipeline(stream: str, tree: PackageTree = TREE) -> Any:
    """``default.yml`` of a stream as it is checked in."""
    file = tree.root / "data_stream" / stream / "elasticsearch/ingest_pipeline/default.yml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@dataclass
class Pipelines:
    """Runs documents through pipelines; each pipeline is put once, under a name of its own."""

    url: str
    prefix: str = "aquila-test"
    _put: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=120)

    def put(self, stream: str, pipeline: Any = None) -> str:
        """The name of the pipeline of ``stream``, which is on the engine afterwards."""
        name = f"{self.prefix}-{stream}"
        if name not in self._put:
            answer = self._http.put(
                f"/_ingest/pipeline/{name}", json=pipeline or built_pipeline(stream)
            )
            assert answer.status_code == 200, _refusal(answer)
            self._put.add(name)
        return name

    def run(self, stream: str, documents: list[Document]) -> list[Document]:
        """What becomes of ``documents``, in their order."""
        name = self.put(stream)
        made: list[Document] = []
        for start in range(0, len(documents), 500):
            part = [{"_source": one} for one in documents[start : start + 500]]
            answer = self._http.post(f"/_ingest/pipeline/{name}/_simulate", json={"docs": part})
            assert answer.status_code == 200, answer.text
            for one in answer.json()["docs"]:
                assert "doc" in one, one
                made.append(one["doc"]["_source"])
        return made

    def close(self) -> None:
        """Remove the pipelines from the engine."""
        for name in self._put:
            self._http.delete(f"/_ingest/pipeline/{name}").raise_for_status()
        self._http.close()


def _refusal(answer: httpx.Response) -> str:
    """What the engine says, without the whole script."""
    error = answer.json()["error"]
    cause = error["root_cause"][0]
    return f"{cause.get('reason')} {cause.get('script_stack')} {error.get('caused_by')}"


def document(
    stream: str,
    record: object,
    *,
    join: Document | None = None,
    tags: list[str] | None = None,
) -> Document:
    """A document as the collector sends it; ``record`` is raw text or becomes JSON text."""
    tenant = {
        "id": "5d6f2c1e-8a55-4c7e-9a53-0d1c7e6a4b11",
        "name": "contoso",
        "portal": "https://security.microsoft.com",
    }
    made: Document = {
        "@timestamp": "2026-03-02T08:00:00.000Z",
        "message": record if isinstance(record, str) else json.dumps(record),
        "data_stream": {
            "type": "logs",
            "dataset": f"aquila_mde.{stream}",
            "namespace": "default",
        },
        "mde": {"join": {"tenant": tenant, **(join or {})}},
    }
    return made if tags is None else made | {"tags": tags}


def golden_files() -> list[Path]:
    """Every input of the golden pairs."""
    return sorted(
        file
        for file in (TREE.root / "data_stream").glob("*/_dev/test/pipeline/test-*.json")
        if not file.stem.endswith("-expected")
    )

"""Small package trees, each with a name of its own so that tests share an engine in peace."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import yaml

from aquila_mde.streams.tree import PackageTree

BASE_FIELDS = [
    {"name": "@timestamp", "type": "date"},
    {"name": "data_stream.type", "type": "constant_keyword"},
    {"name": "data_stream.dataset", "type": "constant_keyword"},
    {"name": "data_stream.namespace", "type": "constant_keyword"},
]
LATEST_FIELDS = [
    {"name": "@timestamp", "type": "date"},
    {"name": "event.ingested", "type": "date"},
    {"name": "organization.id", "type": "keyword"},
    {"name": "data_stream.namespace", "type": "keyword"},
    {"name": "thing", "type": "keyword"},
]
PIPELINE = {
    "description": "Reads the record.",
    "processors": [{"set": {"field": "event.kind", "value": "alert", "tag": "kind"}}],
}
POLICY = {
    "policy": {
        "phases": {
            "hot": {"actions": {"rollover": {"max_age": "30d", "max_primary_shard_size": "50gb"}}},
            "delete": {"min_age": "90d", "actions": {"delete": {}}},
        }
    }
}


class Tree:
    """A package with one data stream ``alert``; ``name`` is unique."""

    def __init__(self, root: Path, *, name: str = "", version: str = "0.1.0") -> None:
        self.root = root
        self.name = name or f"aq{uuid.uuid4().hex[:10]}"
        self.stream = root / "data_stream" / "alert"
        self.base = f"logs-{self.name}.alert"
        self.index = f"{self.base}-default"
        self.version(version)
        self.yaml(
            "data_stream/alert/manifest.yml",
            {
                "title": "Alerts",
                "type": "logs",
                "dataset": f"{self.name}.alert",
                "ilm_policy": f"{self.base}-default_policy",
            },
        )
        self.fields(*BASE_FIELDS)
        self.pipeline("default", PIPELINE)
        self.write("data_stream/alert/elasticsearch/ilm/default_policy.json", json.dumps(POLICY))

    @property
    def tree(self) -> PackageTree:
        return PackageTree(self.root)

    def version(self, version: str) -> None:
        self.yaml("manifest.yml", {"name": self.name, "version": version})

    def manifest(self, **values: Any) -> None:
        """Add to the manifest of the data stream."""
        file = self.stream / "manifest.yml"
        self.yaml(
            "data_stream/alert/manifest.yml", yaml.safe_load(file.read_text("utf-8")) | values
        )

    def fields(self, *fields: dict[str, Any]) -> None:
        self.yaml("data_stream/alert/fields/base-fields.yml", list(fields))

    def pipeline(self, name: str, body: dict[str, Any]) -> None:
        self.yaml(f"data_stream/alert/elasticsearch/ingest_pipeline/{name}.yml", body)

    def transform(self, *fields: dict[str, Any], version: int = 1, **changes: Any) -> None:
        """Keep the newest version of each ``thing``; ``changes`` are to the definition."""
        folder = "package/elasticsearch/transform/latest_alert"
        alias = f"security_solution-{self.name}.alert_latest"
        definition = {
            "source": {
                "index": [f"{self.base}-*"],
                "query": {"bool": {"must_not": [{"exists": {"field": "error.message"}}]}},
            },
            "dest": {
                "index": f"{alias}-v{version}",
                "aliases": [{"alias": alias, "move_on_creation": True}],
            },
            "latest": {
                "unique_key": ["organization.id", "data_stream.namespace", "thing"],
                "sort": "@timestamp",
            },
            "frequency": "5m",
            "sync": {"time": {"field": "event.ingested", "delay": "60s"}},
            "retention_policy": {"time": {"field": "@timestamp", "max_age": "180d"}},
            "_meta": {"managed": True, "fleet_transform_version": f"{version}.0.0"},
        }
        self.yaml(f"{folder}/transform.yml", definition | changes)
        self.yaml(f"{folder}/manifest.yml", {"start": True})
        self.yaml(f"{folder}/fields/base-fields.yml", [*LATEST_FIELDS, *fields])

    def yaml(self, path: str, value: Any) -> None:
        self.write(path, yaml.safe_dump(value, sort_keys=False))

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

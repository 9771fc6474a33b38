"""The package of this checkout with a dashboard, a rule and more beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aquila_mde.build.package import Archive, make_archive
from aquila_mde.streams.tree import PackageTree

Files = dict[str, bytes]
STEM = "aquila_mde-0.1.0"
DASHBOARD = "kibana/dashboard/aquila_mde-alerts.json"
SEARCH = "kibana/search/aquila_mde-alerts.json"
TAG = "kibana/tag/aquila_mde-edr.json"
RULE = "kibana/security_rule/aquila_mde-6f0d_1.json"
TRANSFORM = "elasticsearch/transform/latest_machine/transform.yml"

_LENS: dict[str, Any] = {
    "type": "lens",
    "panelIndex": "p1",
    "embeddableConfig": {
        "attributes": {
            "state": {
                "filters": [
                    {
                        "meta": {
                            "key": "data_stream.dataset",
                            "params": {"query": "aquila_mde.alert"},
                        }
                    }
                ],
                "adHocDataViews": {"v": {"runtimeFieldMap": {"late": {"type": "double"}}}},
                "query": {"query": "", "language": "kuery"},
                "datasourceStates": {
                    "formBased": {
                        "layers": {
                            "one": {
                                "columns": {
                                    "a": {"sourceField": "event.severity"},
                                    "l": {"sourceField": "late", "operationType": "median"},
                                    "b": {"sourceField": "___records___"},
                                    "c": {"sourceField": "message"},
                                }
                            }
                        }
                    }
                },
            }
        }
    },
}
_PANELS = [
    _LENS,
    {"type": "visualization", "embeddableConfig": {"savedVis": {"type": "markdown"}}},
    {"type": "visualization", "embeddableConfig": {"savedVis": {"type": "vega"}}},
]
_FILTER = [{"meta": {"key": "data_stream.dataset", "type": "phrase"}}]
_ADDED: dict[str, Any] = {
    DASHBOARD: {
        "id": "aquila_mde-alerts",
        "type": "dashboard",
        "attributes": {
            "title": "Alerts",
            "panelsJSON": json.dumps(_PANELS),
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": json.dumps({"filter": _FILTER, "query": {"query": ""}})
            },
        },
        "references": [
            {
                "type": "index-pattern",
                "id": "logs-*",
                "name": "p1:indexpattern-datasource-layer-one",
            },
            {"type": "tag", "id": "aquila_mde-edr", "name": "tag"},
            {"type": "search", "id": "aquila_mde-alerts", "name": "panel"},
        ],
    },
    SEARCH: {
        "id": "aquila_mde-alerts",
        "type": "search",
        "attributes": {
            "columns": ["@timestamp", "host.name"],
            "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps({"filter": _FILTER})},
        },
        "references": [],
    },
    TAG: {"id": "aquila_mde-edr", "type": "tag", "attributes": {"name": "EDR"}},
    RULE: {
        "id": "aquila_mde-6f0d_1",
        "type": "security-rule",
        "attributes": {
            "rule_id": "aquila_mde-6f0d",
            "version": 1,
            "name": "Alert",
            "description": "An alert of Defender.",
            "risk_score": 47,
            "severity": "medium",
            "type": "threshold",
            "language": "kuery",
            "query": "event.kind: alert",
            "index": ["logs-aquila_mde.alert-*"],
            "threshold": {"field": ["host.id"], "value": 2},
            "from": "now-10m",
            "interval": "5m",
            "threat": [
                {
                    "tactic": {
                        "id": "TA0002",
                        "reference": "https://attack.mitre.org/tactics/TA0002/",
                    },
                    "technique": [
                        {
                            "id": "T1204",
                            "reference": "https://attack.mitre.org/techniques/T1204/",
                            "subtechnique": [
                                {
                                    "id": "T1204.002",
                                    "reference": "https://attack.mitre.org/techniques/T1204/002/",
                                }
                            ],
                        }
                    ],
                }
            ],
        },
    },
    "kibana/tags.yml": "- {text: Defender, asset_types: [dashboard]}\n",
}


def package_with_everything() -> Archive:
    """An archive in which nothing is wrong."""
    archive = make_archive(PackageTree.default())
    for path, content in _ADDED.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=2)
        archive.files[path] = text.encode()
    pipeline = "elasticsearch/ingest_pipeline"
    archive.files[f"{pipeline}/shared.yml"] = archive.files[
        f"data_stream/alert/{pipeline}/default.yml"
    ]
    return archive


def write_folder(files: dict[str, bytes], folder: Path) -> Path:
    """The files as a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def swap(path: str, old: str, new: str) -> Callable[[Files], None]:
    """Makes the change that puts ``new`` in the place of ``old`` in the file ``path``."""

    def change(files: Files) -> None:
        text = files[path].decode()
        assert old in text, f"{old} is not in {path}"
        files[path] = text.replace(old, new, 1).encode()

    return change

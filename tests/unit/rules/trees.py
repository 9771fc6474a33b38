"""A package tree with rules of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aquila_mde.streams.tree import PackageTree

RULE: dict[str, Any] = {
    "title": "Test",
    "description": "Finds what it looks for.",
    "severity": "high",
    "type": "query",
    "streams": ["alert"],
    "query": "event.kind: alert",
    "interval": "5m",
    "look_back": "10m",
    "attack": {"Execution": ["T1059"]},
    "false_positives": ["None."],
    "note": "Look.",
}


def rule(**changes: Any) -> dict[str, Any]:
    """The values of a rule; ``None`` leaves a key out."""
    return {key: value for key, value in (RULE | changes).items() if value is not None}


def tree_with(folder: Path, **rules: dict[str, Any]) -> PackageTree:
    """The package of this checkout with other rules, by name."""
    root = PackageTree.default().root
    folder.mkdir(exist_ok=True)
    for name in ("data_stream", "pipelines"):
        (folder / name).symlink_to(root / name)
    there = folder / "package" / "rules"
    there.mkdir(parents=True)
    for name, values in rules.items():
        (there / f"{name}.yml").write_text(yaml.safe_dump(values, sort_keys=False))
    return PackageTree(folder)

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aquila_mde.streams.tree import PackageTree

MANIFEST = "title: Recommendations\ntype: logs\ndataset: aquila_mde.recommendation\n"
MAPPING = """\
reference: https://learn.microsoft.com/en-us/defender-endpoint/api/recommendation
event: {kind: event, category: [vulnerability], type: [info]}
timestamp: [updatedOn]
properties:
  id: {to: event.id}
  recommendationName: {to: message, keep: keyword, about: What is recommended.}
  severityScore: {keep: float, about: How much it matters.}
  tags: {as: texts, keep: keyword, about: The tags of the recommendation.}
  updatedOn: {keep: date, about: When it was changed.}
"""


@pytest.fixture
def tree(tmp_path: Path) -> PackageTree:
    """A package with the library of the product and one new stream, made of files alone."""
    source = PackageTree.default()
    shutil.copytree(source.pipelines, tmp_path / "pipelines")
    folder = tmp_path / "data_stream" / "recommendation"
    folder.mkdir(parents=True)
    (folder / "manifest.yml").write_text(MANIFEST, encoding="utf-8")
    (folder / "mapping.yml").write_text(MAPPING, encoding="utf-8")
    return PackageTree(tmp_path)


@pytest.fixture
def mapping(tree: PackageTree) -> Path:
    """The mapping.yml of the new stream."""
    return tree.root / "data_stream" / "recommendation" / "mapping.yml"

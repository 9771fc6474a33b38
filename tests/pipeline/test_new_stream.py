"""A log type that nobody wrote a line of Python for."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from aquila_mde import build
from aquila_mde.streams.tree import PackageTree
from tests.pipeline.pipelines import TREE, Pipelines, document

MAPPING = """\
reference: https://learn.microsoft.com/en-us/defender-endpoint/api/recommendation
event: {kind: event, category: [vulnerability], type: [info]}
timestamp: [updatedOn]
properties:
  id: {to: event.id}
  recommendationName: {to: message, keep: keyword, about: What is recommended.}
  vendor: {to: {package.name: "lower, cut 4"}, keep: keyword, about: Who made the product.}
  severity: {to: {event.severity: table severity}, keep: keyword, about: The severity.}
  severityScore: {keep: float, about: How much it matters.}
  publicExploit: {keep: boolean, about: Whether an exploit is public.}
  tags: {as: texts, keep: keyword, about: The tags of the recommendation.}
  updatedOn: {keep: date, about: When it was changed.}
  owner:
    object:
      mail: {to: user.email, related: user}
  affected:
    keep: nested
    about: What is affected.
    scalar: name
    list:
      name: {keep: keyword, about: The name., related: hosts}
      seen: {keep: date, about: When it was seen.}
"""


def test_a_folder_of_declarative_files_is_enough(tmp_path: Path, pipelines: Pipelines) -> None:
    shutil.copytree(TREE.pipelines, tmp_path / "pipelines")
    folder = tmp_path / "data_stream" / "recommendation"
    folder.mkdir(parents=True)
    (folder / "manifest.yml").write_text("title: Recommendations\ntype: logs\n", encoding="utf-8")
    (folder / "mapping.yml").write_text(MAPPING, encoding="utf-8")
    files = {file.path.name: file.content for file in build.assets(PackageTree(tmp_path))}
    pipelines.put("recommendation", yaml.safe_load(files["default.yml"]))

    record = {
        "ID": "va-_-google-_-chrome",
        "recommendationName": "Update Chrome",
        "Vendor": "GOOGLE",
        "severity": "high",
        "severityScore": "7.5",
        "publicExploit": 1,
        "tags": "internet",
        "updatedOn": "2026-03-01 10:00:00.1234567",
        "owner": {"mail": "it@contoso.com", "phone": "1"},
        "affected": ["pc1", {"name": "pc2", "seen": "never"}],
        "surprise": {"a": [1]},
    }
    made = pipelines.run("recommendation", [document("recommendation", record)])[0]
    assert made["@timestamp"] == "2026-03-01T10:00:00.1234567Z"
    assert made["event"]["dataset"] == "aquila_mde.recommendation"
    assert made["event"]["id"] == record["ID"]
    assert made["event"]["severity"] == 73
    assert made["message"] == "Update Chrome"
    assert made["package"]["name"] == "goog"
    assert made["user"]["email"] == "it@contoso.com"
    assert made["related"] == {"user": ["it@contoso.com"], "hosts": ["pc1", "pc2"]}
    assert made["mde"]["recommendation"] == {
        "recommendation_name": "Update Chrome",
        "vendor": "GOOGLE",
        "severity": "high",
        "severity_score": 7.5,
        "public_exploit": True,
        "tags": ["internet"],
        "updated_on": "2026-03-01T10:00:00.1234567Z",
        "affected": [{"name": "pc1"}, {"name": "pc2"}],
        "extra": {
            "owner": {"phone": "1"},
            "affected": [{"seen": "never"}],
            "surprise": {"a": [1]},
        },
    }

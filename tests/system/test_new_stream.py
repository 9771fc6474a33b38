"""A new log type is a folder of declarative files: it is built, installed and collected as is."""

import shutil
from collections.abc import Callable
from pathlib import Path

from aquila_mde import build
from aquila_mde.elastic.assets import install, uninstall
from aquila_mde.streams.tree import PackageTree
from tests.system.conftest import Job

FILES = {
    "manifest.yml": """
title: Defender security recommendations
type: logs
dataset: aquila_mde.recommendation
""",
    "collect.yml": """
strategy: incremental
endpoint:
  path: /api/recommendations
  permission: SecurityRecommendation.Read.All
  reference: https://learn.microsoft.com/en-us/defender-endpoint/api/get-all-recommendations
  quota: {per_minute: 50, per_hour: 1500}
interval: 1h
identity:
  entity: id
  parts:
    - id
    - content_except: []
    - start_of: pass
""",
    "mapping.yml": """
reference: https://learn.microsoft.com/en-us/defender-endpoint/api/recommendation
event: {kind: state, category: [host], type: [info]}
properties:
  id: {to: event.id}
  recommendationName: {to: message}
  productName: {to: package.name}
  severityScore: {keep: float, about: How much the recommendation matters.}
  status: {keep: keyword, about: The state of the recommendation.}
""",
}
OBJECTS = [
    {
        "id": f"va-_-contoso-_-tool{number}",
        "recommendationName": f"Update Tool {number}",
        "productName": f"tool{number}",
        "severityScore": number / 2,
        "status": "Active",
        "somethingNew": {"a": 1},
    }
    for number in range(7)
]


async def test_a_fifth_folder_is_collected_without_a_line_of_python(
    job: Callable[..., Job], tmp_path: Path
) -> None:
    source = PackageTree.default().root
    root = tmp_path / "tree"
    for name in ("data_stream", "pipelines", "package"):
        shutil.copytree(source / name, root / name)
    shutil.copy(source / "manifest.yml", root)
    folder = root / "data_stream" / "recommendation"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    tree = PackageTree(root)

    written = build.write(tree)
    inside = [path.relative_to(folder) for path in written if path.is_relative_to(folder)]
    assert {path.parts[0] for path in inside} == {"fields", "elasticsearch"}
    assert root / "docs/streams/recommendation.md" in written
    work = job(tree=tree, extra={"/api/recommendations": OBJECTS})
    async with await work.engine() as engine:
        report = await install(engine, tree)
        assert any("recommendation" in name for name in report.created)
        first = (await work.collect("recommendation"))["recommendation"]
        second = (await work.collect("recommendation"))["recommendation"]
        assert (first.created, second.created, second.existing) == (7, 0, 7)
        found = {each["event"]["id"]: each for each in work.documents("recommendation")}
        assert set(found) == {each["id"] for each in OBJECTS}
        one = found["va-_-contoso-_-tool3"]
        assert one["message"] == "Update Tool 3"
        assert one["package"] == {"name": "tool3"}
        assert one["event"]["kind"] == "state"
        assert one["event"]["dataset"] == "aquila_mde.recommendation"
        assert one["mde"]["recommendation"]["severity_score"] == 1.5
        assert one["mde"]["recommendation"]["extra"] == {"somethingNew": {"a": 1}}
        work.ask("DELETE", f"/_data_stream/{work.index('recommendation')}")
        removed = await uninstall(engine, tree)
        assert removed
        await install(engine, PackageTree.default())

"""Installing on a real engine: what is there afterwards, and what a second time changes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.elastic.trees import BASE_FIELDS, Tree

from aquila_mde.elastic.assets import InstallReport, install, uninstall
from aquila_mde.elastic.bulk import BulkSink, Item, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineRefusedError
from aquila_mde.streams.tree import PackageTree

DOCUMENT = (
    b'{"@timestamp":"2026-01-01T00:00:00.000Z","data_stream":{"type":"logs","dataset":"%s",'
    b'"namespace":"default"},"event":{"original":"{}"},"host":{"name":"h"},"text":"x",'
    b'"tags":["%s"]}'
)


async def send(engine: Engine, tree: Tree, *ids: str, tag: str = "t") -> None:
    dataset = f"{tree.name}.alert"
    source = DOCUMENT % (dataset.encode(), tag.encode())
    outcomes = await BulkSink(engine).send(tree.index, [Item(each, source) for each in ids])
    assert {outcome.result for outcome in outcomes} == {Result.CREATED}, outcomes


async def only_document(engine: Engine, tree: Tree) -> dict[str, Any]:
    await engine.request("POST", f"{tree.index}/_refresh")
    answer = await engine.request("GET", f"{tree.index}/_search")
    (hit,) = answer["hits"]["hits"]
    source: dict[str, Any] = hit["_source"]
    return source


async def mapping(engine: Engine, tree: Tree) -> dict[str, Any]:
    """The mappings of the write index."""
    answer = await engine.request("GET", f"{tree.index}/_mapping")
    found: dict[str, Any] = answer[max(answer)]["mappings"]
    return found


def nothing_but_unchanged(report: InstallReport) -> bool:
    return not (report.created or report.updated or report.rolled_over) and bool(report.unchanged)


async def test_a_document_passes_everything_that_was_installed(
    installed: Tree, engine: Engine
) -> None:
    await send(engine, installed, "a")
    document = await only_document(engine, installed)
    assert document["event"]["kind"] == "alert"
    assert document["event"]["ingested"] > "2026"
    assert "original" not in document["event"]
    properties = (await mapping(engine, installed))["properties"]
    assert properties["@timestamp"] == {"type": "date", "ignore_malformed": False}
    assert properties["text"] == {"type": "keyword", "ignore_above": 1024}


async def test_a_document_that_fails_in_the_pipeline_arrives_too(
    tree: Tree, engine: Engine
) -> None:
    failed = [{"set": {"field": "event.kind", "value": "pipeline_error"}}]
    broken = [{"rename": {"field": "nowhere", "target_field": "x"}}]
    tree.pipeline("default", {"processors": broken, "on_failure": failed})
    await install(engine, tree.tree)
    await send(engine, tree, "a")
    event = (await only_document(engine, tree))["event"]
    assert event["kind"] == "pipeline_error"
    assert event["ingested"] > "2026"


async def test_the_original_is_kept_on_demand(installed: Tree, engine: Engine) -> None:
    await send(engine, installed, "a", tag="preserve_original_event")
    assert (await only_document(engine, installed))["event"]["original"] == "{}"


async def test_a_second_time_changes_nothing(tree: Tree, engine: Engine) -> None:
    first = await install(engine, tree.tree)
    assert len(first.created) >= 5
    assert first.updated == first.unchanged == []
    assert nothing_but_unchanged(await install(engine, tree.tree))
    await send(engine, tree, "a")
    assert nothing_but_unchanged(await install(engine, tree.tree))


async def test_what_somebody_changed_is_put_right(installed: Tree, engine: Engine) -> None:
    path = f"_ingest/pipeline/{installed.base}-0.1.0"
    await engine.request("PUT", path, {"processors": []})
    report = await install(engine, installed.tree)
    assert report.updated == [f"pipeline {installed.base}-0.1.0"]
    assert nothing_but_unchanged(await install(engine, installed.tree))


async def test_a_new_field_reaches_the_index_that_is_written_to(
    installed: Tree, engine: Engine
) -> None:
    await send(engine, installed, "a")
    installed.fields(*BASE_FIELDS, {"name": "fresh", "type": "ip"})
    report = await install(engine, installed.tree)
    assert report.rolled_over == []
    assert any(name.startswith("write index .ds-") for name in report.updated)
    assert (await mapping(engine, installed))["properties"]["fresh"] == {"type": "ip"}
    assert nothing_but_unchanged(await install(engine, installed.tree))


async def test_a_new_version_is_written_through_its_own_pipeline(
    installed: Tree, engine: Engine
) -> None:
    await send(engine, installed, "a")
    installed.version("0.2.0")
    await install(engine, installed.tree)
    settings = await engine.request("GET", f"{installed.index}/_settings")
    (index,) = settings.values()
    assert index["settings"]["index"]["default_pipeline"] == f"{installed.base}-0.2.0"


async def test_a_field_of_another_type_rolls_the_data_stream_over(
    installed: Tree, engine: Engine
) -> None:
    installed.fields(*BASE_FIELDS, {"name": "host.name", "type": "wildcard"})
    await install(engine, installed.tree)
    await send(engine, installed, "a")
    installed.fields(*BASE_FIELDS, {"name": "host.name", "type": "keyword"})
    report = await install(engine, installed.tree)
    assert report.rolled_over == [installed.index]
    assert nothing_but_unchanged(await install(engine, installed.tree))
    await send(engine, installed, "b")
    assert (await mapping(engine, installed))["properties"]["host"]["properties"]["name"] == {
        "type": "keyword",
        "ignore_above": 1024,
    }


async def test_objects_a_user_added_are_called(
    tree: Tree, engine: Engine, custom: dict[str, str]
) -> None:
    await engine.request(
        "PUT", custom["pipeline"], {"processors": [{"set": {"field": "labels.own", "value": "1"}}]}
    )
    template = {"mappings": {"properties": {"labels": {"properties": {"own": {"type": "long"}}}}}}
    await engine.request("PUT", custom["component"], {"template": template})
    await install(engine, tree.tree)
    await send(engine, tree, "a")
    assert (await only_document(engine, tree))["labels"] == {"own": "1"}
    labels = (await mapping(engine, tree))["properties"]["labels"]
    assert labels == {"properties": {"own": {"type": "long"}}}
    assert nothing_but_unchanged(await install(engine, tree.tree))


@pytest.fixture
async def custom(tree: Tree, engine: Engine) -> AsyncIterator[dict[str, str]]:
    name = f"{tree.base}@custom"
    paths = {"pipeline": f"_ingest/pipeline/{name}", "component": f"_component_template/{name}"}
    yield paths
    await uninstall(engine, tree.tree, delete_data=True)
    for path in paths.values():
        await engine.request("DELETE", path)


async def test_a_template_in_the_way_is_told(tree: Tree, engine: Engine, rival: str) -> None:
    body = {"index_patterns": [f"{tree.base}-*"], "priority": 200, "data_stream": {}}
    await engine.request("PUT", rival, body)
    with pytest.raises(EngineRefusedError) as caught:
        await install(engine, tree.tree)
    assert rival.rpartition("/")[2] in caught.value.message
    assert "same pattern" in caught.value.hint


@pytest.fixture
async def rival(tree: Tree, engine: Engine) -> AsyncIterator[str]:
    path = f"_index_template/{tree.name}-rival"
    yield path
    await engine.request("DELETE", path)


async def test_a_pipeline_that_the_engine_refuses_is_told(tree: Tree, engine: Engine) -> None:
    tree.pipeline("default", {"processors": [{"no_such_processor": {}}]})
    with pytest.raises(EngineRefusedError, match="no_such_processor") as caught:
        await install(engine, tree.tree)
    assert f"PUT /_ingest/pipeline/{tree.base}-0.1.0" in caught.value.message
    assert "same pattern" not in caught.value.hint


async def test_nothing_is_left_after_removal(installed: Tree, engine: Engine) -> None:
    installed.version("0.2.0")
    await install(engine, installed.tree)
    report = await uninstall(engine, installed.tree)
    assert report.kept == {}
    for path in ("_ingest/pipeline", "_component_template", "_index_template"):
        left = await engine.request("GET", path, missing_ok=True)
        assert installed.name not in str(left)
    again = await uninstall(engine, installed.tree)
    assert (again.removed, again.kept) == ([], {})


async def test_data_and_what_it_needs_stay(installed: Tree, engine: Engine) -> None:
    await send(engine, installed, "a")
    report = await uninstall(engine, installed.tree)
    assert report.removed == []
    assert report.kept[f"data stream {installed.index}"] == "it holds data"
    await send(engine, installed, "b")
    report = await uninstall(engine, installed.tree, delete_data=True)
    assert report.removed[0] == f"data stream {installed.index}"
    assert report.kept == {}
    assert await engine.request("GET", f"_data_stream/{installed.index}", missing_ok=True) is None


async def test_the_state_of_a_collector_is_data(installed: Tree, engine: Engine) -> None:
    name = f"{installed.name}-state-default"
    await engine.request("PUT", name, {"settings": {"index": {"hidden": True}}})
    report = await uninstall(engine, installed.tree)
    assert report.kept == {f"index {name}": "it holds the state of a collector"}
    report = await uninstall(engine, installed.tree, delete_data=True)
    assert (report.removed, report.kept) == ([f"index {name}"], {})
    assert await engine.request("GET", name, missing_ok=True) is None


async def test_what_another_still_uses_stays(installed: Tree, engine: Engine, rival: str) -> None:
    body = {"index_patterns": ["x-y-*"], "composed_of": [f"{installed.base}@package"]}
    await engine.request("PUT", rival, body)
    report = await uninstall(engine, installed.tree)
    (kept,) = [path for path in report.kept if "@package" in path]
    assert "in use" in report.kept[kept]


async def test_this_package_installs(engine: Engine, tmp_path: Path) -> None:
    original = PackageTree.default()
    for folder in ("data_stream", "package"):
        shutil.copytree(original.root / folder, tmp_path / folder)
    shutil.copy(original.manifest, tmp_path)
    tree = PackageTree(tmp_path)
    first = await install(engine, tree)
    assert first.created or first.unchanged
    assert nothing_but_unchanged(await install(engine, tree))

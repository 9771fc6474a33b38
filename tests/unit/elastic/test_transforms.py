"""Transforms on Elasticsearch, played by a stand-in; and what OpenSearch gets in their place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import refusal
from tests.unit.elastic.stateful import StatefulEngine
from tests.unit.elastic.trees import Tree

from aquila_mde.elastic.assets import install, plan_install, uninstall
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError, ForeignAssetError
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

ID = "logs-pack.latest_alert-default-1.0.0"
INDEX = "security_solution-pack.alert_latest-v1"
START = f"POST _transform/{ID}/_start"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, name="pack")
    tree.transform()
    return tree


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[StatefulEngine]:
    async with StatefulEngine(getattr(request, "param", "elasticsearch")) as server:
        yield server


@pytest.fixture
async def engine(server: StatefulEngine) -> AsyncIterator[Engine]:
    async with await Engine.connect(server.settings, retry=AT_ONCE) as engine:
        yield engine


def since(server: StatefulEngine, before: int) -> list[str]:
    return server.changes[before:]


async def test_a_transform_is_put_and_started(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    report = await install(engine, tree.tree)
    plan = plan_install(tree.tree, "elasticsearch")
    assert server.changes == [f"{request.method} {request.path}" for request in plan]
    assert [request.path for request in plan][-4:] == [
        "_component_template/logs-pack.latest_alert-template@package",
        "_index_template/logs-pack.latest_alert-template",
        f"_transform/{ID}",
        f"_transform/{ID}/_start",
    ]
    assert f"transform {ID}" in report.created
    assert server.transforms == {ID: "started"}
    (put,) = server.asked("PUT", f"_transform/{ID}")
    # There need be no data stream yet.
    assert put.query == {"defer_validation": "true"}
    assert put.json["latest"]["sort"] == "@timestamp"
    assert put.json["_meta"] | {"managed_by": "aquila", "managed": True} == put.json["_meta"]


async def test_the_index_gets_a_template_of_its_own(tree: Tree) -> None:
    plan = {request.path: request.body for request in plan_install(tree.tree, "elasticsearch")}
    template = plan["_index_template/logs-pack.latest_alert-template"] or {}
    assert template["index_patterns"] == [INDEX]
    assert "data_stream" not in template
    custom = "logs-pack.latest_alert-template@custom"
    assert template["composed_of"] == [
        "logs-pack.latest_alert-template@package",
        custom,
        "ecs@mappings",
    ]
    assert template["ignore_missing_component_templates"] == [custom]
    component = plan["_component_template/logs-pack.latest_alert-template@package"] or {}
    index = component["template"]["settings"]["index"]
    # The final pipeline would say anew when a document was ingested.
    assert "final_pipeline" not in index
    assert "default_pipeline" not in index


async def test_a_second_time_and_a_new_version_of_the_package_leave_it_running(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    before = len(server.changes)
    await install(engine, tree.tree)
    assert since(server, before) == []
    tree.version("0.2.0")
    await install(engine, tree.tree)
    assert not [change for change in since(server, before) if "_transform" in change]


async def test_what_somebody_stopped_is_started(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    server.transforms[ID] = "stopped"
    before = len(server.changes)
    await install(engine, tree.tree)
    assert since(server, before) == [START]


async def test_other_content_is_put_in_its_place(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    tree.transform(frequency="1m")
    before = len(server.changes)
    report = await install(engine, tree.tree)
    path = f"_transform/{ID}"
    assert since(server, before) == [f"POST {path}/_stop", f"DELETE {path}", f"PUT {path}", START]
    assert report.updated == [f"transform {ID}"]
    assert server.objects[path]["frequency"] == "1m"


async def test_a_newer_version_takes_the_place_of_the_older_one(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    server.mappings[INDEX] = {}
    tree.transform(version=2)
    report = await install(engine, tree.tree)
    assert server.transforms == {ID.replace("1.0.0", "2.0.0"): "started"}
    assert server.mappings == {}
    assert report.updated[-2:] == [
        f"transform {ID}, which is removed",
        f"index {INDEX}, which is removed",
    ]


async def test_new_fields_reach_the_index(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    server.mappings[INDEX] = {"_meta": {"digest": "old"}}
    report = await install(engine, tree.tree)
    assert report.updated == [f"index {INDEX}"]
    assert "thing" in server.mappings[INDEX]["properties"]


async def test_an_index_that_does_not_take_them_is_filled_anew(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    server.mappings[INDEX] = {"_meta": {"digest": "old"}}
    mapping = f"PUT {INDEX}/_mapping"
    server.refused[mapping] = refusal(400, "illegal_argument_exception", "cannot be changed")
    before = len(server.changes)
    report = await install(engine, tree.tree)
    assert since(server, before) == [mapping, f"POST _transform/{ID}/_reset", START]
    assert report.updated == [f"index {INDEX}, which is filled anew"]
    server.mappings[INDEX] = {"_meta": {"digest": "old"}}
    server.refused[mapping] = refusal(403, "security_exception", "no")
    with pytest.raises(EngineAccessError):
        await install(engine, tree.tree)


async def test_one_that_cannot_be_started_yet_is_told(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    server.refused[START] = refusal(400, "validation_exception", "no such index")
    report = await install(engine, tree.tree)
    (remark,) = report.remarks
    assert "no such index" in remark
    assert "when there are documents" in remark


async def test_one_of_fleet_is_left_alone(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    server.transforms[ID] = "started"
    server.objects[f"_transform/{ID}"] = {"_meta": {"managed_by": "fleet"}}
    with pytest.raises(ForeignAssetError, match=ID):
        await install(engine, tree.tree)
    assert server.changes == []
    report = await uninstall(engine, tree.tree, delete_data=True)
    assert report.kept[f"transform {ID}"] == "it is managed by fleet"
    assert server.transforms == {ID: "started"}


async def test_nothing_is_left_after_removal(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    server.mappings[INDEX] = {}
    report = await uninstall(engine, tree.tree)
    assert server.transforms == {}
    assert report.kept[f"index {INDEX}"] == "it holds data"
    assert server.objects == {}
    report = await uninstall(engine, tree.tree, delete_data=True)
    assert server.mappings == {}
    assert f"index {INDEX}" in report.removed


@pytest.mark.parametrize("server", ["opensearch"], indirect=True)
async def test_opensearch_gets_the_indices_alone(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    assert server.changes[-2:] == [f"PUT {INDEX}", "PUT pack-latest"]
    assert not [change for change in server.changes if "_transform" in change]
    assert server.objects[INDEX] == {"aliases": {"security_solution-pack.alert_latest": {}}}


@pytest.mark.parametrize("missing", ["source", "dest"])
def test_a_transform_that_lacks_a_part_is_named(tree: Tree, missing: str) -> None:
    tree.transform(**{missing: {}})
    with pytest.raises(
        FaultsFoundError, match=rf"transform\.yml:\d+: {missing}\.index: is missing"
    ):
        plan_install(tree.tree, "elasticsearch")


def test_the_transforms_of_this_package_have_an_order_and_a_key() -> None:
    plan = plan_install(PackageTree.default(), "elasticsearch")
    bodies = {
        request.path: request.body or {}
        for request in plan
        if request.path.startswith("_transform/") and request.body
    }
    assert len(bodies) == 4
    for body in bodies.values():
        assert body["latest"]["unique_key"][:2] == ["organization.id", "data_stream.namespace"]
        assert body["_meta"]["run_as_kibana_system"] is False
        assert body["settings"] == {"unattended": True}

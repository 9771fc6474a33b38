"""Installing on Elasticsearch and on OpenSearch with its ISM plugin, both played by a stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import refusal
from tests.unit.elastic.stateful import StatefulEngine
from tests.unit.elastic.trees import BASE_FIELDS, Tree

from aquila_mde.elastic.assets import install, plan_install, uninstall
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError, EngineRefusedError, ForeignAssetError

ISM = "_plugins/_ism/policies/logs-pack.alert-default_policy"
BACKING = ".ds-logs-pack.alert-default-000001"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path, name="pack")


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[StatefulEngine]:
    async with StatefulEngine(getattr(request, "param", "elasticsearch")) as server:
        yield server


@pytest.fixture
async def engine(server: StatefulEngine) -> AsyncIterator[Engine]:
    async with await Engine.connect(server.settings, retry=AT_ONCE) as engine:
        yield engine


async def test_elasticsearch_gets_the_plan_and_nothing_else(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    report = await install(engine, tree.tree)
    plan = plan_install(tree.tree, "elasticsearch")
    assert server.changes == [f"PUT {request.path}" for request in plan]
    assert server.objects == {request.path: request.body for request in plan}
    assert report.created[0] == "lifecycle policy logs-pack.alert-default_policy"
    assert report.remarks == []


@pytest.mark.parametrize("server", ["elasticsearch", "opensearch"], indirect=True)
async def test_a_second_time_changes_nothing(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    before = len(server.changes)
    report = await install(engine, tree.tree)
    assert server.changes[before:] == []
    assert len(report.unchanged) == before
    assert report.created == report.updated == []


@pytest.mark.parametrize("server", ["opensearch"], indirect=True)
async def test_an_ism_policy_is_replaced_by_its_sequence_number(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    tree.version("0.2.0")
    await install(engine, tree.tree)
    first, second = server.asked("PUT", ISM)
    assert first.query == {}
    assert second.query == {"if_seq_no": "7", "if_primary_term": "2"}
    assert "0.2.0" in second.json["policy"]["description"]
    report = await uninstall(engine, tree.tree)
    assert ISM in report.removed
    assert not [path for path in server.objects if "0.2.0" not in path and "0.1.0" not in path]


async def test_objects_of_fleet_are_not_overwritten(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    fleet = {"_meta": {"managed_by": "fleet", "managed": True}}
    server.objects["_index_template/logs-pack.alert"] = {"index_patterns": [], **fleet}
    server.objects["_component_template/logs-pack.alert@package"] = {"template": {}, **fleet}
    with pytest.raises(ForeignAssetError) as caught:
        await install(engine, tree.tree)
    assert server.changes == []
    assert "component template logs-pack.alert@package (managed by fleet)" in caught.value.message
    assert "index template logs-pack.alert (managed by fleet)" in caught.value.message
    report = await uninstall(engine, tree.tree)
    assert report.kept["_index_template/logs-pack.alert"] == "it is managed by fleet"
    assert len(server.objects) == 2


async def test_what_somebody_changed_is_put_right(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    await install(engine, tree.tree)
    path = "_component_template/logs-pack.alert@package"
    server.objects[path]["template"]["settings"]["index"]["mapping"]["total_fields"] = {"limit": 1}
    server.objects["_index_template/logs-pack.alert"]["composed_of"].pop()
    del server.objects["_ilm/policy/logs-pack.alert-default_policy"]["policy"]["phases"]["hot"][
        "actions"
    ]
    report = await install(engine, tree.tree)
    assert report.updated == [
        "lifecycle policy logs-pack.alert-default_policy",
        "component template logs-pack.alert@package",
        "index template logs-pack.alert",
    ]


def with_data(server: StatefulEngine, **stream: object) -> None:
    server.data_streams = [
        {
            "name": "logs-pack.alert-default",
            "template": "logs-pack.alert",
            "indices": [{"index_name": BACKING}],
            **stream,
        }
    ]


async def test_constants_keep_the_value_their_index_settled_on(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    with_data(server)
    constant = {"type": "constant_keyword", "value": "logs"}
    server.mappings[BACKING] = {
        "_meta": None,
        "properties": {"data_stream": {"properties": {"type": constant}}},
    }
    report = await install(engine, tree.tree)
    assert report.updated == [f"write index {BACKING}"]
    (put,) = server.asked("PUT", f"{BACKING}/_mapping")
    assert put.json["properties"]["data_stream"]["properties"] == {
        "type": constant,
        "dataset": {"type": "constant_keyword"},
        "namespace": {"type": "constant_keyword"},
    }
    (settings,) = server.asked("PUT", f"{BACKING}/_settings")
    assert settings.json == {
        "index.default_pipeline": "logs-pack.alert-0.1.0",
        "index.final_pipeline": "logs-pack@final",
    }


async def test_elasticsearch_rolls_over_with_the_next_document(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    with_data(server)
    conflict = refusal(400, "illegal_argument_exception", "cannot be changed from type")
    server.refused[f"PUT {BACKING}/_mapping"] = conflict
    report = await install(engine, tree.tree)
    assert report.rolled_over == ["logs-pack.alert-default"]
    (rollover,) = server.asked("POST", "logs-pack.alert-default/_rollover")
    assert rollover.query == {"lazy": "true"}
    with_data(server, rollover_on_write=True)
    assert (await install(engine, tree.tree)).rolled_over == []


async def test_a_data_stream_of_another_template_is_left_alone(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    with_data(server, template="somebody-elses")
    await install(engine, tree.tree)
    assert not [change for change in server.changes if BACKING in change]


async def test_a_mapping_that_may_not_be_put_is_no_conflict(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    with_data(server)
    server.refused[f"PUT {BACKING}/_mapping"] = refusal(404, "index_not_found_exception", "gone")
    with pytest.raises(EngineRefusedError, match="gone"):
        await install(engine, tree.tree)


async def test_a_key_without_the_privilege_is_told_which(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    reason = (
        "action [cluster:admin/ilm/put] is unauthorized for API key id [k] of user [u], this "
        "action is granted by the cluster privileges [manage_ilm,manage,all]"
    )
    path = "_ilm/policy/logs-pack.alert-default_policy"
    server.refused[f"PUT {path}"] = refusal(403, "security_exception", reason)
    with pytest.raises(EngineAccessError) as caught:
        await install(engine, tree.tree)
    assert caught.value.privilege == "manage_ilm"


async def test_an_index_that_has_the_mappings_is_left_alone(
    tree: Tree, server: StatefulEngine, engine: Engine
) -> None:
    with_data(server)
    await install(engine, tree.tree)
    before = len(server.changes)
    await install(engine, tree.tree)
    assert len(server.changes) == before
    tree.fields(*BASE_FIELDS, {"name": "more", "type": "long"})
    await install(engine, tree.tree)
    assert server.mappings[BACKING]["properties"]["more"] == {"type": "long"}

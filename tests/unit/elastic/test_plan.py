"""The requests of an installation: complete, in order, under the names that Fleet uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.elastic.trees import BASE_FIELDS, PIPELINE, Tree

from aquila_mde.elastic.dialect import Flavour
from aquila_mde.elastic.plan import Present, Request, plan_install
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

FLAVOURS: list[Flavour] = ["elasticsearch", "opensearch"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path, name="pack", version="1.2.3")


def bodies(requests: list[Request]) -> dict[str, Any]:
    return {request.path: request.body for request in requests}


def component(tree: Tree, flavour: Flavour = "elasticsearch") -> Any:
    found = bodies(plan_install(tree.tree, flavour))
    return found["_component_template/logs-pack.alert@package"]["template"]


def test_the_order_is_that_in_which_objects_need_each_other(tree: Tree) -> None:
    tree.pipeline("sub", PIPELINE)
    requests = plan_install(tree.tree, "elasticsearch")
    assert {request.method for request in requests} == {"PUT"}
    assert [request.path for request in requests] == [
        "_ilm/policy/logs-pack.alert-default_policy",
        "_ingest/pipeline/logs-pack@final",
        "_ingest/pipeline/logs-pack.alert-1.2.3-sub",
        "_ingest/pipeline/logs-pack.alert-1.2.3",
        "_component_template/logs-pack@globals",
        "_component_template/logs-pack.alert@package",
        "_index_template/logs-pack.alert",
    ]


def test_every_object_says_who_manages_it(tree: Tree) -> None:
    for request in plan_install(tree.tree, "elasticsearch"):
        assert request.body is not None
        holder = request.body.get("policy", request.body)
        assert holder["_meta"]["managed_by"] == "aquila"
        assert holder["_meta"]["package"] == {"name": "pack", "version": "1.2.3"}


def test_the_index_template_on_elasticsearch(tree: Tree) -> None:
    body = bodies(plan_install(tree.tree, "elasticsearch"))["_index_template/logs-pack.alert"]
    assert body["index_patterns"] == ["logs-pack.alert-*"]
    assert body["priority"] == 200
    assert body["data_stream"] == {}
    customs = ["logs@custom", "pack@custom", "logs-pack.alert@custom"]
    assert body["composed_of"] == [
        "logs@mappings",
        "logs@settings",
        "logs-pack.alert@package",
        *customs,
        "ecs@mappings",
        "logs-pack@globals",
    ]
    assert body["ignore_missing_component_templates"] == customs


def test_the_index_template_on_opensearch_names_only_what_is_there(tree: Tree) -> None:
    path = "_index_template/logs-pack.alert"
    body = bodies(plan_install(tree.tree, "opensearch"))[path]
    assert body["composed_of"] == ["logs-pack.alert@package", "logs-pack@globals"]
    assert "ignore_missing_component_templates" not in body
    present = Present(components=frozenset({"pack@custom", "else@custom"}))
    body = bodies(plan_install(tree.tree, "opensearch", present))[path]
    assert body["composed_of"] == ["logs-pack.alert@package", "pack@custom", "logs-pack@globals"]


def test_the_entry_pipeline_calls_the_users_own(tree: Tree) -> None:
    path = "_ingest/pipeline/logs-pack.alert-1.2.3"
    processors = bodies(plan_install(tree.tree, "elasticsearch"))[path]["processors"]
    assert processors[0] == PIPELINE["processors"][0]
    names = ["global@custom", "logs@custom", "logs-pack.integration@custom"]
    assert [each["pipeline"]["name"] for each in processors[1:]] == [
        *names,
        "logs-pack.alert@custom",
    ]
    assert all(each["pipeline"]["ignore_missing_pipeline"] for each in processors[1:])
    present = Present(pipelines=frozenset({"logs@custom"}))
    body = bodies(plan_install(tree.tree, "opensearch", present))[path]
    assert body["processors"][1:] == [
        {"pipeline": {"name": "logs@custom", "tag": "logs@custom"}},
        FINAL_CALL,
    ]
    assert "_meta" not in body


FINAL_CALL = {"pipeline": {"name": "logs-pack@final", "tag": "logs-pack@final"}}


def test_every_document_passes_the_final_pipeline(tree: Tree) -> None:
    """As a setting where that is free, called at the end of the entry pipeline elsewhere."""
    failed = [{"set": {"field": "event.kind", "value": "pipeline_error"}}]
    tree.pipeline("default", PIPELINE | {"on_failure": failed})
    entry, shared = (
        "_ingest/pipeline/logs-pack.alert-1.2.3",
        "_component_template/logs-pack@globals",
    )
    elastic = bodies(plan_install(tree.tree, "elasticsearch"))
    other = bodies(plan_install(tree.tree, "opensearch"))
    assert elastic[shared]["template"]["settings"] == {
        "index": {"final_pipeline": "logs-pack@final"}
    }
    assert FINAL_CALL not in elastic[entry]["processors"]
    assert elastic[entry]["on_failure"] == failed
    assert "settings" not in other[shared]["template"]
    assert other[entry]["processors"][-1] == FINAL_CALL
    assert other[entry]["on_failure"] == [*failed, FINAL_CALL]


def test_references_to_other_pipelines_get_their_installed_names(tree: Tree) -> None:
    call = {"pipeline": {"name": '{{ IngestPipeline "sub" }}', "if": "ctx.a == 1"}}
    tree.pipeline("default", {"processors": [{"foreach": {"processor": call}}], "on_failure": []})
    tree.write(
        "data_stream/alert/elasticsearch/ingest_pipeline/sub.json", json.dumps({"processors": []})
    )
    found = bodies(plan_install(tree.tree, "opensearch"))
    entry = found["_ingest/pipeline/logs-pack.alert-1.2.3"]
    inner = entry["processors"][0]["foreach"]["processor"]["pipeline"]
    assert inner == {"name": "logs-pack.alert-1.2.3-sub", "if": "ctx.a == 1"}
    assert entry["on_failure"] == []
    assert "_ingest/pipeline/logs-pack.alert-1.2.3-sub" in found


def test_a_stream_without_a_pipeline_has_an_empty_one(tree: Tree) -> None:
    (tree.stream / "elasticsearch/ingest_pipeline/default.yml").unlink()
    found = bodies(plan_install(tree.tree, "opensearch"))
    assert found["_ingest/pipeline/logs-pack.alert-1.2.3"] == {"processors": [FINAL_CALL]}
    settings = component(tree)["settings"]["index"]
    assert settings["default_pipeline"] == "logs-pack.alert-1.2.3"


def test_the_lifecycle_on_elasticsearch(tree: Tree) -> None:
    body = bodies(plan_install(tree.tree, "elasticsearch"))[
        "_ilm/policy/logs-pack.alert-default_policy"
    ]
    assert body["policy"]["phases"]["delete"]["min_age"] == "90d"
    assert component(tree)["settings"]["index"]["lifecycle"] == {
        "name": "logs-pack.alert-default_policy"
    }


def test_the_lifecycle_on_opensearch(tree: Tree) -> None:
    found = bodies(plan_install(tree.tree, "opensearch"))
    policy = found["_plugins/_ism/policies/logs-pack.alert-default_policy"]["policy"]
    assert policy["ism_template"] == [{"index_patterns": ["logs-pack.alert-*"], "priority": 200}]
    assert policy["states"] == [
        {
            "name": "hot",
            "actions": [{"rollover": {"min_index_age": "30d", "min_primary_shard_size": "50gb"}}],
            "transitions": [{"state_name": "delete", "conditions": {"min_rollover_age": "90d"}}],
        },
        {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
    ]
    assert "lifecycle" not in component(tree, "opensearch")["settings"]["index"]


def test_a_lifecycle_without_rollover_or_deletion_on_opensearch(tree: Tree) -> None:
    path = "data_stream/alert/elasticsearch/ilm/default_policy.json"
    ism = "_plugins/_ism/policies/logs-pack.alert-default_policy"
    tree.write(path, json.dumps({"policy": {"phases": {"delete": {"min_age": "1d"}}}}))
    states = bodies(plan_install(tree.tree, "opensearch"))[ism]["policy"]["states"]
    assert states[0]["actions"] == []
    assert states[0]["transitions"][0]["conditions"] == {"min_index_age": "1d"}
    tree.write(path, json.dumps({"policy": {"phases": {"hot": {}}}}))
    states = bodies(plan_install(tree.tree, "opensearch"))[ism]["policy"]["states"]
    assert states == [{"name": "hot", "actions": [], "transitions": []}]


def test_only_the_policy_in_use_becomes_an_ism_policy(tree: Tree) -> None:
    tree.write(
        "data_stream/alert/elasticsearch/ilm/other.json", json.dumps({"policy": {"phases": {}}})
    )
    ilm = [r.path for r in plan_install(tree.tree, "elasticsearch") if "ilm" in r.path]
    ism = [r.path for r in plan_install(tree.tree, "opensearch") if "ism" in r.path]
    assert (len(ilm), len(ism)) == (2, 1)


def test_without_a_lifecycle_plugin_there_is_no_policy(tree: Tree) -> None:
    requests = plan_install(tree.tree, "opensearch", Present(lifecycle=False))
    assert not [request.path for request in requests if "ism" in request.path]


def test_field_types_that_opensearch_lacks_are_replaced(tree: Tree) -> None:
    tree.fields(
        *BASE_FIELDS,
        {"name": "a", "type": "flattened", "ignore_above": 5},
        {"name": "b.*", "type": "flattened"},
        {"name": "type", "type": "constant_keyword", "value": "x"},
    )
    elastic = component(tree)["mappings"]
    other = component(tree, "opensearch")["mappings"]
    assert elastic["properties"]["a"] == {"type": "flattened"}
    assert other["properties"]["a"] == {"type": "flat_object"}
    assert other["dynamic_templates"][0]["b.*"]["mapping"] == {"type": "flat_object"}
    assert other["properties"]["type"] == {"type": "constant_keyword", "value": "x"}
    unknown = {"type": "keyword", "ignore_above": 1024}
    assert elastic["properties"]["data_stream"]["properties"]["type"] == {
        "type": "constant_keyword"
    }
    assert other["properties"]["data_stream"]["properties"]["type"] == unknown


@pytest.mark.parametrize(
    ("fields", "settings", "limit"),
    [
        (10, {}, 1000),
        (600, {}, 10_000),
        (600, {"index": {"mapping": {"total_fields": {"limit": 2000}}}}, 2000),
    ],
)
def test_the_limit_of_fields(tree: Tree, fields: int, settings: dict[str, Any], limit: int) -> None:
    tree.fields(*({"name": f"f{number}", "type": "long"} for number in range(fields)))
    tree.manifest(elasticsearch={"index_template": {"settings": settings}})
    assert component(tree)["settings"]["index"]["mapping"]["total_fields"] == {"limit": limit}


def test_the_manifests_settings_and_mappings_win(tree: Tree) -> None:
    own = {"vendor": {"match_mapping_type": "long", "mapping": {"type": "long"}}}
    hidden = {"a.*": {"match_mapping_type": "long", "mapping": {"type": "ip"}}}
    tree.fields(*BASE_FIELDS, {"name": "a.*", "type": "long"})
    tree.manifest(
        elasticsearch={
            "index_template": {
                "settings": {"number_of_shards": 3, "index": {"codec": "default"}},
                "mappings": {"date_detection": False, "dynamic_templates": [own, hidden]},
            }
        }
    )
    template = component(tree, "opensearch")
    assert template["settings"]["number_of_shards"] == 3
    assert template["settings"]["index"]["codec"] == "default"
    assert template["settings"]["index"]["mapping"]["ignore_malformed"] is True
    assert template["mappings"]["date_detection"] is False
    names = [next(iter(each)) for each in template["mappings"]["dynamic_templates"]]
    assert names == ["a.*", "vendor"]
    first = template["mappings"]["dynamic_templates"][0]["a.*"]
    assert first["mapping"] == {"type": "long"}


def test_the_dataset_is_the_folders_when_nothing_is_said(tree: Tree) -> None:
    tree.yaml("data_stream/alert/manifest.yml", {"title": "Alerts", "type": "logs"})
    assert "_index_template/logs-pack.alert" in bodies(plan_install(tree.tree, "elasticsearch"))
    assert "lifecycle" not in component(tree)["settings"]["index"]


def test_the_digest_tells_content_and_version_apart(tree: Tree) -> None:
    def digest() -> str:
        found = bodies(plan_install(tree.tree, "elasticsearch"))
        value: str = found["_index_template/logs-pack.alert"]["_meta"]["digest"]
        return value

    first = digest()
    assert digest() == first
    tree.version("1.2.4")
    assert digest() != first


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("manifest.yml", "name: pack\n", "version: is missing"),
        ("data_stream/alert/manifest.yml", "a: [\n", "is not YAML"),
        ("data_stream/alert/elasticsearch/ilm/default_policy.json", "{}", "policy: is missing"),
        ("data_stream/alert/elasticsearch/ingest_pipeline/default.yml", "- 1\n", "a mapping"),
        ("data_stream/alert/elasticsearch/ingest_pipeline/x.yml", "a: [\n", "is not YAML"),
        ("data_stream/alert/fields/x.yml", "- {name: a.*, type: date}\n", "no dynamic mapping"),
    ],
)
def test_a_broken_file_is_named(tree: Tree, path: str, text: str, problem: str) -> None:
    tree.write(path, text)
    with pytest.raises(FaultsFoundError, match=problem) as caught:
        plan_install(tree.tree, "elasticsearch")
    assert str(tree.root / path.partition("x.yml")[0].rstrip("/")) in str(caught.value)


def test_a_policy_without_its_file_is_named(tree: Tree) -> None:
    (tree.stream / "elasticsearch/ilm/default_policy.json").unlink()
    with pytest.raises(FaultsFoundError, match=r"needs elasticsearch/ilm/default_policy\.json"):
        plan_install(tree.tree, "elasticsearch")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_plan_of_this_package_is_whole(flavour: Flavour) -> None:
    tree = PackageTree.default()
    requests = plan_install(tree, flavour)
    json.dumps([request.body for request in requests])
    found = bodies(requests)
    kinds = {"_index_template": "{}", "_component_template": "{}@package"}
    for folder in tree.data_streams():
        base = f"logs-aquila_mde.{folder.name}"
        for kind, name in kinds.items():
            assert f"{kind}/{name.format(base)}" in found
        policies = [path for path in found if path.endswith(f"/{base}-default_policy")]
        assert len(policies) == 1
    settings = found["_component_template/logs-aquila_mde.dead_letter@package"]["template"]
    original = settings["mappings"]["properties"]["mde"]["properties"]["dead_letter"]
    assert original["properties"]["original"] == {
        "type": "keyword",
        "index": False,
        "doc_values": False,
    }

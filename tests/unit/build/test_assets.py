"""What is built: complete, in Elastic's form, and never stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aquila_mde import build
from aquila_mde.build import ecs
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

BUILT = build.assets(PackageTree.default())
PIPELINES = [file for file in BUILT if file.path.name == "default.yml"]
BUILT_TRANSFORMS = [file for file in BUILT if "transform" in file.path.parts]
FIELDS = [file for file in BUILT if file.path.parent.name == "fields"]


def name_of(file: build.BuiltFile) -> str:
    return "-".join(file.path.parts[-3:])


def processors_of(file: build.BuiltFile) -> list[tuple[str, dict[str, Any]]]:
    return [next(iter(one.items())) for one in yaml.safe_load(file.content)["processors"]]


def leaves(fields: list[dict[str, Any]], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for field in fields:
        name = f"{prefix}{field['name']}"
        if "fields" in field:
            yield from leaves(field["fields"], f"{name}.")
        else:
            yield name, field


def test_the_built_files_of_the_repository_are_current() -> None:
    stale = [file.path for file in BUILT if file.path.read_text(encoding="utf-8") != file.content]
    assert stale == []


def test_a_transform_has_the_fields_of_its_stream_in_one_index_for_all_namespaces() -> None:
    folder = PackageTree.default().transforms
    files = {file.path.relative_to(folder): file for file in BUILT_TRANSFORMS}
    assert {path.parts[0] for path in files} == {
        *("latest_alert", "latest_machine", "latest_machine_action", "latest_vulnerability"),
    }
    for name in ("base-fields.yml", "ecs.yml", "fields.yml"):
        (own,) = [file for file in BUILT if file.path.parts[-3:] == ("alert", "fields", name)]
        made = dict(leaves(yaml.safe_load(files[Path("latest_alert/fields") / name].content)))
        stream = dict(leaves(yaml.safe_load(own.content)))
        changed = {key for key in stream if made.pop(key) != stream[key]}
        assert made == {}
        assert changed == ({"data_stream.namespace"} if name == "base-fields.yml" else set())


def test_every_stream_with_a_mapping_has_a_pipeline_and_three_field_files() -> None:
    streams = {
        path.parent.name for path in PackageTree.default().root.glob("data_stream/*/mapping.yml")
    }
    assert {"alert", "machine", "machine_action", "vulnerability"} <= streams
    root = PackageTree.default().root
    names = {
        file.path.relative_to(root).as_posix() for file in BUILT if file not in BUILT_TRANSFORMS
    }
    assert names == {
        f"data_stream/{stream}/{name}"
        for stream in streams
        for name in (
            "elasticsearch/ingest_pipeline/default.yml",
            "fields/base-fields.yml",
            "fields/ecs.yml",
            "fields/fields.yml",
        )
    }


@pytest.mark.parametrize("file", BUILT, ids=name_of)
def test_a_built_file_says_what_it_is_built_from(file: build.BuiltFile) -> None:
    first, second = file.content.splitlines()[:2]
    comment = second if file.path.name == "default.yml" else first
    assert comment.startswith("# Built from data_stream/")
    assert first == "---" or file.path.name != "default.yml"


@pytest.mark.parametrize("file", PIPELINES, ids=name_of)
def test_a_pipeline_keeps_the_rules_of_the_package_format(file: build.BuiltFile) -> None:
    loaded = yaml.safe_load(file.content)
    assert set(loaded) == {"description", "processors", "on_failure"}
    processors = processors_of(file)
    tags = [body["tag"] for _, body in processors]
    assert len(tags) == len(set(tags))
    assert processors[:2] == [
        (
            "rename",
            {
                "tag": "rename_message",
                "field": "message",
                "target_field": "event.original",
                "ignore_missing": True,
                "if": "ctx.event?.original == null",
            },
        ),
        (
            "remove",
            {
                "tag": "remove_message",
                "field": "message",
                "ignore_missing": True,
                "if": "ctx.event?.original != null",
            },
        ),
    ]
    failure = loaded["on_failure"]
    assert {"set": {"field": "event.kind", "value": "pipeline_error"}} in failure
    messages = [one["append"]["value"] for one in failure if "append" in one]
    for part in ("processor_type", "processor_tag", "message"):
        assert f"_ingest.on_failure_{part}" in messages[0]
    assert "_ingest.pipeline" in messages[0]


@pytest.mark.parametrize("file", PIPELINES, ids=name_of)
def test_a_pipeline_uses_only_what_both_engines_have(file: build.BuiltFile) -> None:
    portable = {"rename", "remove", "script", "geoip", "set", "append", "convert"}
    assert {name for name, _ in processors_of(file)} <= portable
    for name, body in processors_of(file):
        assert not {"copy_from", "override", "method", "ignore_missing_pipeline"} & set(body)
        if name == "script":
            assert len(body["source"].encode()) < 65_535
            assert "field(" not in body["source"]
            assert "=~" not in body["source"]


@pytest.mark.parametrize("file", FIELDS, ids=name_of)
def test_every_field_has_a_type_and_a_description(file: build.BuiltFile) -> None:
    for name, field in leaves(yaml.safe_load(file.content)):
        assert field["type"], name
        assert field["description"].strip().endswith("."), name
        assert "external" not in field


@pytest.mark.parametrize("stream", sorted({file.path.parents[1].name for file in FIELDS}))
def test_no_field_is_declared_twice_and_ecs_types_are_those_of_ecs(stream: str) -> None:
    fields = [
        field
        for file in FIELDS
        if file.path.parents[1].name == stream
        for field in leaves(yaml.safe_load(file.content))
    ]
    names = [name for name, _ in fields]
    assert len(names) == len(set(names))
    for name, field in fields:
        known = ecs.fields().get(name)
        of_all = name == "data_stream.namespace"  # an index of a transform holds them all
        if known is not None and field["type"] != "constant_keyword" and not of_all:
            assert field["type"] == known.type, name
    assert {
        "@timestamp",
        "data_stream.type",
        "data_stream.dataset",
        "data_stream.namespace",
    } <= set(names)


def test_module_is_a_setting_of_the_build(tree: PackageTree) -> None:
    files = build.assets(tree, module="microsoft_defender_endpoint")
    pipeline = next(file for file in files if file.path.name == "default.yml")
    assert "event.put('module', 'microsoft_defender_endpoint');" in pipeline.content
    assert "event.put('dataset', 'aquila_mde.recommendation');" in pipeline.content


def test_a_change_of_the_mapping_changes_what_is_built_from_it_alone(
    tree: PackageTree, mapping: Path
) -> None:
    before = build.assets(tree)
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace("How much it matters.", "How bad it is."), encoding="utf-8")
    changed = [
        new.path.name for old, new in zip(before, build.assets(tree), strict=True) if old != new
    ]
    assert changed == ["fields.yml"]


def test_a_template_of_the_stream_is_used_where_there_is_one(tree: PackageTree) -> None:
    template = tree.pipelines / "recommendation.yml.j2"
    template.write_text(
        '{% extends "stream.yml.j2" %}\n'
        "{% block processors %}\n"
        "  - lowercase: {tag: lower_message, field: message, ignore_missing: true}\n"
        "{% endblock %}\n",
        encoding="utf-8",
    )
    pipeline = next(file for file in build.assets(tree) if file.path.name == "default.yml")
    assert [name for name, _ in processors_of(pipeline)] == [
        "rename",
        "remove",
        "script",
        "lowercase",
    ]


def test_a_script_beyond_the_limit_of_the_engines_is_a_fault(
    tree: PackageTree, mapping: Path
) -> None:
    rows = "".join(
        f"  property{number}: {{keep: keyword, about: One of many.}}\n" for number in range(1500)
    )
    mapping.write_text(mapping.read_text(encoding="utf-8") + rows, encoding="utf-8")
    with pytest.raises(FaultsFoundError, match="engines take 65535"):
        build.assets(tree)

"""Field definitions become the mappings that Fleet makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aquila_mde.elastic.mappings import count_fields, field_tree, mappings_of, read_fields
from aquila_mde.streams.faults import FaultsFoundError


def mapped(*fields: dict[str, Any]) -> dict[str, Any]:
    return mappings_of(field_tree(fields))


@pytest.mark.parametrize(
    ("field", "mapping"),
    [
        ({}, {"type": "keyword", "ignore_above": 1024}),
        ({"type": "keyword"}, {"type": "keyword", "ignore_above": 1024}),
        ({"type": "keyword", "ignore_above": 64}, {"type": "keyword", "ignore_above": 64}),
        (
            {"type": "keyword", "normalizer": "lowercase", "copy_to": "all"},
            {"type": "keyword", "ignore_above": 1024, "normalizer": "lowercase", "copy_to": "all"},
        ),
        (
            {"type": "keyword", "index": False, "doc_values": False},
            {"type": "keyword", "index": False, "doc_values": False},
        ),
        ({"type": "keyword", "dimension": True}, {"type": "keyword"}),
        (
            {"type": "text", "analyzer": "a", "search_analyzer": "b"},
            {"type": "text", "analyzer": "a", "search_analyzer": "b"},
        ),
        ({"type": "match_only_text"}, {"type": "match_only_text"}),
        ({"type": "wildcard"}, {"type": "wildcard", "ignore_above": 1024}),
        (
            {"type": "wildcard", "null_value": "-", "ignore_above": 9},
            {"type": "wildcard", "ignore_above": 9, "null_value": "-"},
        ),
        ({"type": "long"}, {"type": "long"}),
        ({"type": "integer"}, {"type": "long"}),
        ({"type": "scaled_float"}, {"type": "scaled_float", "scaling_factor": 1000}),
        (
            {"type": "scaled_float", "scaling_factor": 10},
            {"type": "scaled_float", "scaling_factor": 10},
        ),
        ({"type": "ip", "store": True}, {"type": "ip", "store": True}),
        ({"type": "date"}, {"type": "date"}),
        (
            {"type": "date", "date_format": "epoch_millis"},
            {"type": "date", "format": "epoch_millis"},
        ),
        ({"type": "constant_keyword"}, {"type": "constant_keyword"}),
        (
            {"type": "constant_keyword", "value": "x"},
            {"type": "constant_keyword", "value": "x"},
        ),
        ({"type": "flattened"}, {"type": "flattened"}),
        ({"type": "object", "enabled": False}, {"type": "object", "enabled": False}),
        ({"type": "array", "object_type": "long"}, {"type": "long"}),
        ({"type": "long", "unit": "byte"}, {"type": "long", "meta": {"unit": "byte"}}),
        ({"type": "long", "metric_type": "gauge"}, {"type": "long", "meta": {}}),
        (
            {
                "type": "keyword",
                "multi_fields": [
                    {"name": "text", "type": "match_only_text"},
                    {"name": "words", "type": "text", "analyzer": "a"},
                    {"name": "raw", "type": "keyword", "ignore_above": 5},
                    {"name": "number", "type": "long"},
                    {"name": "unknown", "type": "ip"},
                ],
            },
            {
                "type": "keyword",
                "ignore_above": 1024,
                "fields": {
                    "text": {"type": "match_only_text"},
                    "words": {"type": "text", "analyzer": "a"},
                    "raw": {"type": "keyword", "ignore_above": 5},
                    "number": {"type": "long"},
                },
            },
        ),
    ],
)
def test_one_field(field: dict[str, Any], mapping: dict[str, Any]) -> None:
    assert mapped({"name": "f"} | field) == {"properties": {"f": mapping}}


def test_the_timestamp_is_never_malformed() -> None:
    assert mapped({"name": "@timestamp", "type": "date"})["properties"] == {
        "@timestamp": {"type": "date", "ignore_malformed": False}
    }


def test_dotted_names_and_groups_are_one_tree() -> None:
    assert mapped(
        {"name": "a.b.c", "type": "long"},
        {"name": "a", "type": "group", "fields": [{"name": "b.d", "type": "ip"}]},
        {"name": "a.b.c", "type": "keyword"},
    )["properties"] == {
        "a": {"properties": {"b": {"properties": {"c": {"type": "long"}, "d": {"type": "ip"}}}}}
    }


def test_an_empty_group_is_nothing() -> None:
    assert mapped({"name": "a", "type": "group", "fields": []}, {"name": "b", "type": "group"}) == {
        "properties": {}
    }


@pytest.mark.parametrize("nested_first", [True, False])
def test_a_nested_field_keeps_its_children(nested_first: bool) -> None:
    fields: list[dict[str, Any]] = [
        {"name": "a", "type": "nested", "include_in_parent": True},
        {"name": "a.b", "type": "long"},
    ]
    assert mapped(*(fields if nested_first else fields[::-1]))["properties"] == {
        "a": {"type": "nested", "include_in_parent": True, "properties": {"b": {"type": "long"}}}
    }


def test_a_nested_field_without_children() -> None:
    nested = {"name": "a", "type": "nested", "dynamic": False}
    expected = {"a": {"type": "nested", "dynamic": False}}
    assert mapped(nested)["properties"] == expected
    assert mapped(nested, {"name": "a", "type": "group"})["properties"] == expected


def test_an_object_that_gets_children_is_a_group() -> None:
    assert mapped(
        {"name": "a", "type": "object", "dynamic": False}, {"name": "a.b", "type": "long"}
    )["properties"] == {"a": {"dynamic": False, "properties": {"b": {"type": "long"}}}}


def test_an_alias_to_nothing_is_dropped() -> None:
    assert mapped(
        {"name": "a.b", "type": "long"},
        {"name": "good", "type": "alias", "path": "a.b"},
        {"name": "to_group", "type": "alias", "path": "a"},
        {"name": "too_deep", "type": "alias", "path": "a.b.c"},
        {"name": "nowhere", "type": "alias", "path": "x.y"},
        {"name": "untyped", "type": "array"},
    )["properties"] == {
        "a": {"properties": {"b": {"type": "long"}}},
        "good": {"type": "alias", "path": "a.b"},
    }


@pytest.mark.parametrize(
    ("object_type", "match_type", "mapping"),
    [
        ("keyword", "string", {"type": "keyword"}),
        ("ip", "string", {"type": "ip"}),
        ("long", "long", {"type": "long"}),
        ("integer", "long", {"type": "long"}),
        ("double", "double", {"type": "double"}),
        ("boolean", "boolean", {"type": "boolean"}),
        ("flattened", "object", {"type": "flattened"}),
        ("scaled_float", "*", {"type": "scaled_float", "scaling_factor": 1000}),
        ("histogram", "*", {"type": "histogram"}),
    ],
)
def test_an_object_type_is_a_dynamic_template(
    object_type: str, match_type: str, mapping: dict[str, Any]
) -> None:
    assert mapped({"name": "a.labels", "type": "object", "object_type": object_type}) == {
        "properties": {
            "a": {
                "type": "object",
                "dynamic": True,
                "properties": {"labels": {"type": "object", "dynamic": True}},
            }
        },
        "dynamic_templates": [
            {
                "a.labels": {
                    "mapping": mapping,
                    "match_mapping_type": match_type,
                    "path_match": "a.labels.*",
                }
            }
        ],
    }


def test_a_wildcard_name_makes_templates_for_the_objects_on_the_way() -> None:
    assert mapped({"name": "a.*.b", "type": "ip"}, {"name": "a.*.c.*", "type": "long"}) == {
        "properties": {"a": {"type": "object", "dynamic": True}},
        "dynamic_templates": [
            {"a.*.b": template({"type": "ip"}, "string", "a.*.b")},
            {"a.*.c.*": template({"type": "long"}, "long", "a.*.c.*")},
            {"a.*.c": template(OBJECT, "object", "a.*.c")},
            {"a.*": template(OBJECT, "object", "a.*")},
        ],
    }


OBJECT = {"type": "object", "dynamic": True}


def template(mapping: dict[str, Any], match_type: str, path: str) -> dict[str, Any]:
    return {"mapping": mapping, "match_mapping_type": match_type, "path_match": path}


@pytest.mark.parametrize("arrange", [field_tree, list])
def test_the_first_of_two_templates_for_a_path_stays(
    arrange: Callable[[Any], list[dict[str, Any]]],
) -> None:
    fields = [
        {"name": "a.*", "type": "object", "object_type": kind} for kind in ("long", "keyword")
    ]
    found = mappings_of(arrange(fields))
    assert found["dynamic_templates"] == [{"a.*": template({"type": "long"}, "long", "a.*")}]


def test_what_a_template_matches_can_be_told() -> None:
    field = {"name": "a.*", "type": "object", "object_type": "long"}
    found = mapped(field | {"object_type_mapping_type": "*"})
    assert found["dynamic_templates"] == [{"a.*": template({"type": "long"}, "*", "a.*")}]


def test_an_object_type_of_groups_is_a_template_for_each_member() -> None:
    found = mapped(
        {
            "name": "a.*",
            "type": "object",
            "object_type": "group",
            "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "keyword"}],
        }
    )
    assert [next(iter(each)) for each in found["dynamic_templates"]] == ["a.*.n", "a.*.t", "a.*"]


def test_a_wildcard_object_without_a_type_only_opens_its_parent() -> None:
    assert mapped({"name": "a.*", "type": "object"}) == {
        "properties": {"a": {"type": "object", "dynamic": True}}
    }


def test_an_object_type_without_a_dynamic_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.\*: no dynamic mapping for object_type date"):
        mapped({"name": "a.*", "type": "date"})


def test_a_template_inside_a_template_is_not_repeated() -> None:
    found = mapped({"name": "a.b.*.c", "type": "long"})
    assert [next(iter(each)) for each in found["dynamic_templates"]] == ["a.b.*.c", "a.b.*"]


def test_a_wildcard_inside_a_group_is_found() -> None:
    found = mapped({"name": "a", "type": "group", "fields": [{"name": "*.b", "type": "boolean"}]})
    assert next(iter(found["dynamic_templates"][0])) == "a.*.b"


def test_runtime_fields_are_kept_apart() -> None:
    assert mapped(
        {"name": "a.r", "type": "integer", "runtime": " emit(1) "},
        {"name": "a.d", "type": "date", "date_format": "epoch_second", "runtime": True},
        {"name": "a.k", "runtime": True},
    ) == {
        "properties": {},
        "runtime": {
            "a.r": {"type": "long", "script": {"source": "emit(1)"}},
            "a.d": {"type": "date", "format": "epoch_second"},
            "a.k": {"type": "keyword"},
        },
    }


def test_groups_and_multi_fields_count() -> None:
    tree = field_tree(
        [{"name": "a.b", "type": "keyword", "multi_fields": [{"name": "t", "type": "text"}]}]
    )
    assert count_fields(tree) == 3


def write(folder: Path, name: str, text: str) -> None:
    (folder / "fields").mkdir(exist_ok=True)
    (folder / "fields" / name).write_text(text, encoding="utf-8")


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "b.yml", yaml.safe_dump([{"name": "second"}]))
    write(tmp_path, "a.yml", yaml.safe_dump([{"name": "first"}]))
    write(tmp_path, "empty.yml", "")
    assert [field["name"] for field in read_fields(tmp_path)] == ["first", "second"]


def test_every_fault_of_the_files_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", "- name: x\n- type: long\n")
    write(tmp_path, "b.yml", "name: x\n")
    write(tmp_path, "c.yml", "- [\n")
    with pytest.raises(FaultsFoundError) as caught:
        read_fields(tmp_path)
    assert [(fault.file.name, fault.line) for fault in caught.value.faults] == [
        ("a.yml", 2),
        ("b.yml", 1),
        ("c.yml", 2),
    ]

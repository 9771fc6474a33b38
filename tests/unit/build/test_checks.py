"""Every fault of a mapping is found in one run, each with its file, line and field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aquila_mde import build
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree


def faults_of(tree: PackageTree) -> list[str]:
    with pytest.raises(FaultsFoundError) as caught:
        build.load_mappings(tree)
    return [
        f"{fault.file.name}:{fault.line}: {fault.field}: {fault.problem}"
        for fault in caught.value.faults
    ]


def with_rows(mapping: Path, rows: str) -> None:
    mapping.write_text(mapping.read_text(encoding="utf-8") + rows, encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (
            "  risk: {as: magic, to: event.reason}\n",
            "mapping.yml:10: properties.risk.as: there is no conversion magic",
        ),
        (
            "  risk: {block: magic}\n",
            "mapping.yml:10: properties.risk.block: there is no block magic",
        ),
        (
            "  risk: {table: magic}\n",
            "mapping.yml:10: properties.risk.table: there is no table magic",
        ),
        (
            "  risk: {table: severity}\n",
            "mapping.yml:10: properties.risk.table: table severity names no columns to fill",
        ),
        (
            "  risk: {block: os_platform}\n",
            "mapping.yml:10: properties.risk.block: block os_platform needs a table",
        ),
        (
            "  risk: {block: locate}\n",
            "mapping.yml:10: properties.risk.block: locate needs a geo entry that says where to",
        ),
        (
            "  risk: {to: host.mood}\n",
            "mapping.yml:10: properties.risk.to.host.mood: host.mood is no field of ECS 9.4.0; "
            "a field that ECS lacks needs an entry under beyond_ecs",
        ),
        (
            "  risk: {to: {~rank: table risk_rank}}\n",
            "mapping.yml:10: properties.risk.to.~rank: "
            "~rank needs an entry with its type under own",
        ),
        (
            "  risk: {as: text, to: event.severity}\n",
            "mapping.yml:10: properties.risk.to.event.severity: "
            "event.severity is long and cannot hold keyword",
        ),
        (
            "  risk: {to: {event.reason: table risk_rank}}\n",
            "mapping.yml:10: properties.risk.to.event.reason: "
            "event.reason is keyword and cannot hold long",
        ),
        (
            "  risk: {to: {event.reason: table malware_category}}\n",
            "mapping.yml:10: properties.risk.to.event.reason: "
            "event.reason is keyword and cannot hold boolean",
        ),
        (
            "  risk: {or: [danger], to: event.reason}\n"
            "  danger: {keep: keyword, about: How bad it is.}\n",
            "mapping.yml:11: properties.danger: danger is another spelling of risk",
        ),
        (
            "  risk: {to: {event.reason: magic}}\n",
            "mapping.yml:10: properties.risk.to: there is no step magic",
        ),
        (
            "  risk: {to: {event.reason: cut short}}\n",
            "mapping.yml:10: properties.risk.to: cut takes one whole number",
        ),
        (
            "  risk: {to: {event.reason: lower case}}\n",
            "mapping.yml:10: properties.risk.to: lower takes no argument",
        ),
        (
            "  risk: {to: {event.reason: not}}\n",
            "mapping.yml:10: properties.risk.to: not needs a word",
        ),
        (
            "  risk: {to: {event.reason: table magic}}\n",
            "mapping.yml:10: properties.risk.to: there is no table magic",
        ),
        (
            "  risk: {to: {event.reason: 'unless set, lower'}}\n",
            "mapping.yml:10: properties.risk.to: unless set is the last step",
        ),
        (
            "  risk: {to: event.id}\n",
            "mapping.yml:10: properties.risk.to.event.id: event.id is filled from id already; "
            'say "unless set" where it is the second choice',
        ),
        (
            "  risk: {keep: ip, as: number, about: A number.}\n",
            "mapping.yml:10: properties.risk.keep: ip cannot hold what is read as float",
        ),
        (
            "  risk: {related: ip}\n",
            "mapping.yml:10: properties.risk.related: related.ip cannot hold keyword",
        ),
        (
            "  risk: {keep: long, name: tags, about: Another thing.}\n",
            "mapping.yml:10: properties.risk.keep: tags is kept as keyword by another row",
        ),
        (
            "  risk: {keep: keyword, name: extra, about: Another thing.}\n",
            "mapping.yml:10: properties.risk: extra is a field of own as well",
        ),
        (
            "  risk: {or: [id], to: event.reason}\n",
            "mapping.yml:10: properties.risk.or: id is a property of its own as well",
        ),
        (
            "  risks: {keep: nested, about: Some., list: {name: {to: event.reason}}}\n",
            "mapping.yml:10: properties.risks.list.name: "
            "inside a list there is only as, or, keep, name, related and object",
        ),
        (
            "  risks: {keep: nested, about: Some., each: magic, "
            "list: {name: {keep: keyword, about: A name.}}}\n",
            "mapping.yml:10: properties.risks.each: "
            "there is no function for members of a list magic",
        ),
        (
            "  risk: {rule: os_release}\n",
            "mapping.yml:10: properties.risk.rule: must be one of the rules",
        ),
        (
            "rules: [{rule: magic, about: Wonders.}]\n",
            "mapping.yml:10: rules[0].rule: there is no rule magic",
        ),
        (
            "beyond_ecs: {event.id: {type: keyword, about: An id.}}\n",
            "mapping.yml:10: beyond_ecs.event.id: event.id is a field of ECS 9.4.0",
        ),
        (
            "portal: {page: machines, id: host.mood}\n",
            "mapping.yml:10: portal.id: host.mood is no field of ECS 9.4.0; "
            "a field that ECS lacks needs an entry under beyond_ecs",
        ),
        (
            "geo: [{to: host.map, about: an address}]\n",
            "mapping.yml:10: geo[0].to: host.map.city_name is no field of ECS 9.4.0; "
            "a field that ECS lacks needs an entry under beyond_ecs",
        ),
        (
            "  Risk: {keep: keyword}\n",
            "mapping.yml:10: properties.Risk: what is kept needs an about",
        ),
        (
            "  id: {to: event.reason}\n",
            "mapping.yml:10: properties.id: is given twice",
        ),
        (
            "  risk: {to: event.reason, name: riskScore, keep: keyword, about: A score.}\n",
            "mapping.yml:10: properties.risk.name: "
            "string should match pattern '^[a-z][a-z0-9]*(_[a-z0-9]+)*$', but it is 'riskScore'",
        ),
    ],
)
def test_a_fault_is_found(rows: str, fault: str, tree: PackageTree, mapping: Path) -> None:
    with_rows(mapping, rows)
    assert fault in faults_of(tree)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("kind: event", "kind: party", "mapping.yml:2: event.kind: party is no event.kind of ECS"),
        (
            "[vulnerability]",
            "[misfortune]",
            "mapping.yml:2: event.category: misfortune is no event.category of ECS",
        ),
        (
            "[info]",
            "[start]",
            "mapping.yml:2: event.type: start does not go with the category in ECS",
        ),
        (
            "[updatedOn]",
            "[changedOn]",
            "mapping.yml:3: timestamp[0]: changedOn is none of the properties",
        ),
    ],
)
def test_a_fault_of_the_head_is_found(
    old: str, new: str, fault: str, tree: PackageTree, mapping: Path
) -> None:
    mapping.write_text(mapping.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert faults_of(tree) == [fault]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            "{object: {a: {to: event.id}}, list: {a: {to: event.id}}}",
            "is either an object or a list",
        ),
        ("{object: {a: {to: event.id}}, keep: keyword}", "an object has rows of its own"),
        ("{list: {a: {keep: keyword, about: A.}}, to: event.id}", "a list has rows of its own"),
        ("{list: {a: {keep: keyword, about: A.}}, keep: keyword, about: A.}", "is kept as nested"),
        ("{to: event.id, extra: true}", "scalar, extra, each and own go with list"),
        ("{keep: nested, about: A.}", "nested goes with list"),
        ("{to: event.id, inline: true}", "inline goes with object"),
        ("{to: event.id, name: a}", "name goes with keep"),
        ("{about: Nothing is done.}", "needs one of to, keep"),
    ],
)
def test_keys_that_do_not_go_together_are_a_fault(
    row: str, problem: str, tree: PackageTree, mapping: Path
) -> None:
    with_rows(mapping, f"  risk: {row}\n")
    assert any(problem in fault for fault in faults_of(tree))


@pytest.mark.parametrize(
    ("latest", "problem"),
    [
        ("{key: [host.mood], retention: 9d}", "key[0]: host.mood is no field of recommendation"),
        ("{key: [event.id], needs: [host.mood], retention: 9d}", "needs[0]: host.mood is no"),
        ("{key: [event.id], sort: event.id, retention: 9d}", "sort: event.id is keyword and"),
        (
            "{key: [event.id], retention: {field: event.id, after: 9d}}",
            "retention.field: event.id is keyword and cannot be used for time",
        ),
        ("{key: [event.id], retention: ever}", "should match pattern"),
        ("{key: [event.id]}", "retention: is missing"),
        ("{key: [], retention: 9d}", "at least 1 item"),
        ("{key: [organization.id], retention: 9d}", "part of every key"),
    ],
)
def test_a_fault_of_the_newest_versions_is_found(
    latest: str, problem: str, tree: PackageTree, mapping: Path
) -> None:
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(f"latest: {latest}\n{text}", encoding="utf-8")
    with pytest.raises(FaultsFoundError, match=re.escape(problem)):
        build.assets(tree)


def test_all_faults_of_all_files_come_in_one_run(tree: PackageTree, mapping: Path) -> None:
    with_rows(mapping, "  a: {to: host.mood}\n  b: {as: magic, to: event.reason}\n")
    other = mapping.parent.parent / "other"
    other.mkdir()
    (other / "manifest.yml").write_text("title: Other\ntype: logs\n", encoding="utf-8")
    (other / "mapping.yml").write_text("properties: []\n", encoding="utf-8")
    (tree.pipelines / "tables" / "bad.yml").write_text(
        "about: Twice.\nvalues: {A: 1, a: 2}\n", encoding="utf-8"
    )
    found = "\n".join(faults_of(tree))
    assert "bad.yml:1: a is there twice" in found or "a is there twice" in found
    assert "mapping.yml:1: reference: is missing" in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "about: Rows.\ncolumns: [event.id, event.kind]\nvalues: {A: [one]}\n",
            "every row needs 2 cells",
        ),
        ("about: None.\nvalues: {}\n", "at least 1"),
        ("values: {a: 1}\n", "is missing"),
    ],
)
def test_a_fault_of_a_table_is_found(text: str, problem: str, tree: PackageTree) -> None:
    (tree.pipelines / "tables" / "bad.yml").write_text(text, encoding="utf-8")
    assert any(problem in fault for fault in faults_of(tree))


def test_a_transform_without_its_function_is_a_fault(tree: PackageTree) -> None:
    registry = tree.pipelines / "transforms.yml"
    text = registry.read_text(encoding="utf-8")
    registry.write_text(text.replace("function: whole,", "function: gone,"), encoding="utf-8")
    assert any("there is no Painless function gone" in fault for fault in faults_of(tree))


def test_a_package_without_pipelines_is_a_fault(tree: PackageTree) -> None:
    (tree.pipelines / "common.yml").unlink()
    assert any("common.yml" in fault for fault in faults_of(tree))

"""Detection rules as Kibana takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.rules.trees import rule, tree_with

from aquila_mde.build.built import field_types
from aquila_mde.build.kibana.rule import attributes
from aquila_mde.rules.attack import load_attack
from aquila_mde.rules.load import load_rules
from aquila_mde.streams.tree import PackageTree

TREE = PackageTree.default()
TYPES, ATTACK = field_types(TREE), load_attack(TREE)


def made(folder: Path, **changes: Any) -> dict[str, Any]:
    (one,) = load_rules(tree_with(folder, one=rule(**changes)), TYPES)
    return attributes(one, ATTACK, TYPES)


def test_a_plain_rule(tmp_path: Path) -> None:
    found = made(tmp_path, attack={"Execution": ["T1204.002", "T1059"]})
    page = "https://attack.mitre.org"
    assert found.pop("threat") == [
        {
            "framework": "MITRE ATT&CK",
            "tactic": {"id": "TA0002", "name": "Execution", "reference": f"{page}/tactics/TA0002/"},
            "technique": [
                {
                    "id": "T1204",
                    "name": "User Execution",
                    "reference": f"{page}/techniques/T1204/",
                    "subtechnique": [
                        {
                            "id": "T1204.002",
                            "name": "Malicious File",
                            "reference": f"{page}/techniques/T1204/002/",
                        }
                    ],
                },
                {
                    "id": "T1059",
                    "name": "Command and Scripting Interpreter",
                    "reference": f"{page}/techniques/T1059/",
                },
            ],
        }
    ]
    assert found == {
        "author": ["Aquila"],
        "description": "Finds what it looks for.",
        "false_positives": ["None."],
        "from": "now-10m",
        "index": ["logs-aquila_mde.alert-*"],
        "interval": "5m",
        "language": "kuery",
        "license": "Apache-2.0",
        "max_signals": 100,
        "name": "[Aquila MDE] Test",
        "note": "Look.",
        "query": "event.kind: alert",
        "references": [],
        "related_integrations": [{"package": "aquila_mde", "version": ">=0.1.0"}],
        "required_fields": [{"ecs": True, "name": "event.kind", "type": "keyword"}],
        "risk_score": 73,
        "risk_score_mapping": [],
        "rule_id": "aquila_mde-one",
        "setup": "",
        "severity": "high",
        "severity_mapping": [],
        "tags": [
            "Domain: Endpoint",
            "Data Source: Microsoft Defender for Endpoint",
            "Tactic: Execution",
        ],
        "timestamp_override": "event.ingested",
        "to": "now",
        "type": "query",
        "version": 1,
    }


def test_what_depends_on_the_type(tmp_path: Path) -> None:
    threshold = {
        "field": ["host.id"],
        "value": 3,
        "cardinality": {"field": "user.name", "value": 2},
    }
    found = made(tmp_path / "a", type="threshold", threshold=threshold)
    assert found["threshold"] == {
        "cardinality": [{"field": "user.name", "value": 2}],
        "field": ["host.id"],
        "value": 3,
    }
    terms = {"field": ["host.id"], "history": "14d"}
    found = made(tmp_path / "b", type="new_terms", new_terms=terms, timestamp_override="@timestamp")
    assert found["new_terms_fields"] == ["host.id"]
    assert found["history_window_start"] == "now-14d"
    assert "timestamp_override" not in found
    steps = ["event.kind: alert", "event.id: x"]
    sequence = {"by": ["host.id"], "maxspan": "5m", "steps": steps}
    found = made(tmp_path / "c", type="sequence", query=None, sequence=sequence)
    assert (found["type"], found["language"]) == ("eql", "eql")
    assert found["index"] == ["logs-aquila_mde.alert-*"]
    assert found["query"].startswith("sequence by host.id with maxspan=5m")
    sides = [{"query": steps[0], "key": "user.name"}, {"query": steps[1], "key": "user.email"}]
    join = {"by": ["host.id"], "key": "who", "sides": sides}
    found = made(tmp_path / "d", type="join", query=None, join=join)
    assert (found["type"], found["language"], "index" in found) == ("esql", "esql", False)


def test_what_is_taken_from_the_record(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        severity_mapping={"field": "event.severity", "values": {"73": "high"}},
        risk_score_mapping="event.severity",
        rule_name_override="rule.name",
        highlighted=["host.name"],
        risk_score=12,
    )
    assert found["severity_mapping"] == [
        {"field": "event.severity", "operator": "equals", "severity": "high", "value": "73"}
    ]
    assert found["risk_score_mapping"] == [
        {"field": "event.severity", "operator": "equals", "value": ""}
    ]
    assert found["rule_name_override"] == "rule.name"
    assert found["investigation_fields"] == {"field_names": ["host.name"]}
    assert found["risk_score"] == 12
    assert [one["name"] for one in found["required_fields"]] == [
        *("event.kind", "event.severity", "host.name", "rule.name"),
    ]


def test_the_package_has_the_assets_of_its_rules_and_no_others() -> None:
    rules = load_rules(TREE, TYPES)
    files = {file.stem for file in (TREE.package / "kibana" / "security_rule").iterdir()}
    assert files == {rule.id for rule in rules}
    for one in rules:
        saved = json.loads((TREE.package / f"kibana/security_rule/{one.id}.json").read_text())
        assert saved["attributes"]["threat"], one.name

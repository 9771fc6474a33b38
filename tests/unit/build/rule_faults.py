"""The ways to break a detection rule in a package."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.unit.build.package_with_everything import RULE, Files


def rule(**attributes: Any) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        whole = json.loads(files[RULE])
        whole["attributes"] |= attributes
        files[RULE] = json.dumps(whole, indent=2).encode()

    return change


AGAIN = "kibana/security_rule/aquila_mde-6f0d_1_again.json"
ESQL = {"type": "esql", "language": "esql"}


def again(files: Files) -> None:
    """The same version of the same rule in a second file."""
    files[AGAIN] = files[RULE]


def below(subtechnique: str) -> list[dict[str, Any]]:
    """A threat with a subtechnique that belongs to another technique."""
    page = f"https://attack.mitre.org/techniques/{subtechnique.replace('.', '/')}/"
    technique = {"id": "T1204", "reference": "https://attack.mitre.org/techniques/T1204/"}
    technique["subtechnique"] = [{"id": subtechnique, "reference": page}]  # type: ignore[assignment]
    tactic = {"id": "TA0002", "reference": "https://attack.mitre.org/tactics/TA0002/"}
    return [{"tactic": tactic, "technique": [technique]}]


RULE_CASES: list[tuple[str, str, Callable[[Files], None], str]] = [
    # rule, file, change, what is said
    ("rule", RULE, rule(type="threat_match", query=""), "query, threat_query"),
    ("rule", RULE, rule(type="sigma"), "sigma is no type"),
    ("rule", RULE, rule(severity="urgent"), "urgent is none of low"),
    ("rule", RULE, rule(severity_mapping=[{"severity": "bad"}]), "bad is none of low"),
    ("rule", RULE, rule(risk_score=101), "goes from 0 to 100"),
    ("rule-id", RULE, rule(rule_id="aquila_mde-other"), "must be aquila_mde-other_1"),
    ("rule-id", RULE, rule(rule_id="6f0d"), "begin with aquila_mde-"),
    ("rule-id", RULE, rule(version="new"), "a number from 1 on"),
    ("rule-id", AGAIN, again, "is there twice"),
    ("rule-time", RULE, rule(interval="often"), "need a time"),
    ("rule-time", RULE, rule(interval="1h"), "leaves gaps"),
    ("rule-attack", RULE, rule(threat=[{"tactic": {"id": "T1"}}]), "T1 with the page None"),
    ("rule-attack", RULE, rule(threat=below("T1059.001")), "T1059.001"),
    ("rule-index", RULE, rule(index=["logs-aquila_mde.alerts-*"]), "no data stream"),
    ("rule-index", RULE, rule(**ESQL, query="FROM logs-*\n| LIMIT 1"), "looks at logs-*"),
    ("rule-query", RULE, rule(query="event.kind: al*"), "no wildcards"),
    ("rule-query", RULE, rule(language="lucene"), "it is lucene"),
    ("rule-field", RULE, rule(query="event.knid: alert"), "event.knid"),
    ("rule-field", RULE, rule(rule_name_override="rule.title"), "rule.title"),
    ("rule-field", RULE, rule(severity_mapping=[{"field": "mde.x"}]), "mde.x"),
    (
        "rule-field",
        RULE,
        rule(**ESQL, query='FROM logs-aquila_mde.alert-*\n| WHERE host.idd == "a.b"'),
        "host.idd",
    ),
    (
        "rule-field",
        RULE,
        rule(language="eql", type="eql", query='any where event.knid == "a.b"'),
        "event.knid",
    ),
    ("rule-field", RULE, rule(threshold={"field": ["file.size"]}), "groups by file.size"),
    ("rule-field", RULE, rule(threshold={"field": "message"}), "match_only_text, for values"),
    ("rule-field", RULE, rule(new_terms_fields=["host.geo.location"]), "geo_point, for values"),
    (
        "rule-field",
        RULE,
        rule(threshold={"field": ["host.id"], "cardinality": [{"field": "message"}]}),
        "match_only_text, for unique",
    ),
    ("rule-field", RULE, rule(risk_score_mapping=[{"field": "event.id"}]), "keyword, for sum"),
    (
        "rule-field",
        RULE,
        rule(required_fields=[{"name": "host.id", "type": "ip"}]),
        "says that host.id is ip",
    ),
]

"""EQL and ES|QL of the same conditions as the queries, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.rules.trees import rule

from aquila_mde.rules.languages import eql, esql
from aquila_mde.rules.load import load_rules
from aquila_mde.rules.spec import Join, RuleSpec, Sequence
from aquila_mde.streams.tree import PackageTree


def sequence(*steps: str) -> str:
    return eql(Sequence(by=("organization.id", "host.id"), maxspan="1h", steps=steps))


def test_a_sequence() -> None:
    assert sequence("event.action: Isolate and event.outcome: success", "event.severity >= 47") == (
        "sequence by organization.id, host.id with maxspan=1h\n"
        '  [any where (event.action == "Isolate" and event.outcome == "success")]\n'
        "  [any where event.severity >= 47]"
    )


@pytest.mark.parametrize(
    ("kql", "expected"),
    [
        ("user.name: *", "user.name != null"),
        ("not user.name: *", "user.name == null"),
        ("not user.name: eva", '(user.name == null or user.name != "eva")'),
        ("not event.severity >= 47", "(event.severity == null or event.severity < 47)"),
        ("not event.severity < 47", "(event.severity == null or event.severity >= 47)"),
        (
            "not user.name: (a or b)",
            '((user.name == null or user.name != "a") and (user.name == null or user.name != "b"))',
        ),
        (
            "not (a: 1 and not b: true)",
            "((a == null or a != 1) or b == true)",
        ),
        ('rule.name: "it\'s \\"so\\""', 'rule.name == "it\'s \\"so\\""'),
        # A stream that has brought nothing yet has no such field.
        ("mde.hunting.name: x", '?mde.hunting.name == "x"'),
        ("not mde.hunting.name: *", "?mde.hunting.name == null"),
        ("@timestamp: x", '`@timestamp` == "x"'),
    ],
)
def test_each_condition_in_eql(kql: str, expected: str) -> None:
    assert sequence("event.kind: alert", kql).splitlines()[2] == f"  [any where {expected}]"


def test_a_join() -> None:
    spec = RuleSpec.model_validate(
        rule(
            type="join",
            query=None,
            streams=["alert", "machine_action"],
            join={
                "by": ["organization.id", "host.id"],
                "key": "person",
                "sides": [
                    {"query": "a: 1 and not b: *", "key": "mde.alert.assigned_to"},
                    {"query": "c: (x or y)", "key": "mde.machine_action.requestor"},
                ],
            },
        )
    )
    assert isinstance(spec.join, Join)
    assert esql(spec, spec.join).splitlines() == [
        "FROM logs-aquila_mde.alert-*, logs-aquila_mde.machine_action-*",
        '| EVAL side = CASE((a == 1 AND b IS NULL), 1, (c == "x" OR c == "y"), 2)',
        "| EVAL person = COALESCE(mde.alert.assigned_to, mde.machine_action.requestor)",
        "| WHERE side IS NOT NULL AND person IS NOT NULL",
        "| STATS sides = COUNT_DISTINCT(side), records = COUNT(*), first = MIN(@timestamp), "
        "last = MAX(@timestamp) BY organization.id, host.id, person",
        "| WHERE sides == 2",
    ]


def test_no_field_stands_on_both_sides_of_a_join_with_one_key(tmp_path: Path) -> None:
    for one in load_rules(PackageTree.default()):
        if one.spec.join is not None:
            keys = [side.key for side in one.spec.join.sides]
            assert len(set(keys)) == len(keys), "a threshold over the key does the same in KQL"

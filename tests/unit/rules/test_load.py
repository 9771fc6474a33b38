"""What is wrong in the file of a rule is told with its line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.rules.trees import rule, tree_with

from aquila_mde.build.built import field_types
from aquila_mde.rules.load import load_rules
from aquila_mde.rules.spec import length
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

TYPES = field_types(PackageTree.default())
GROUP = {"field": ["host.id"], "value": 2}
TERMS = {"field": ["host.id"], "history": "7d"}
BOTH = {"type": "threshold", "streams": ["alert", "hunting"]}
SEQUENCE = {"by": ["host.id"], "maxspan": "5m", "steps": ["event.kind: alert", "event.id: x"]}
STEPS = {"type": "sequence", "query": None}
SIDES = [
    {"query": "event.kind: alert", "key": "user.name"},
    {"query": "event.id: x", "key": "user.name"},
]


def told(folder: Path, **changes: Any) -> str:
    """What is said of a rule with ``changes``, without the folder."""
    with pytest.raises(FaultsFoundError) as raised:
        load_rules(tree_with(folder, one=rule(**changes)), TYPES)
    return str(raised.value).replace(str(folder), "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"titel": "x"}, "titel: is not a key"),
        ({"query": "event.kind alert"}, "query: needs a field and :"),
        ({"query": "event.kind: al*"}, "no wildcards"),
        ({"interval": "often"}, "interval: needs a number and m, h or d"),
        ({"look_back": "4m"}, "look_back must be as long as interval"),
        ({"threshold": GROUP}, "a rule of type query has none of them"),
        ({"type": "threshold"}, "a rule of type threshold has threshold"),
        ({"query": None}, "query is for the types"),
        (
            STEPS | {"sequence": SEQUENCE | {"maxspan": "1h"}},
            "look_back must be as long as maxspan",
        ),
        ({"streams": ["alerts"]}, "streams[0]: there is no data stream alerts"),
        ({"attack": {"Evasion": []}}, "attack.Evasion: there is no tactic Evasion"),
        ({"attack": {"Execution": ["T9999"]}}, "T9999 is not in attack.yml"),
        ({"attack": {"Execution": ["T1003"]}}, "T1003 belongs to CredentialAccess"),
        ({"query": "data_stream.dataset: aquila_mde.machine"}, "of none of the streams"),
        ({"streams": ["hunting"], "query": "mde.hunting.name: gone"}, "no hunting query gone"),
        ({"query": "event.knid: alert"}, "event.knid is no field of alert"),
        ({"query": "mde.alert.description: x"}, "whose words are looked for"),
        ({"query": "mde.alert.evidence.sha1: x"}, "lies in nested objects"),
        ({"query": "host.name >= 3"}, "host.name is keyword and cannot be compared with a bound"),
        ({"risk_score_mapping": "host.name"}, "host.name is keyword and cannot be a risk score"),
        ({"rule_name_override": "message"}, "cannot be what records belong together by"),
        (
            {"type": "new_terms", "new_terms": TERMS | {"field": ["host.geo.location"]}},
            "new_terms.field[0]: host.geo.location is geo_point",
        ),
        (
            {
                "type": "threshold",
                "threshold": GROUP | {"cardinality": {"field": "message", "value": 2}},
            },
            "message is match_only_text and cannot be counted",
        ),
        (
            BOTH | {"threshold": GROUP | {"field": ["mde.alert.status"]}},
            "mde.alert.status is no field of hunting, so its records belong to no group",
        ),
        (
            STEPS | {"sequence": SEQUENCE | {"steps": ["event.kind: alert", "tags: x"]}},
            "sequence.steps[1]: tags holds several values",
        ),
        (
            {
                "type": "join",
                "query": None,
                "join": {
                    "by": ["host.id"],
                    "key": "who",
                    "sides": [SIDES[0] | {"key": "x.y"}, SIDES[1]],
                },
            },
            "join.sides[0].key: x.y is no field of alert",
        ),
        (
            {
                "type": "join",
                "query": None,
                "join": {
                    "by": ["host.id"],
                    "key": "who",
                    "sides": [SIDES[0] | {"key": "event.severity"}, SIDES[1]],
                },
            },
            "join: becomes ES|QL that COALESCE gives keyword or long",
        ),
    ],
)
def test_a_fault_is_told_with_its_line(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    text = told(tmp_path, **changes)
    assert text.startswith("1 fault in the declarative files:\n  /package/rules/one.yml:")
    assert expected in text


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    tree = tree_with(tmp_path, a=rule(), b=rule(streams=["x"]), c=rule(query="event.knid: a"))
    with pytest.raises(FaultsFoundError) as raised:
        load_rules(tree, TYPES)
    assert [(one.file.stem, one.field) for one in raised.value.faults] == [
        ("b", "title"),
        ("b", "streams[0]"),
        ("c", "title"),
        ("c", "query"),
    ]


def test_what_is_not_said_follows_from_the_rest(tmp_path: Path) -> None:
    (one,) = load_rules(tree_with(tmp_path, one=rule()), TYPES)
    assert (one.rule_id, one.id) == ("aquila_mde-one", "aquila_mde-one_1")
    assert one.indices == ["logs-aquila_mde.alert-*"]
    assert one.spec.risk == 73
    assert one.spec.timestamp_override == "event.ingested"
    assert [length(span) for span in ("90m", "2h", "3d")] == [
        timedelta(minutes=90),
        timedelta(hours=2),
        timedelta(days=3),
    ]

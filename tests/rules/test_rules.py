"""Every rule on a real engine: it fires where it must, and is quiet where it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from aquila_mde.rules.ask import find
from aquila_mde.rules.load import Rule, load_rules
from aquila_mde.streams.tree import PackageTree
from tests.rules.cases import FOLDER, Case, read_cases
from tests.rules.conftest import Index
from tests.unit.rules.trees import rule, tree_with

RULES: dict[str, Rule] = {rule.name: rule for rule in load_rules(PackageTree.default())}
CASES = read_cases()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_rule_finds_what_it_is_about_and_nothing_else(case: Case, index: Index) -> None:
    now = int(case.now.timestamp() * 1000)
    found = await find(RULES[case.rule], index.search, now)
    assert found.total == case.times, found


async def test_a_rule_of_the_type_query_finds_each_record(index: Index, tmp_path: Path) -> None:
    (one,) = load_rules(
        tree_with(
            tmp_path,
            one=rule(streams=["machine_action"], query="event.action: *", look_back="2h"),
        )
    )
    (case,) = [each for each in CASES if each.about == "isolated, released, isolated, released"]
    now = int(case.now.timestamp() * 1000)
    found = await find(one, index.search, now)
    assert [each.values for each in found.listed] == [
        ("5382f7ea-7557-4ab7-9782-d50480024a01",),
        *(("a2",), ("a3",), ("a4",)),
    ]
    assert [(now - each.at) // 60_000 for each in found.listed] == [90, 80, 40, 10]
    assert found.total == 4


def test_every_rule_has_cases() -> None:
    assert {file.stem for file in FOLDER.glob("*.yml")} == set(RULES)


def test_there_is_a_promotion_and_a_dozen_rules_over_several_streams() -> None:
    assert RULES["defender_alert"].spec.rule_name_override == "rule.name"
    assert len(RULES) >= 13
    types = {rule.spec.type for rule in RULES.values()}
    assert types == {"threshold", "new_terms", "sequence", "join"}

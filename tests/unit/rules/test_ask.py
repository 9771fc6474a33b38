"""What belongs together in time, worked out here because not every engine has EQL."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.rules.trees import rule, tree_with

from aquila_mde.rules.ask import Finding, Json, TooManyRecordsError, find
from aquila_mde.rules.load import Rule, load_rules

MINUTE = 60_000


def rule_of(folder: Path, **changes: Any) -> Rule:
    (one,) = load_rules(tree_with(folder, one=rule(**changes)))
    return one


class Engine:
    """Answers each step of a sequence with the records that were given for it."""

    def __init__(self, *steps: list[tuple[int, str]], total: int | None = None) -> None:
        self.steps, self.total = list(steps), total
        self.asked: list[Json] = []

    async def search(self, indices: str, body: Json) -> Json:
        step = self.steps[len(self.asked) % len(self.steps)]
        self.asked.append(body | {"indices": indices})
        hits = [
            {"sort": [at * MINUTE], "fields": {"host.id": [host]} if host else {}}
            for at, host in step
        ]
        return {"hits": {"hits": hits, "total": {"value": self.total or len(hits)}}}


def sequence(folder: Path, steps: int = 2) -> Rule:
    conditions = [f"event.id: s{number}" for number in range(steps)]
    said = {"by": ["host.id"], "maxspan": "1h", "steps": conditions}
    return rule_of(folder, type="sequence", query=None, sequence=said, look_back="1d")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([[(0, "a")], [(60, "a")]], [("a", 60)]),
        ([[(0, "a")], [(61, "a")]], []),
        ([[(5, "a")], [(5, "a")]], []),  # at the same time is not after
        ([[(9, "a")], [(5, "a")]], []),
        ([[(0, "a")], [(5, "b")]], []),
        ([[(0, "")], [(5, "")]], []),  # without a value there is nothing to belong to
        ([[(0, "a")], [(5, "a"), (9, "a")]], [("a", 5)]),  # a sequence is told once
        ([[(0, "a"), (50, "a")], [(100, "a")]], [("a", 100)]),  # the later one begins it
        ([[(0, "a"), (20, "a")], [(10, "a"), (30, "a")]], [("a", 10), ("a", 30)]),
        ([[(0, "a")], [(10, "a")], [(59, "a")]], [("a", 59)]),
        ([[(0, "a")], [(10, "a")], [(61, "a")]], []),  # the whole must fit
        ([[(0, "a")], [(20, "a")], [(10, "a")]], []),
    ],
)
async def test_a_sequence_is_in_order_and_within_its_span(
    tmp_path: Path, steps: list[list[tuple[int, str]]], expected: list[tuple[str, int]]
) -> None:
    engine = Engine(*steps)
    found = await find(sequence(tmp_path, len(steps)), engine.search, 200 * MINUTE)
    assert found.listed == [Finding((host,), at * MINUTE) for host, at in expected]
    assert found.total == len(expected)


async def test_more_records_than_an_answer_holds_are_an_error(tmp_path: Path) -> None:
    engine = Engine([(0, "a")], total=10_001)
    with pytest.raises(TooManyRecordsError, match="more than 10,000 records of one step"):
        await find(sequence(tmp_path), engine.search, 200 * MINUTE)


async def test_a_longer_time_is_asked_for_look_back_by_look_back(tmp_path: Path) -> None:
    one = rule_of(
        tmp_path, type="threshold", threshold={"field": ["host.id"]}, interval="1h", look_back="1d"
    )
    asked = []

    async def search(indices: str, body: Json) -> Json:
        asked.append(body["query"]["bool"]["filter"][1]["range"]["@timestamp"])
        # An engine that has no such index yet.
        return {"hits": {"hits": [], "total": {"value": 0}}}

    day = 24 * 60 * MINUTE
    found = await find(one, search, 10 * day, timedelta(hours=60))
    assert (found.listed, found.total) == ([], 0)
    assert [(times["gte"], times["lt"]) for times in asked] == [
        (9 * day, 10 * day),
        (8 * day, 9 * day),
        (7.5 * day, 8 * day),
    ]


async def test_groups_are_read_page_by_page(tmp_path: Path) -> None:
    one = rule_of(tmp_path, type="threshold", threshold={"field": ["host.id"], "value": 2})
    after = []

    async def search(indices: str, body: Json) -> Json:
        composite = body["aggs"]["groups"]["composite"]
        after.append(composite.get("after"))
        count = composite["size"] if len(after) == 1 else 3
        buckets = [
            {
                "key": {"0": f"{len(after)}-{number}"},
                "doc_count": 1 + number % 2,
                "first": {"value": 1.0},
                "last": {"value": 2.0},
            }
            for number in range(count)
        ]
        return {"aggregations": {"groups": {"buckets": buckets, "after_key": {"0": "x"}}}}

    found = await find(one, search, 200 * MINUTE)
    assert after == [None, {"0": "x"}]
    assert found.total == 501
    assert found.listed[-1] == Finding(("2-1",), 2)

"""The questions of the package, and what can be wrong in one, with its line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.unit.dashboards.test_load import TYPES

from aquila_mde.hunting_pack.load import load_pack
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

KQL = """\
title: Open alerts
question: Which are open?
why: They are work.
then: Do it.
order: 1
language: kql
stream: alert
query: "mde.alert.resolved: false"
columns: ["@timestamp", rule.name]
last: 30d
techniques: [T1078.003]
"""
NOW = KQL.replace("last: 30d\n", "").replace("stream: alert", "stream: alert\nlatest: true")
LATEST_HUNTING = "security_solution-aquila_mde.hunting_latest"
ESQL = """\
title: Alerts by machine
question: Where are the most?
why: Work is done by machine.
then: Begin at the top.
order: 2
language: esql
query: |
  FROM logs-aquila_mde.alert-*, logs-aquila_mde.machine-*
  | STATS alerts = COUNT_DISTINCT(event.id) BY host.name
last: 30d
"""


def tree_with(folder: Path, **questions: str) -> PackageTree:
    root = PackageTree.default().root
    shutil.copytree(root / "data_stream", folder / "data_stream")
    (folder / "package" / "hunting").mkdir(parents=True)
    for name, text in questions.items():
        (folder / "package" / "hunting" / f"{name}.yml").write_text(text, encoding="utf-8")
    return PackageTree(folder)


def test_questions_are_read_in_their_order(tmp_path: Path) -> None:
    found = load_pack(tree_with(tmp_path, a_second=ESQL, the_first=KQL), TYPES)
    assert [one.id for one in found] == ["aquila_mde-the-first", "aquila_mde-a-second"]
    assert [one.streams for one in found] == [("alert",), ("alert", "machine")]


@pytest.mark.parametrize(
    ("text", "before", "after", "line", "told"),
    [
        (KQL, "Which are open?", "Open ones", 2, "should match"),
        (KQL, "language: kql", "language: sql", 6, "'kql' or 'esql'"),
        (KQL, "stream: alert\n", "", 1, "no stream or no columns, which KQL needs"),
        (KQL, "stream: alert", "stream: phone", 7, "there is no data stream phone"),
        (KQL, "resolved: false", "resolved: false and", 1, "the query ends where a field"),
        (KQL, "mde.alert.resolved", "mde.alert.evidence.sha1", 8, "nested objects"),
        (KQL, "mde.alert.resolved", "mde.alert.done", 8, "is no field of alert"),
        (KQL, "rule.name", "rule.nam", 9, "rule.nam is no field of alert"),
        (KQL, "T1078.003", "T78", 11, "should match"),
        (KQL, "why: They are work.\n", "", 1, "is missing"),
        (KQL, "last: 30d\n", "", 1, "either last or latest"),
        (KQL, "stream: alert", "stream: alert\nlatest: true", 1, "either last or latest"),
        (NOW, "stream: alert", "stream: hunting", 8, "the mapping.yml of hunting has no latest"),
        (
            ESQL,
            "language: esql",
            "language: esql\nstream: alert",
            1,
            "latest or columns, which an ES|QL query names itself",
        ),
        (ESQL, ".machine-*", ".phone-*", 7, "there is no data stream phone"),
        (ESQL, "last: 30d\n", "", 1, "has no last, which ES|QL needs"),
        (ESQL, "logs-aquila_mde.machine-*", LATEST_HUNTING, 7, "of hunting has no latest"),
        (ESQL, "FROM ", "FORM ", 7, "does not begin with FROM"),
        (ESQL, "host.name", "host.nam", 7, "host.nam is no column there"),
    ],
)
def test_each_fault_is_told_with_its_line(
    tmp_path: Path, text: str, before: str, after: str, line: int, told: str
) -> None:
    assert before in text
    tree = tree_with(tmp_path, one=text.replace(before, after, 1))
    with pytest.raises(FaultsFoundError) as raised:
        load_pack(tree, TYPES)
    (fault,) = raised.value.faults
    assert told in fault.problem
    assert (fault.file.name, fault.line) == ("one.yml", line)


def test_two_questions_have_two_titles(tmp_path: Path) -> None:
    with pytest.raises(FaultsFoundError, match=r"two.yml:1: title: is the title of one.yml too"):
        load_pack(tree_with(tmp_path, one=KQL, two=KQL))


def test_a_field_of_two_types_is_no_use(tmp_path: Path) -> None:
    types = {**TYPES, "machine": {**TYPES["machine"], "host.name": "long"}}
    with pytest.raises(FaultsFoundError, match="conflicting"):
        load_pack(tree_with(tmp_path, one=ESQL), types)


def test_the_pack_has_questions_about_every_stream_in_both_languages() -> None:
    pack = load_pack(PackageTree.default(), TYPES)
    assert len(pack) >= 20
    assert {one.spec.language for one in pack} == {"kql", "esql"}
    read = {stream for one in pack for stream in one.streams}
    assert read == {"alert", "machine", "machine_action", "vulnerability", "hunting"}
    assert [one.spec.order for one in pack] == sorted({one.spec.order for one in pack})


def test_no_question_holds_a_time_of_its_own() -> None:
    """Kibana's time would be limited once more, and nobody would see by what."""
    for one in load_pack(PackageTree.default()):
        assert not re.search(r"@timestamp\s*[<>]", one.spec.query), one.name

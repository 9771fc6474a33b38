"""What an ES|QL query may say, and what Elasticsearch would refuse."""

from __future__ import annotations

import pytest

from aquila_mde.esql import EsqlError, read_query

FIELDS = {
    "@timestamp": "date",
    "event.id": "keyword",
    "event.created": "date",
    "host.name": "keyword",
    "host.ip": "ip",
    "message": "match_only_text",
    "kind": "constant_keyword",
    "line": "wildcard",
    "number": "long",
    "rank": "byte",
    "score": "float",
    "open": "boolean",
    "extra": "flattened",
    "evidence": "nested",
    "evidence.sha1": "keyword",
    "both": "keyword",
}


def columns(*commands: str) -> list[str]:
    text = "\n| ".join(("FROM logs-aquila_mde.alert-*, logs-aquila_mde.machine-*", *commands))
    return read_query(text).check({"alert": FIELDS, "machine": {**FIELDS, "both": "long"}})


@pytest.mark.parametrize(
    ("commands", "left"),
    [
        (["KEEP host.name, number"], ["host.name", "number"]),
        (["KEEP host.name, number", "DROP number"], ["host.name"]),
        (["KEEP number", "EVAL `twice as much` = number * 2 // more"], ["number", "twice as much"]),
        (["STATS n = COUNT(*)"], ["n"]),
        (["STATS n = COUNT(*), worst = MAX(rank) BY host.name, kind"], ["n", "worst"]),
        (["STATS n = COUNT(*) WHERE open BY day = DATE_TRUNC(1 day, @timestamp)"], ["n", "day"]),
        (["STATS m = ROUND(AVG(score) * 100, 1)", "WHERE m > 3.5"], ["m"]),
        (["STATS first = MIN(@timestamp) BY host.name", "KEEP first"], ["first"]),
        (["STATS a = COUNT_DISTINCT(CASE(open, event.id, NULL))"], ["a"]),
        (["EVAL t = COALESCE(score, 0.1) + rank", "KEEP t"], ["t"]),
        (['EVAL d = DATE_DIFF("hours", event.created, NOW())', "WHERE d < 3", "KEEP d"], ["d"]),
        (["WHERE @timestamp > NOW() - 30 days AND NOT open", "KEEP kind"], ["kind"]),
        (['WHERE host.name IN ("a", "b") OR line LIKE "*x*"', "KEEP kind"], ["kind"]),
        (["WHERE (host.name IS NOT NULL) AND kind IS NULL", "KEEP kind"], ["kind"]),
        (["MV_EXPAND host.ip", 'WHERE host.ip == "192.0.2.1" AND number >= -1'], ["@timestamp"]),
        (['WHERE host.name NOT LIKE "srv*" AND number NOT IN (1, 2)', "KEEP kind"], ["kind"]),
        (['WHERE STARTS_WITH(TO_LOWER(host.name), "srv")', "KEEP kind"], ["kind"]),
        (
            ["MV_EXPAND host.ip", "SORT host.ip DESC NULLS LAST, number", "LIMIT 3", "KEEP kind"],
            ["kind"],
        ),
    ],
)
def test_what_a_query_may_say(commands: list[str], left: list[str]) -> None:
    found = columns(*commands)
    assert found[: len(left)] == left


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        (["WHERE host.x == 1"], "host.x is no column there"),
        (["KEEP kind", "WHERE number > 1"], "number is no column there"),
        (["STATS n = COUNT(*) BY kind", "SORT number"], "number is no column there"),
        (["WHERE number"], "needs a condition, not something that is long"),
        (['WHERE number == "1"'], "compares long == keyword"),
        (["WHERE open > 1"], "compares boolean > integer"),
        (['WHERE host.name IN ("a", 1)'], "looks for integer IN a list"),
        (['WHERE host.name NOT "a"'], "NOT needs IN"),
        (['WHERE number LIKE "1"'], "LIKE compares texts"),
        (["WHERE open IS 1"], "IS needs NULL"),
        (["WHERE open AND number"], "AND joins conditions"),
        (['WHERE host.ip == "192.0.2.1"'], "host.ip, which may hold several values"),
        (['WHERE host.ip NOT IN ("192.0.2.1")', "MV_EXPAND host.ip"], "MV_EXPAND it before"),
        (['WHERE extra == "a"'], "cannot read (unsupported)"),
        (['WHERE evidence.sha1 == "a"'], "evidence.sha1 is no column"),
        (['WHERE both == "a"'], "cannot read (conflicting)"),
        (["WHERE COUNT(number) > 1"], "belongs to STATS"),
        (["EVAL a = AVG(number)"], "belongs to STATS"),
        (["EVAL number * 2"], "needs a name and ="),
        (["EVAL a = host.name * 2"], "reckons keyword * integer"),
        (["EVAL a = @timestamp - 3"], "reckons date - integer"),
        (["EVAL a = TO_UPPER(host.name)"], "the function TO_UPPER, which is not known"),
        (['EVAL a = DATE_DIFF("days", number, NOW())'], "DATE_DIFF does not take"),
        (['EVAL a = DATE_DIFF("days")'], "DATE_DIFF needs 2 arguments"),
        (["EVAL a = COALESCE(number, host.name)"], "COALESCE gives keyword or long"),
        (["EVAL a = CASE(open, 1, open, 2, 0.5)"], "CASE gives double or integer"),
        (["EVAL a = (1"], "ends where something is missing"),
        (["EVAL a = 1 2"], "not understood from '2'"),
        (["EVAL a = 1 ; 2"], "not understood from '; 2'"),
        (["STATS n = AVG(host.name)"], "AVG does not take something that is keyword"),
        (["STATS n = MAX(extra)"], "cannot read"),
        (["STATS n = COUNT(*), host.name BY kind"], "needs a name and ="),
        (["STATS n = number BY kind"], "neither grouped by nor put together"),
        (["STATS n = COUNT(*) WHERE number"], "n is limited by something that is long"),
        (["STATS"], "says nothing"),
        (["SORT message"], "cannot order what is text"),
        (["SORT number NULLS"], "NULLS needs FIRST or LAST"),
        (["LIMIT many"], "many is no column"),
        (['LIMIT "3"'], "needs a number"),
        (["ENRICH a"], "the command ENRICH, which is not known"),
        ([""], "no command at place 2"),
    ],
)
def test_what_elasticsearch_would_refuse(commands: list[str], told: str) -> None:
    with pytest.raises(EsqlError) as raised:
        columns(*commands)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ROW a = 1", "does not begin with FROM"),
        ("FROM", "names nothing"),
        ("FROM logs-*", "reads logs-*; write logs-aquila_mde.<stream>-* or security_solution-aq"),
        ("FROM metrics", "reads metrics"),
    ],
)
def test_a_query_reads_streams_of_the_package(text: str, told: str) -> None:
    with pytest.raises(EsqlError) as raised:
        read_query(text)
    assert told in str(raised.value)


def test_newest_versions_are_read_beside_a_stream() -> None:
    newest = "security_solution-aquila_mde.alert_latest"
    query = read_query(f"FROM {newest}, logs-aquila_mde.machine-* | KEEP host.name")
    assert (query.streams, query.latest) == (("alert", "machine"), {"alert"})
    assert query.index == f"{newest},logs-aquila_mde.machine-*"


def test_several_streams_are_read_together() -> None:
    query = read_query("FROM logs-aquila_mde.alert-*, logs-aquila_mde.machine_action-* | LIMIT 1")
    assert query.streams == ("alert", "machine_action")
    assert query.index == "logs-aquila_mde.alert-*,logs-aquila_mde.machine_action-*"

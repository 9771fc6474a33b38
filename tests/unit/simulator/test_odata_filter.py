"""``$filter``: what the parser takes, what it refuses, and that it truly filters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquila_mde.simulator.clock import format_time, parse_time
from aquila_mde.simulator.odata import Kind, ODataError, compile_filter

PROPERTIES: dict[str, Kind] = {
    "lastUpdateTime": "time",
    "status": "text",
    "incidentId": "number",
    "isAadJoined": "boolean",
    "machineTags": "texts",
}
ROW: dict[str, Any] = {
    "lastUpdateTime": parse_time("2026-01-01T00:00:00.1234567Z"),
    "status": "O'Neil",
    "incidentId": 7,
    "isAadJoined": True,
    "machineTags": ("a",),
}


def matches(text: str, **changes: Any) -> bool:
    return compile_filter(text, PROPERTIES, "Alert")({**ROW, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "status eq 'O''Neil'",
        "status ne 'New'",
        "status in ('New', 'O''Neil')",
        "incidentId in (7)",
        "lastUpdateTime ge 2026-01-01T00:00:00.1234567Z",
        "lastUpdateTime le 2026-01-01T00:00:00.1234567Z",
        "lastUpdateTime gt 2026-01-01T00:00:00.1234566Z",
        "lastUpdateTime lt 2026-01-01T00:00:00.1234568Z",
        "lastUpdateTime eq 2026-01-01T01:00:00.1234567+01:00",
        "incidentId lt 7.5",
        "isAadJoined eq true",
        "incidentId eq 8 or incidentId eq 7 and isAadJoined eq true",
        "(incidentId eq 8 or incidentId eq 7) and status ne null",
        "incidentId eq 7 and incidentId gt 6 and incidentId lt 8",
        " ( ( incidentId eq 7 ) ) ",
    ],
)
def test_takes_what_the_service_takes(text: str) -> None:
    assert matches(text)


def test_and_binds_closer_than_or() -> None:
    text = "incidentId eq 7 or incidentId eq 8 and status eq 'nobody'"
    assert matches(text)
    assert not matches("(incidentId eq 7 or incidentId eq 8) and status eq 'nobody'")


@pytest.mark.parametrize("word", ["gt", "ge", "lt", "le"])
def test_a_null_is_neither_greater_nor_less(word: str) -> None:
    assert not matches(f"incidentId {word} 0", incidentId=None)
    assert not matches(f"incidentId {word} null")


def test_null_is_equal_to_null_only() -> None:
    assert matches("status eq null", status=None)
    assert matches("status ne 'New'", status=None)
    assert not matches("status eq null")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title eq 'x'", "Could not find a property named 'title' on type 'Alert'"),
        ("Status eq 'x'", "Could not find a property named 'Status'"),
        ("lastUpdateTime ge '2026-01-01T00:00:00Z'", "incompatible types"),
        ("lastUpdateTime ge 2026-01-01T00:00:00", "Unrecognized literal"),
        ("lastUpdateTime ge 2026-01-01T00:00:00.12345678Z", "Unrecognized literal"),
        ("lastUpdateTime ge 2026-13-01T00:00:00Z", "Unrecognized literal"),
        ("incidentId eq 'x'", "incompatible types"),
        ("isAadJoined eq 1", "incompatible types"),
        ("machineTags eq 'a'", "incompatible types"),
        ("status like 'x'", "'like' is not an operator"),
        ("status eq", "ends too early"),
        ("status eq 'x' and", "ends too early"),
        ("(status eq 'x'", "ends too early"),
        ("status eq 'x')", "Syntax error: ')'"),
        ("status in ()", "Syntax error: ')'"),
        ("status in 'x'", "Syntax error: ''x''"),
        ("status eq 'x", "character at position"),
        ("incidentId eq 7and status eq 'x'", "Syntax error at position"),
        ("eq eq eq", "Could not find a property named 'eq'"),
        ("", "ends too early"),
        ("(" * 101 + "incidentId eq 7" + ")" * 101, "recursion limit"),
    ],
)
def test_refuses_what_the_service_refuses(text: str, complaint: str) -> None:
    with pytest.raises(ODataError) as refused:
        compile_filter(text, PROPERTIES, "Alert")
    assert complaint in str(refused.value)


def test_a_bare_guid_is_a_text() -> None:
    guid = "80fe8ff8-2624-418e-9591-41f0491218f9"
    assert matches(f"status eq {guid}", status=guid)


# Expressions are drawn as (text, what a row must answer), so that no second parser is needed.
Drawn = tuple[str, Any]
COMPARE: dict[str, Any] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a is not None and a > b,
    "ge": lambda a, b: a is not None and a >= b,
    "lt": lambda a, b: a is not None and a < b,
    "le": lambda a, b: a is not None and a <= b,
}
TICKS = st.integers(min_value=0, max_value=40_000_000_000_000_000)
SMALL = st.integers(min_value=-3, max_value=3)
TEXTS = st.text(alphabet="ab' )", max_size=3)


@st.composite
def comparisons(draw: st.DrawFn) -> Drawn:
    word = draw(st.sampled_from(sorted(COMPARE)))
    kind = draw(st.sampled_from(["time", "number", "text"]))
    if kind == "time":
        name, value = "lastUpdateTime", draw(TICKS)
        literal = format_time(value)
    elif kind == "number":
        name, value = "incidentId", draw(SMALL)
        literal = str(value)
    else:
        name, value = "status", draw(TEXTS)
        literal = "'" + value.replace("'", "''") + "'"
    return f"{name} {word} {literal}", lambda row: COMPARE[word](row[name], value)


def joined(parts: tuple[Drawn, str, Drawn]) -> Drawn:
    (left, left_answer), word, (right, right_answer) = parts
    if word == "and":
        return f"({left}) and ({right})", lambda row: left_answer(row) and right_answer(row)
    return f"({left} or {right})", lambda row: left_answer(row) or right_answer(row)


EXPRESSIONS = st.recursive(
    comparisons(),
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(joined),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries(
    {
        "lastUpdateTime": st.none() | TICKS,
        "incidentId": st.none() | SMALL,
        "status": st.none() | TEXTS,
    }
)


@settings(deadline=None)  # another process may have the processor
@given(EXPRESSIONS, ROWS)
def test_any_expression_answers_as_it_reads(drawn: Drawn, row: dict[str, Any]) -> None:
    text, answer = drawn
    assert compile_filter(text, PROPERTIES, "Alert")({**ROW, **row}) == answer(row)


@settings(deadline=None)
@given(st.text(alphabet="statusin eqandor()',0123456789-:TZ.", max_size=40) | st.text(max_size=20))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        predicate = compile_filter(text, PROPERTIES, "Alert")
    except ODataError:
        return
    assert predicate(ROW) in (True, False)

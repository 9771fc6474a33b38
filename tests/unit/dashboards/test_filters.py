"""What a filter means to an engine, and what is wrong with one that means nothing."""

from __future__ import annotations

import pytest

from aquila_mde.dashboards.filters import FilterError, parse_filter


def term(field: str, value: object) -> dict[str, object]:
    return {"term": {field: value}}


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a: b", term("a", "b")),
        ("a.b:true", term("a.b", True)),
        ("a: 7", term("a", 7)),
        ('a: "two (or) words"', term("a", "two (or) words")),
        (r'a: "a \"quoted\" word"', term("a", 'a "quoted" word')),
        ("a: *", {"exists": {"field": "a"}}),
        ("a >= 0.5", {"range": {"a": {"gte": 0.5}}}),
        ("a < now-7d", {"range": {"a": {"lt": "now-7d"}}}),
        ("@timestamp > 3", {"range": {"@timestamp": {"gt": 3}}}),
        (
            "a: (b or c)",
            {"bool": {"should": [term("a", "b"), term("a", "c")], "minimum_should_match": 1}},
        ),
        ("not a: b", {"bool": {"must_not": [term("a", "b")]}}),
        ("a: b AND c: d", {"bool": {"filter": [term("a", "b"), term("c", "d")]}}),
        (
            "a: b or c: d and not e: f",
            {
                "bool": {
                    "should": [
                        term("a", "b"),
                        {
                            "bool": {
                                "filter": [
                                    term("c", "d"),
                                    {"bool": {"must_not": [term("e", "f")]}},
                                ]
                            }
                        },
                    ],
                    "minimum_should_match": 1,
                }
            },
        ),
        ("(a: b)", term("a", "b")),
    ],
)
def test_a_filter_as_a_query(text: str, query: dict[str, object]) -> None:
    assert parse_filter(text).query() == query


def test_every_field_of_a_filter_is_told() -> None:
    found = parse_filter("a: (b or c) and not (d >= 1 or e: *)")
    assert list(found.fields()) == ["a", "a", "d", "e"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a field is missing"),
        ("a", "a comparison behind the field is missing"),
        ("a:", "a value is missing"),
        ("a: b c: d", "from 'c' on"),
        ("a: (b", "missing"),
        ("a: (b and c)", r"needs \)"),
        ("a: b*", "no wildcards"),
        ('"a": b', "needs a field"),
        ("a ( b", "needs a field and :"),
        ("a: or", "needs a value"),
        ('a: "b', "is not understood"),
        ("a: b)", "from '\\)' on"),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    with pytest.raises(FilterError, match=told):
        parse_filter(text)

"""A sequence as EQL and a join as ES|QL, made of the same conditions that an engine is asked by.

Both compare with the value that is there: where a record has none, neither ``==`` nor its opposite
is true. In KQL the opposite is, so it is written out here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from aquila_mde.dashboards.filters import Joined, Term, parse_filter
from aquila_mde.dashboards.load import searched
from aquila_mde.rules.spec import Join, RuleSpec, Sequence

_OPPOSITE = {">=": "<", ">": "<=", "<=": ">", "<": ">="}


@dataclass(frozen=True)
class _Words:
    """How a language says it."""

    both: str
    either: str
    there: str
    missing: str
    perhaps: str
    """Before a field that only one stream has, which may have no index yet."""


_EQL = _Words("and", "or", "{} != null", "{} == null", "?")
_ESQL = _Words("AND", "OR", "{} IS NOT NULL", "{} IS NULL", "")


def eql(sequence: Sequence) -> str:
    """The sequence in EQL."""
    steps = [f"  [any where {_said(parse_filter(step), _EQL)}]" for step in sequence.steps]
    by = ", ".join(_name(field, _EQL) for field in sequence.by)
    return "\n".join([f"sequence by {by} with maxspan={sequence.maxspan}", *steps])


def esql(rule: RuleSpec, join: Join) -> str:
    """The join in ES|QL: one row for each value that every side has."""
    sides = range(1, len(join.sides) + 1)
    cases = ", ".join(
        f"{_said(parse_filter(side.query), _ESQL)}, {number}"
        for number, side in zip(sides, join.sides, strict=True)
    )
    # Of one side, or of several: what stands first in the record is taken.
    keys = list(dict.fromkeys(side.key for side in join.sides))
    key = f"COALESCE({', '.join(keys)})" if len(keys) > 1 else keys[0]
    by = ", ".join([*join.by, join.key])
    return "\n".join(
        [
            f"FROM {', '.join(map(searched, rule.streams))}",
            f"| EVAL side = CASE({cases})",
            f"| EVAL {join.key} = {key}",
            f"| WHERE side IS NOT NULL AND {join.key} IS NOT NULL",
            "| STATS sides = COUNT_DISTINCT(side), records = COUNT(*), first = MIN(@timestamp), "
            f"last = MAX(@timestamp) BY {by}",
            f"| WHERE sides == {len(join.sides)}",
        ]
    )


def _said(condition: Term | Joined, words: _Words) -> str:
    if isinstance(condition, Term):
        return _term(condition, words)
    if condition.word == "not":
        return _opposite(condition.parts[0], words)
    said = [_said(part, words) for part in condition.parts]
    return _together(said, words.both if condition.word == "and" else words.either)


def _opposite(condition: Term | Joined, words: _Words) -> str:
    if isinstance(condition, Term):
        return _not_term(condition, words)
    if condition.word == "not":
        return _said(condition.parts[0], words)
    said = [_opposite(part, words) for part in condition.parts]
    return _together(said, words.either if condition.word == "and" else words.both)


def _term(term: Term, words: _Words) -> str:
    if term.value is None:
        return words.there.format(_name(term.field, words))
    return f"{_name(term.field, words)} {'==' if term.sign == ':' else term.sign} {_value(term)}"


def _not_term(term: Term, words: _Words) -> str:
    missing = words.missing.format(_name(term.field, words))
    if term.value is None:
        return missing
    sign = "!=" if term.sign == ":" else _OPPOSITE[term.sign]
    return f"({missing} {words.either} {_name(term.field, words)} {sign} {_value(term)})"


def _together(said: list[str], word: str) -> str:
    return f"({f' {word} '.join(said)})" if len(said) > 1 else said[0]


def _value(term: Term) -> str:
    return json.dumps(term.value, ensure_ascii=False)


def _name(field: str, words: _Words) -> str:
    if field.startswith("mde."):
        return f"{words.perhaps}{field}"
    return f"`{field}`" if field.startswith("@") else field

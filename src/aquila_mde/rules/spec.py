"""What a file of ``package/rules/`` says: one detection rule, in the words of Elastic's detections.

Five types. ``query`` finds each record that matches, ``threshold`` groups of records, ``new_terms``
values that were not there before: these ask in KQL. A ``sequence`` is one thing after another on
the same machine and becomes EQL; a ``join`` is several things in any order, told by a value that
each stream keeps in a field of its own, and becomes ES|QL. Both are made of conditions in KQL, so
that every type can be asked of an engine that has neither language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from aquila_mde.dashboards.filters import FilterError, Joined, Term, parse_filter
from aquila_mde.dashboards.spec import FieldName

Severity = Literal["low", "medium", "high", "critical"]
Type = Literal["query", "threshold", "new_terms", "sequence", "join"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Place = tuple[str | int, ...]
Use = Literal["condition", "range", "group", "distinct", "number"]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
RISK: dict[Severity, int] = {"low": 21, "medium": 47, "high": 73, "critical": 99}
"""The risk score that Elastic's own rules have at each severity."""
INGESTED: Literal["event.ingested"] = "event.ingested"
OF_RECORD: Literal["@timestamp"] = "@timestamp"


class _Part(BaseModel):
    """A frozen part of a rule; an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _kql(text: str) -> str:
    try:
        parse_filter(text)
    except FilterError as error:
        raise ValueError(str(error)) from None
    return " ".join(text.split())


def _span(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[mhd]", text):
        raise ValueError("needs a number and m, h or d, such as 5m")
    return text


Kql = Annotated[str, AfterValidator(_kql)]
Span = Annotated[str, AfterValidator(_span)]


def length(span: str) -> timedelta:
    """``span`` as a time: ``90m``, ``1h``, ``30d``."""
    return timedelta(**{_UNITS[span[-1]]: int(span[:-1])})


class Distinct(_Part):
    """How many different values a field must have among the records of a group."""

    field: FieldName
    value: int = Field(ge=1)


class Threshold(_Part):
    """How many records make a group: ``value`` of them with the same values of ``field``."""

    field: tuple[FieldName, ...] = Field(min_length=1, max_length=5)
    value: int = Field(default=1, ge=1)
    cardinality: Distinct | None = None


class NewTerms(_Part):
    """Values of ``field`` that no record of the ``history`` before had."""

    field: tuple[FieldName, ...] = Field(min_length=1, max_length=3)
    history: Span


class Sequence(_Part):
    """Records that match one step after the other, with the same values of ``by``."""

    by: tuple[FieldName, ...] = Field(min_length=1)
    maxspan: Span
    steps: tuple[Kql, ...] = Field(min_length=2)


class Side(_Part):
    """One kind of record in a join; ``key`` holds the value by which it belongs to the others."""

    query: Kql
    key: FieldName


class Join(_Part):
    """Records of each side that have the same values of ``by`` and of their ``key``."""

    by: tuple[FieldName, ...] = Field(min_length=1)
    key: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
    """What the shared value is called in the detection."""
    sides: tuple[Side, ...] = Field(min_length=2)


class SeverityMapping(_Part):
    """The severity of a detection by the value of a field."""

    field: FieldName
    values: dict[str, Severity] = Field(min_length=1)


class RuleSpec(_Part):
    """One detection rule."""

    title: str
    description: str
    severity: Severity
    risk_score: int | None = Field(default=None, ge=0, le=100)
    """By the severity, where the file does not say."""
    version: int = Field(default=1, ge=1)
    """Kibana offers an update when it is higher than that of the rule it has."""
    type: Type
    streams: tuple[Name, ...] = Field(min_length=1)
    query: Kql | None = None
    threshold: Threshold | None = None
    new_terms: NewTerms | None = None
    sequence: Sequence | None = None
    join: Join | None = None
    interval: Span
    look_back: Span
    """How far back each run looks; longer than the interval."""
    timestamp_override: Literal["event.ingested", "@timestamp"] = INGESTED
    """Records of Defender come late, so rules count from when a record was taken in. One that
    looks for new values counts from the record's own time, or a backfill would be no history."""
    attack: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Techniques of ATT&CK by tactic."""
    severity_mapping: SeverityMapping | None = None
    risk_score_mapping: FieldName | None = None
    rule_name_override: FieldName | None = None
    highlighted: tuple[FieldName, ...] = ()
    """The fields that are shown first in a detection."""
    max_signals: int = Field(default=100, ge=1, le=1000)
    setup: str | None = None
    """What must be switched on for the rule to find anything."""
    false_positives: tuple[str, ...] = Field(min_length=1)
    note: str
    """The investigation guide, Markdown."""
    references: tuple[Annotated[str, Field(pattern=r"^https://")], ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        own = {"threshold", "new_terms", "sequence", "join"}
        given = {name for name in own if getattr(self, name) is not None}
        if given != own & {self.type}:
            wanted = self.type if self.type in own else "none of them"
            raise ValueError(
                f"of threshold, new_terms, sequence and join a rule of type {self.type} has "
                f"{wanted}"
            )
        if (self.query is None) != (self.type in ("sequence", "join")):
            raise ValueError("query is for the types query, threshold and new_terms")
        if length(self.look_back) < length(self.interval):
            raise ValueError("look_back must be as long as interval, or records are left out")
        if self.sequence is not None and length(self.look_back) < length(self.sequence.maxspan):
            raise ValueError("look_back must be as long as maxspan, or sequences are left out")
        return self

    @property
    def risk(self) -> int:
        """The risk score."""
        return RISK[self.severity] if self.risk_score is None else self.risk_score

    def conditions(self) -> tuple[str, ...]:
        """Every condition of the rule, in KQL."""
        if self.sequence is not None:
            return self.sequence.steps
        if self.join is not None:
            return tuple(side.query for side in self.join.sides)
        return (str(self.query),)

    def terms(self) -> Iterator[tuple[Place, Term]]:
        """Each comparison of each condition, with the place of the condition in the file."""
        for place, text in self._placed():
            for term in _terms(parse_filter(text)):
                yield place, term

    def keys(self) -> tuple[str, ...]:
        """The fields by which records belong together, that every stream must have."""
        if self.threshold is not None:
            return self.threshold.field
        if self.new_terms is not None:
            return self.new_terms.field
        if self.sequence is not None:
            return self.sequence.by
        return self.join.by if self.join is not None else ()

    def fields(self) -> Iterator[tuple[Place, str, Use]]:
        """Each field with its place in the file and what it is used for."""
        for place, term in self.terms():
            yield place, term.field, "condition" if term.sign == ":" else "range"
        owner = self.type if self.type != "query" else ""
        within = "field" if self.type in ("threshold", "new_terms") else "by"
        for number, name in enumerate(self.keys()):
            yield (owner, within, number), name, "group"
        if self.threshold is not None and self.threshold.cardinality is not None:
            place = ("threshold", "cardinality", "field")
            yield place, self.threshold.cardinality.field, "distinct"
        for number, side in enumerate(self.join.sides if self.join is not None else ()):
            yield ("join", "sides", number, "key"), side.key, "group"
        if self.severity_mapping is not None:
            yield ("severity_mapping", "field"), self.severity_mapping.field, "group"
        if self.risk_score_mapping is not None:
            yield ("risk_score_mapping",), self.risk_score_mapping, "number"
        if self.rule_name_override is not None:
            yield ("rule_name_override",), self.rule_name_override, "group"
        for number, name in enumerate(self.highlighted):
            yield ("highlighted", number), name, "condition"

    def _placed(self) -> Iterator[tuple[Place, str]]:
        if self.sequence is not None:
            for number, step in enumerate(self.sequence.steps):
                yield ("sequence", "steps", number), step
        elif self.join is not None:
            for number, side in enumerate(self.join.sides):
                yield ("join", "sides", number, "query"), side.query
        else:
            yield ("query",), str(self.query)


def _terms(condition: Term | Joined) -> Iterator[Term]:
    if isinstance(condition, Term):
        yield condition
    else:
        for part in condition.parts:
            yield from _terms(part)

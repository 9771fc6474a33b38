"""``$filter`` as the Defender service takes it: a parser and what it compiles to.

Comparisons (eq ne gt ge lt le), ``in``, ``and``, ``or`` and parentheses, over the properties an
endpoint documents. Time literals are bare, strings in single quotes with ``'`` doubled. Everything
else is refused, as the service does, with a message in its words.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aquila_mde.simulator.clock import parse_time

Kind = Literal["time", "text", "number", "boolean", "texts"]
Columns = Mapping[str, Any]
Predicate = Callable[[Columns], bool]

_DEEPEST = 100
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})
      | (?P<time>\d{4}-\d{2}-\d{2}T[0-9:.]*(?:Z|[+-]\d{2}:\d{2})?)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<text>'(?:[^']|'')*')
      | (?P<word>[A-Za-z_@$][\w./]*)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)


class ODataError(ValueError):
    """A query that the service answers with 400. The message is the service's."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def compile_filter(text: str, properties: Mapping[str, Kind], type_name: str) -> Predicate:
    """A predicate over the columns of one record.

    ``properties`` are the ones that may be named; a column holds ticks for a time, a string, a
    number, a boolean, a tuple of strings, or None. Raises :class:`ODataError`.
    """
    return _Parser(_tokens(text), properties, type_name).parse()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ODataError(f"Syntax error: character at position {position} in '{text}'.")
        found.append(_Token(match.lastgroup or "", match[match.lastgroup or 0], match.start()))
        position = match.end()
        if match.lastgroup != "mark" and position < end and text[position] not in " \t\r\n(),":
            raise ODataError(f"Syntax error at position {position} in '{text}'.")
    return found


class _Parser:
    def __init__(
        self, tokens: list[_Token], properties: Mapping[str, Kind], type_name: str
    ) -> None:
        self._tokens = tokens
        self._next = 0
        self._properties = properties
        self._type_name = type_name
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._any_of()
        if self._next < len(self._tokens):
            raise self._unexpected()
        return predicate

    def _any_of(self) -> Predicate:
        terms = [self._all_of()]
        while self._accept("word", "or"):
            terms.append(self._all_of())
        return terms[0] if len(terms) == 1 else lambda row: any(term(row) for term in terms)

    def _all_of(self) -> Predicate:
        terms = [self._factor()]
        while self._accept("word", "and"):
            terms.append(self._factor())
        if len(terms) == 2:
            first, second = terms
            return lambda row: first(row) and second(row)
        return terms[0] if len(terms) == 1 else lambda row: all(term(row) for term in terms)

    def _factor(self) -> Predicate:
        if self._accept("mark", "("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise ODataError("The recursion limit of the query has been exceeded.")
            inner = self._any_of()
            self._expect("mark", ")")
            self._depth -= 1
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        token = self._take("word")
        name = token.text
        if name not in self._properties:
            raise ODataError(
                f"Could not find a property named '{name}' on type '{self._type_name}'."
            )
        kind = self._properties[name]
        if kind == "texts":
            raise ODataError(f"A binary operator with incompatible types was detected on '{name}'.")
        word = self._take("word").text
        if word == "in":
            return self._one_of(name, kind)
        if word not in _OPERATORS:
            raise ODataError(f"Syntax error: '{word}' is not an operator that is supported.")
        value = self._literal(name, kind)
        if value is None and word not in ("eq", "ne"):
            return lambda _: False
        return _compare(name, word, value)

    def _one_of(self, name: str, kind: Kind) -> Predicate:
        self._expect("mark", "(")
        values = {self._literal(name, kind)}
        while self._accept("mark", ","):
            values.add(self._literal(name, kind))
        self._expect("mark", ")")
        return lambda row: row[name] in values

    def _literal(self, name: str, kind: Kind) -> Any:
        token = self._take("guid", "time", "number", "text", "word")
        if token.text == "null" and token.kind == "word":
            return None
        try:
            if kind == "time" and token.kind == "time":
                return parse_time(token.text)
            if kind == "text" and token.kind in ("text", "guid"):
                return token.text[1:-1].replace("''", "'") if token.kind == "text" else token.text
            if kind == "number" and token.kind == "number":
                return float(token.text) if "." in token.text else int(token.text)
            if kind == "boolean" and token.text in ("true", "false"):
                return token.text == "true"
        except ValueError as error:
            raise ODataError(
                f"Unrecognized literal '{token.text}' at position {token.position}."
            ) from error
        raise ODataError(
            f"A binary operator with incompatible types was detected: '{name}' and '{token.text}'."
        )

    def _accept(self, kind: str, text: str) -> bool:
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token.kind == kind and token.text == text:
                self._next += 1
                return True
        return False

    def _expect(self, kind: str, text: str) -> None:
        if not self._accept(kind, text):
            raise self._unexpected()

    def _take(self, *kinds: str) -> _Token:
        if self._next >= len(self._tokens) or self._tokens[self._next].kind not in kinds:
            raise self._unexpected()
        self._next += 1
        return self._tokens[self._next - 1]

    def _unexpected(self) -> ODataError:
        if self._next >= len(self._tokens):
            return ODataError("Syntax error: the filter expression ends too early.")
        token = self._tokens[self._next]
        return ODataError(f"Syntax error: '{token.text}' at position {token.position}.")


def _compare(name: str, word: str, value: Any) -> Predicate:
    if word == "eq":
        return lambda row: bool(row[name] == value)
    if word == "ne":
        return lambda row: bool(row[name] != value)
    compare = _OPERATORS[word]

    def predicate(row: Columns) -> bool:
        # A comparison with null is neither true nor an error.
        held = row[name]
        return held is not None and compare(held, value)

    return predicate

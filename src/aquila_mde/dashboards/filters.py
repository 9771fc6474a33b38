"""The filters of panels: the part of Kibana's KQL that an engine's query says just as well.

``field: value``, ``field: "two words"``, ``field: (a or b)``, ``field: *``, ``field >= 7``, joined
by ``and``, ``or``, ``not`` and parentheses. Kibana gets the text as it stands; here it becomes a
query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<sign>>=|<=|[()<>:])|(?P<word>[^\s()<>:"]+))"""
)
_BOUNDS = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}
_WORDS = ("and", "or", "not")


class FilterError(ValueError):
    """A filter that cannot be read."""


@dataclass(frozen=True)
class Term:
    """One comparison; without ``sign`` the field only has to be there."""

    field: str
    sign: str
    value: str | float | bool | None

    def fields(self) -> Iterator[str]:
        """The field."""
        yield self.field

    def query(self) -> Json:
        """As a query of the engine."""
        if self.value is None:
            return {"exists": {"field": self.field}}
        if self.sign in _BOUNDS:
            return {"range": {self.field: {_BOUNDS[self.sign]: self.value}}}
        return {"term": {self.field: self.value}}


@dataclass(frozen=True)
class Joined:
    """Several conditions: ``and``, ``or``, or ``not`` of one."""

    word: str
    parts: tuple[Term | Joined, ...]

    def fields(self) -> Iterator[str]:
        """Every field of every part."""
        for part in self.parts:
            yield from part.fields()

    def query(self) -> Json:
        """As a query of the engine."""
        queries = [part.query() for part in self.parts]
        if self.word == "or":
            return {"bool": {"should": queries, "minimum_should_match": 1}}
        return {"bool": {"filter" if self.word == "and" else "must_not": queries}}


def parse_filter(text: str) -> Term | Joined:
    """``text`` as conditions. Raises :class:`FilterError` that says what was expected where."""
    reader = _Reader(text)
    found = reader.either()
    if reader.peek() is not None:
        raise FilterError(f"is not understood from {reader.peek()!r} on")
    return found


class _Reader:
    """Reads the conditions from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise FilterError(f"is not understood from {text[position:].strip()!r} on")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            position = match.end()
        self._next = 0

    def peek(self) -> str | None:
        """The next token, or ``None`` at the end."""
        return self._tokens[self._next][1] if self._next < len(self._tokens) else None

    def either(self) -> Term | Joined:
        """Conditions with ``or`` between."""
        return self._joined("or", lambda: self._joined("and", self._single))

    def _joined(self, word: str, part: Any) -> Term | Joined:
        parts = [part()]
        while self._is_word(word):
            self._next += 1
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _single(self) -> Term | Joined:
        if self._is_word("not"):
            self._next += 1
            return Joined("not", (self._single(),))
        if self.peek() == "(":
            self._next += 1
            inner = self.either()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Term | Joined:
        kind, field = self._take("a field")
        sign = self._take("a comparison behind the field")[1]
        if kind != "word" or (sign != ":" and sign not in _BOUNDS):
            raise FilterError(f"needs a field and : or a comparison, not {field!r} and {sign!r}")
        if sign == ":" and self.peek() == "(":
            self._next += 1
            values = [self._value()]
            while self._is_word("or"):
                self._next += 1
                values.append(self._value())
            self._expect(")")
            return Joined("or", tuple(Term(field, ":", value) for value in values))
        return Term(field, sign, self._value())

    def _value(self) -> str | float | bool | None:
        kind, text = self._take("a value")
        if kind == "quoted":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind != "word" or text.lower() in _WORDS:
            raise FilterError(f"needs a value, not {text!r}")
        if text == "*":
            return None
        if "*" in text:
            raise FilterError(f"has no wildcards but * alone, and not {text!r}")
        if text in ("true", "false"):
            return text == "true"
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            return text

    def _is_word(self, word: str) -> bool:
        if self._next >= len(self._tokens):
            return False
        kind, text = self._tokens[self._next]
        return kind == "word" and text.lower() == word

    def _expect(self, sign: str) -> None:
        if self._take(sign)[1] != sign:
            raise FilterError(f"needs {sign}")

    def _take(self, what: str) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise FilterError(f"ends where {what} is missing")
        self._next += 1
        return self._tokens[self._next - 1]

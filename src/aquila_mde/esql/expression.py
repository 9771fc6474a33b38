"""Reads the expressions of an ES|QL command and tells their types."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aquila_mde.esql.text import EsqlError, Token
from aquila_mde.esql.types import (
    FUNCTIONS,
    LISTS,
    NUMBERS,
    SPANS,
    STRINGS,
    UNKNOWN,
    comparable,
)

Columns = dict[str, str]
"""The columns at one point of a query, each with its type."""
_COMPARED = ("==", "!=", "<", ">", "<=", ">=")
_DATES = ("date", "date_nanos")


class Expression:
    """Reads one command from left to right."""

    def __init__(
        self, tokens: Sequence[Token], columns: Columns, expanded: Collection[str] = ()
    ) -> None:
        """``expanded`` are the columns that ``MV_EXPAND`` has left with one value."""
        self._tokens = tuple(tokens)
        self._next = 0
        self.columns = columns
        self._expanded = expanded
        self._groups: Columns | None = None
        """In an aggregation, outside of its functions: what it groups by."""

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self._next >= len(self._tokens)

    def end(self) -> None:
        """Raises :class:`EsqlError` when something is left."""
        if not self.done:
            raise EsqlError(f"is not understood from {self._tokens[self._next].text!r} on")

    def took(self, *signs: str) -> bool:
        """Whether the next word is one of the ``signs``, which is then behind us."""
        if not self.done and self._tokens[self._next].is_sign(*signs):
            self._next += 1
            return True
        return False

    def word(self, *words: str) -> bool:
        """The same for key ``words``."""
        if not self.done and self._tokens[self._next].is_word(*words):
            self._next += 1
            return True
        return False

    def behind(self, word: str) -> Expression | None:
        """What stands behind ``word``, which is cut off here; ``None`` when it is not there."""
        for number, token in enumerate(self._tokens):
            if token.is_word(word):
                rest = Expression(self._tokens[number + 1 :], self.columns, self._expanded)
                self._tokens = self._tokens[:number]
                return rest
        return None

    def peeked(self) -> str:
        """The next word."""
        if self.done:
            raise EsqlError("ends where something is missing")
        return self._tokens[self._next].text

    def named(self) -> str | None:
        """The name in front of ``=``, when there is one."""
        ahead = self._tokens[self._next : self._next + 2]
        if len(ahead) == 2 and ahead[0].kind == "name" and ahead[1].is_sign("="):
            self._next += 2
            return ahead[0].text
        return None

    def new_name(self) -> str:
        """The name of a column that is made. Every one has to have a name that can be read."""
        name = self.named()
        if name is None:
            raise EsqlError(f"needs a name and = in front of {self.peeked()!r}")
        return name

    def names(self) -> list[str]:
        """Columns with commas between, to the end."""
        found = []
        while True:
            name = self.peeked()
            self._column(name)
            self._next += 1
            found.append(name)
            if not self.took(","):
                break
        self.end()
        return found

    def whole(self, groups: Columns | None = None) -> str:
        """The type of the next expression; with ``groups`` it is one of an aggregation."""
        self._groups = groups
        kind = self._either()
        self._groups = None
        return kind

    def _either(self) -> str:
        kind = self._both()
        while self.word("OR"):
            kind = _boolean(kind, self._both(), "OR")
        return kind

    def _both(self) -> str:
        kind = self._denied()
        while self.word("AND"):
            kind = _boolean(kind, self._denied(), "AND")
        return kind

    def _denied(self) -> str:
        if self.word("NOT"):
            return _boolean(self._denied(), "boolean", "NOT")
        return self._compared()

    def _compared(self) -> str:
        begin = self._next
        kind = self._sum()
        operand = self._tokens[begin : self._next]
        if not self.done and self._tokens[self._next].is_sign(*_COMPARED):
            self._one_value(operand)
            sign = self._take().text
            other = self._sum()
            if not comparable(kind, other):
                raise EsqlError(f"compares {kind} {sign} {other}")
            return "boolean"
        if self.word("IS"):
            self.word("NOT")
            if not self.word("NULL"):
                raise EsqlError("IS needs NULL or NOT NULL behind it")
            return "boolean"
        denied = self.word("NOT")
        if not self.done and self._tokens[self._next].is_word("IN", "LIKE", "RLIKE"):
            self._one_value(operand)
        if self.word("IN"):
            self._needs("(")
            while True:
                other = self._sum()
                if not comparable(kind, other):
                    raise EsqlError(f"looks for {other} IN a list, where {kind} is asked")
                if not self.took(","):
                    break
            self._needs(")")
            return "boolean"
        if self.word("LIKE", "RLIKE"):
            pattern = self._sum()
            if kind not in STRINGS or pattern not in STRINGS:
                raise EsqlError(f"LIKE compares texts, not {kind} with {pattern}")
            return "boolean"
        if denied:
            raise EsqlError("NOT needs IN, LIKE or RLIKE behind it")
        return kind

    def _one_value(self, operand: Sequence[Token]) -> None:
        name = operand[0].text
        if len(operand) == 1 and name.startswith(LISTS) and name not in self._expanded:
            raise EsqlError(f"compares {name}, which may hold several values: MV_EXPAND it before")

    def _sum(self) -> str:
        kind = self._product()
        while not self.done and self._tokens[self._next].is_sign("+", "-"):
            sign = self._take().text
            kind = _added(kind, self._product(), sign)
        return kind

    def _product(self) -> str:
        kind = self._single()
        while not self.done and self._tokens[self._next].is_sign("*", "/", "%"):
            sign = self._take().text
            other = self._single()
            if not {kind, other} <= NUMBERS:
                raise EsqlError(f"reckons {kind} {sign} {other}")
            kind = "double" if "double" in (kind, other) else "long"
        return kind

    def _single(self) -> str:
        token = self._take()
        if token.is_sign("("):
            kind = self._either()
            self._needs(")")
            return kind
        if token.is_sign("-"):
            return self._single()
        if token.kind == "sign":
            raise EsqlError(f"is not understood from {token.text!r} on")
        if token.kind == "name" and self.took("("):
            return self._function(token.text.upper())
        return self._constant(token) or self._column(token.text)

    def _constant(self, token: Token) -> str | None:
        if token.kind == "text":
            return "keyword"
        if token.kind == "number":
            if not self.done and self._tokens[self._next].text.lower() in SPANS:
                self._next += 1
                return "span"
            return "double" if "." in token.text else "integer"
        if token.is_word("TRUE", "FALSE"):
            return "boolean"
        return UNKNOWN if token.is_word("NULL") else None

    def _column(self, name: str) -> str:
        if self._groups is not None:
            if name not in self._groups:
                raise EsqlError(f"{name} is neither grouped by nor put together by a function")
            return self._groups[name]
        kind = self.columns.get(name)
        if kind is None:
            raise EsqlError(f"{name} is no column there")
        if kind in ("unsupported", "conflicting"):
            raise EsqlError(f"{name} is of a type that ES|QL cannot read ({kind})")
        return kind

    def _function(self, name: str) -> str:
        function = FUNCTIONS.get(name)
        if function is None:
            raise EsqlError(f"has the function {name}, which is not known here")
        outside = self._groups
        if function.aggregates:
            if outside is None:
                raise EsqlError(f"{name} puts rows together and belongs to STATS")
            self._groups = None
        given = self._arguments(counts=name == "COUNT")
        self._groups = outside
        for number, kind in enumerate(given):
            wanted = function.takes[min(number, len(function.takes) - 1)] if function.takes else ()
            if wanted is not None and kind != UNKNOWN and kind not in wanted:
                raise EsqlError(f"{name} does not take something that is {kind}")
        if len(given) < len(function.takes):
            raise EsqlError(f"{name} needs {len(function.takes)} arguments")
        if function.gives != "same":
            return function.gives
        return _one_type(name, given)

    def _arguments(self, *, counts: bool) -> list[str]:
        if self.took(")"):
            return []
        if counts and self.took("*"):
            self._needs(")")
            return ["long"]
        found = []
        while True:
            found.append(self._either())
            if not self.took(","):
                break
        self._needs(")")
        return found

    def _needs(self, sign: str) -> None:
        if not self.took(sign):
            raise EsqlError(f"needs {sign} in front of {self.peeked()!r}")

    def _take(self) -> Token:
        self.peeked()
        self._next += 1
        return self._tokens[self._next - 1]


def _one_type(name: str, given: list[str]) -> str:
    """The type of what a function gives back as it was given."""
    if name == "CASE":
        # A condition, its value, and so on; what is left over is the value of everything else.
        given = [*given[1::2], *(given[-1:] if len(given) % 2 else ())]
    elif name != "COALESCE":
        given = given[FUNCTIONS[name].like :][:1]
    known = sorted({kind for kind in given if kind != UNKNOWN})
    if len(known) > 1 and not set(known) <= STRINGS:
        raise EsqlError(f"{name} gives {' or '.join(known)}, which must be one type")
    return known[0] if known else UNKNOWN


def _boolean(one: str, other: str, word: str) -> str:
    if (wrong := next((kind for kind in (one, other) if kind != "boolean"), None)) is not None:
        raise EsqlError(f"{word} joins conditions, not something that is {wrong}")
    return "boolean"


def _added(one: str, other: str, sign: str) -> str:
    if one in _DATES and other == "span":
        return one
    if not {one, other} <= NUMBERS:
        raise EsqlError(f"reckons {one} {sign} {other}")
    return "double" if "double" in (one, other) else "long"

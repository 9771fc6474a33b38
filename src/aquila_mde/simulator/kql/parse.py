"""The expressions of the Kusto Query Language that hunting queries use, as Python functions.

An expression becomes a function of a row. Whatever is not understood is refused as the service
refuses it, with the place in the text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from aquila_mde.simulator.kql import values
from aquila_mde.simulator.kql.values import KqlError, Moment, Span

Row = Mapping[str, Any]
Expression = Callable[[Row], Any]
_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
      |(?P<text>@"(?:[^"]|"")*"|@'(?:[^']|'')*'|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      |(?P<datetime>datetime\([^)"']*\))
      |(?P<span>\d+(?:\.\d+)?(?:microsecond|tick|ms|[dhms])\b)
      |(?P<number>\d+\.\d+|\d+)
      |(?P<sign_in>in~)
      |(?P<name>[A-Za-z_$][\w$]*(?:-(?:away|rename|keep|reorder|expand)\b)?)
      |(?P<sign>!in~|!in\b|!has_any\b|!has\b|!contains\b|!startswith\b|!endswith\b|!between\b
        |=~|!~|==|!=|<=|>=|\.\.|[-+*/%<>=|;,.()\[\]{}:])
    """,
    re.VERBOSE,
)
_WORDS = ("has_any", "has_all", "has", "contains", "startswith", "endswith", "in~", "in", "between")


class Token(NamedTuple):
    """One word or sign, and where it stands."""

    kind: str
    value: str
    place: int


def tokens(query: str) -> list[Token]:
    """The words and signs of ``query``; the last one is empty."""
    found, place = [], 0
    while place < len(query):
        match = _TOKEN.match(query, place)
        if match is None:
            raise KqlError(f"Syntax error: unexpected '{query[place]}' at position {place}.")
        kind = str(match.lastgroup)
        if kind != "blank":
            found.append(Token(kind, match[0], place))
        place = match.end()
    return [*found, Token("end", "", len(query))]


class Reader:
    """Reads tokens from the left to the right. ``named`` are the values of ``let``."""

    def __init__(self, found: list[Token], now: int, named: dict[str, Any]) -> None:
        self._tokens, self._at = found, 0
        self._now, self.named = now, named
        self.columns: set[str] = set()
        """The columns that the expressions read so far ask for."""

    @property
    def next(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._at]

    def take(self, *wanted: str) -> Token | None:
        """The next token if it is one of ``wanted``, whatever its case."""
        if self.next.kind not in ("text", "end") and self.next.value.lower() in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def need(self, wanted: str) -> Token:
        """The next token, which has to be ``wanted``."""
        found = self.take(wanted)
        if found is None:
            raise self.unexpected(f"expected '{wanted}'")
        return found

    def name(self) -> str:
        """The next token, which has to be a name."""
        if self.next.kind != "name":
            raise self.unexpected("expected a name")
        self._at += 1
        return self._tokens[self._at - 1].value

    def ahead(self, steps: int) -> Token:
        """A token further on."""
        return self._tokens[min(self._at + steps, len(self._tokens) - 1)]

    def unexpected(self, why: str) -> KqlError:
        """The error that the next token is."""
        shown = self.next.value or "end of query"
        return KqlError(f"Syntax error: {why}, found '{shown}' at position {self.next.place}.")

    # Expressions

    def list_of(self, end: str = ")") -> list[Expression]:
        """Expressions with commas between, up to ``end``, which is taken."""
        found: list[Expression] = []
        if self.take(end):
            return found
        while True:
            found.append(self.expression())
            if self.take(end):
                return found
            self.need(",")

    def expression(self) -> Expression:
        """One expression."""
        left = self._conjunction()
        while self.take("or"):
            left = _either(left, self._conjunction())
        return left

    def _conjunction(self) -> Expression:
        left = self._comparison()
        while self.take("and"):
            left = _both(left, self._comparison())
        return left

    def _comparison(self) -> Expression:
        left = self._sum()
        found = self.take(*_WORDS, *_SIGNS, *(f"!{word}" for word in _WORDS), "matches")
        if found is None:
            return left
        word = found.value.lower()
        negative = word.startswith("!") and word not in _SIGNS
        word = word[1:] if negative else word
        if word in ("in", "in~", "has_any", "has_all"):
            self.need("(")
            test = _among(left, self.list_of(), word)
        elif word == "between":
            self.need("(")
            low = self._sum()
            self.need("..")
            high = self._sum()
            self.need(")")
            test = _between(left, low, high)
        elif word == "matches":
            self.need("regex")
            test = _matches(left, self._sum())
        else:
            test = _compared(left, self._sum(), _SIGNS.get(word) or _TESTS[word])
        return (lambda row: not test(row)) if negative else test

    def _sum(self) -> Expression:
        left = self._product()
        while found := self.take("+", "-"):
            left = _added(left, self._product(), 1 if found.value == "+" else -1)
        return left

    def _product(self) -> Expression:
        left = self._unary()
        while found := self.take("*", "/", "%"):
            left = _computed(left, self._unary(), found.value)
        return left

    def _unary(self) -> Expression:
        if self.take("-"):
            inner = self._unary()
            return lambda row: values.times(inner(row), -1)
        return self._members(self._primary())

    def _members(self, held: Expression) -> Expression:
        while True:
            if self.take("."):
                held = _member(held, self.name())
            elif self.take("["):
                place = self.expression()
                self.need("]")
                held = _item(held, place)
            else:
                return held

    def _primary(self) -> Expression:  # noqa: PLR0911 - one a kind of token
        token = self.next
        self._at += 1
        match token.kind:
            case "text":
                return _constant(_unquoted(token.value))
            case "number":
                number = float(token.value) if "." in token.value else int(token.value)
                return _constant(number)
            case "span":
                return _constant(values.span(token.value))
            case "datetime":
                read = values.moment(token.value[9:-1].strip())
                if read is None:
                    raise KqlError(f"Invalid datetime literal: {token.value}")
                return _constant(read)
            case "name":
                return self._named(token)
        if token.value == "(":
            inner = self.expression()
            self.need(")")
            return inner
        if token.value == "[":
            parts = self.list_of("]")
            return lambda row: [part(row) for part in parts]
        self._at -= 1
        raise self.unexpected("expected an expression")

    def _named(self, token: Token) -> Expression:
        name = token.value
        if self.take("("):
            return self._call(name)
        if name.lower() in ("true", "false"):
            return _constant(name.lower() == "true")
        if name in self.named:
            return _constant(self.named[name])
        self.columns.add(name)
        return lambda row: row.get(name)

    def _call(self, name: str) -> Expression:
        arguments = self.list_of()
        if name == "now":
            return _constant(Moment(self._now))
        if name == "ago":
            back = arguments[0]({})
            if not isinstance(back, Span):
                raise KqlError("ago(): argument must be a timespan.")
            return _constant(Moment(self._now - back.ticks))
        if name == "not":
            inner = arguments[0]
            return lambda row: not inner(row)
        function = values.FUNCTIONS.get(name)
        if function is None:
            raise KqlError(f"Unknown function: '{name}'.")
        return lambda row: function(*[argument(row) for argument in arguments])


def named_expressions(reader: Reader) -> Iterator[tuple[str, Expression]]:
    """``Name = expression`` and plain columns, with commas between."""
    while True:
        if reader.next.kind == "name" and reader.ahead(1).value == "=":
            name = reader.name()
            reader.need("=")
            yield name, reader.expression()
        else:
            name = reader.next.value
            if reader.ahead(1).value == "(" and reader.ahead(2).kind == "name":
                # bin(Timestamp, 1h) keeps the name of its column.
                name = reader.ahead(2).value
            yield name, reader.expression()
        if not reader.take(","):
            return


def _constant(value: Any) -> Expression:
    return lambda _row: value


def _both(left: Expression, right: Expression) -> Expression:
    return lambda row: bool(left(row)) and bool(right(row))


def _either(left: Expression, right: Expression) -> Expression:
    return lambda row: bool(left(row)) or bool(right(row))


def _added(left: Expression, right: Expression, sign: int) -> Expression:
    return lambda row: values.add(left(row), right(row), sign)


def _computed(left: Expression, right: Expression, sign: str) -> Expression:
    if sign == "%":
        return lambda row: left(row) % right(row)
    function = values.times if sign == "*" else values.divide
    return lambda row: function(left(row), right(row))


def _member(held: Expression, name: str) -> Expression:
    return lambda row: values.member(held(row), name)


def _item(held: Expression, place: Expression) -> Expression:
    return lambda row: values.item(held(row), place(row))


def _compared(left: Expression, right: Expression, test: Callable[[Any, Any], bool]) -> Expression:
    def compare(row: Row) -> bool:
        try:
            return test(left(row), right(row))
        except TypeError:
            return False

    return compare


def _among(left: Expression, parts: list[Expression], word: str) -> Expression:
    def held(row: Row) -> list[Any]:
        found: list[Any] = []
        for part in parts:
            value = part(row)
            found.extend(value if isinstance(value, list) else [value])
        return found

    def test(row: Row) -> bool:
        value = left(row)
        if word == "in":
            return value in held(row)
        if word == "in~":
            return values.text(value).lower() in [values.text(one).lower() for one in held(row)]
        found = (values.has(value, one) for one in held(row))
        return any(found) if word == "has_any" else all(found)

    return test


def _between(left: Expression, low: Expression, high: Expression) -> Expression:
    def test(row: Row) -> bool:
        value = left(row)
        return value is not None and low(row) <= value <= high(row)

    return test


def _matches(left: Expression, pattern: Expression) -> Expression:
    return lambda row: re.search(str(pattern(row)), values.text(left(row))) is not None


def _unquoted(token: str) -> str:
    if token[0] == "@":
        return token[2:-1].replace(token[1] * 2, token[1])
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), token[1:-1])


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: left is not None and left == right,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=~": lambda left, right: values.text(left).lower() == values.text(right).lower(),
    "!~": lambda left, right: values.text(left).lower() != values.text(right).lower(),
}
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "has": values.has,
    "contains": lambda left, right: values.text(right).lower() in values.text(left).lower(),
    "startswith": lambda left, right: (
        values.text(left).lower().startswith(values.text(right).lower())
    ),
    "endswith": lambda left, right: values.text(left).lower().endswith(values.text(right).lower()),
}

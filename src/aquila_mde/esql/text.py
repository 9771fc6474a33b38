"""The words of an ES|QL query, and its commands between the pipes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "name", "sign"]
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<name>(?:logs|security_solution)-[\w.*-]+|[@A-Za-z_][\w.@]*|`[^`]+`)
    |(?P<sign>==|!=|<=|>=|::|[-+*/%<>=(),|\[\]])""",
    re.VERBOSE,
)


class EsqlError(ValueError):
    """A query that Elasticsearch would refuse, and why."""


@dataclass(frozen=True)
class Token:
    """One word: a name without its backticks, a text with its quotes."""

    kind: Kind
    text: str

    def is_word(self, *words: str) -> bool:
        """Whether it is one of the key ``words``, which are written in capitals."""
        return self.kind == "name" and self.text.upper() in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of the ``signs``."""
        return self.kind == "sign" and self.text in signs


def commands(text: str) -> list[list[Token]]:
    """The words of each command. Raises :class:`EsqlError` for what is no word."""
    found: list[list[Token]] = [[]]
    position = 0
    while text[position:].strip():
        while text[position].isspace():
            position += 1
        match = _TOKEN.match(text, position)
        if match is None:
            raise EsqlError(f"is not understood from {text[position : position + 20]!r} on")
        position = match.end()
        kind = str(match.lastgroup)
        if kind == "comment":
            continue
        token = _token(kind, match[0])
        if token.is_sign("|"):
            found.append([])
        else:
            found[-1].append(token)
    for number, command in enumerate(found, 1):
        if not command or command[0].kind != "name":
            raise EsqlError(f"has no command at place {number}")
    return found


def _token(kind: str, text: str) -> Token:
    match kind:
        case "text" | "number":
            return Token(kind, text)
        case "name":
            return Token("name", text.strip("`"))
        case _:
            return Token("sign", text)

"""The errors every layer raises, sorted by what the one who runs the collector does about them.

```
AquilaError
├── ConfigurationError   somebody must change a setting, a permission or a file
├── FatalError           this call can never succeed as it stands
├── RetriableError       the same call may succeed later
└── SkippableError       one thing is left out, the rest goes on
```

A message says what is wrong and where; ``hint`` says what to do. Neither ever holds a secret: a
layer that reports text received from outside passes it through :func:`without_secrets` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process answers to the shell. Documented in docs/troubleshooting.md."""

    OK = 0
    UNEXPECTED = 1
    SETTINGS = 2
    SIGN_IN = 3
    PERMISSION = 4
    DEFENDER = 5
    ENGINE = 6
    ENGINE_ACCESS = 7
    DEAD_LETTERS = 8
    ENVIRONMENT = 9
    PIPELINE_ERRORS = 10
    MISSING = 11


class AquilaError(Exception):
    """Something that a person has to be told in one paragraph.

    ``tenant``, ``stream`` and ``request_id`` are filled in by the layer that knows them.
    """

    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        tenant: str | None = None,
        stream: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.tenant = tenant
        self.stream = stream
        self.request_id = request_id

    def __str__(self) -> str:
        where = ", ".join(
            f"{name} {value}"
            for name, value in (
                ("stream", self.stream),
                ("tenant", self.tenant),
                ("request", self.request_id),
            )
            if value
        )
        text = f"{self.message} ({where})" if where else self.message
        return f"{text}\n{self.hint}" if self.hint else text


class ConfigurationError(AquilaError):
    """Somebody must change a setting, a permission or a file before a retry makes sense."""

    exit_code = ExitCode.SETTINGS


class FatalError(AquilaError):
    """The call as it stands can never succeed."""


class RetriableError(AquilaError):
    """The same call may succeed later; ``wait`` is the least number of seconds until then."""

    wait: float | None = None


class SkippableError(AquilaError):
    """One thing is left out and counted; everything else goes on."""


_SECRETS = (
    # A shared access signature is the key to an export file.
    (re.compile(r"(?i)([?&](?:sig|se|sv|sp|skoid|sktid|spr|sr)=)[^&\s\"']+"), r"\1…"),
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+"), r"\1…"),
    (re.compile(r"(?i)(apikey\s+)[\w.~+/=-]+"), r"\1…"),
    (re.compile(r"(?i)((?:client_secret|client_assertion|password)=)[^&\s]+"), r"\1…"),
    # A token, and also the beginning of one: an answer may be cut.
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}"), "…"),
    (re.compile(r"(https?://)[^/@\s:]+:[^/@\s]+@"), r"\1…@"),
)


def without_secrets(text: str) -> str:
    """``text`` with signatures, tokens, API keys and passwords blanked out."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what led to it, by whichever way the libraries keep it."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__context__, cause.__cause__, getattr(cause, "os_error", None)]
        # A failed connection may hold several: one for each address, or one for each attempt.
        for several in ("exceptions", "errors"):
            found = getattr(cause, several, ())
            waiting += found if isinstance(found, list | tuple) else ()


def first_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of a task group, however deep it lies."""
    first = failures.exceptions[0]
    return first_failure(first) if isinstance(first, BaseExceptionGroup) else first

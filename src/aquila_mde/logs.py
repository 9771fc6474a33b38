"""How the program logs: to standard error, readable on a terminal, ECS as JSON lines elsewhere.

What an event carries beside its message stands under ``aquila``, since the bare names (``error``,
``url``, ``stream``) mean something else in ECS or may one day. Every text is cleaned of secrets,
also that of other libraries and of tracebacks. Whoever begins to work on a tenant binds ``tenant``,
and what is logged meanwhile names it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import ecs_logging
import structlog
from structlog.typing import Processor

from aquila_mde.errors import without_secrets

_ECS_NAMES = frozenset({"event", "level", "log", "error", "exception", "@timestamp"})


class _StandardError:
    """The standard error of the moment: a progress display puts its own there while it runs."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(level: str) -> None:
    """Log from ``level`` (debug, info, warning, error) on, this program and its libraries.

    Libraries are heard from warning on, whatever the level: their debug output holds tokens.
    """
    stream = _StandardError()
    render = _for_terminal() if sys.stderr.isatty() else _for_programs()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # It warns of every failed try, which this program tells itself, with what it does about it.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)


def _for_terminal() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.processors.format_exc_info,
        _clean,
        structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _for_programs() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        _clean,
        _as_ecs,
        _as_line,
    ]


def _clean(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without secrets and without fields that say nothing."""
    return {name: _cleaned(value) for name, value in event.items() if value is not None}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(item) for item in value]
    return without_secrets(str(value))


def _as_ecs(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    document = {name: value for name, value in event.items() if name in _ECS_NAMES}
    own = {name: value for name, value in event.items() if name not in _ECS_NAMES}
    if "error" in document and not isinstance(document["error"], dict):
        document["error"] = {"message": str(document["error"])}
    document["log"] = {"level": document.pop("level")}
    if own:
        document["aquila"] = own
    document["service.name"] = "aquila-mde"
    return document


_ecs_formatter = ecs_logging.StructlogFormatter()


def _as_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    return _ecs_formatter(logger, method, dict(event))

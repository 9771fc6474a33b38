"""Options that several commands share, and what they lead to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aquila_mde.errors import AquilaError, ExitCode
from aquila_mde.logs import configure_logging
from aquila_mde.settings import (
    AllSettings,
    ElasticsearchSettings,
    load_engine_settings,
    load_settings,
)
from aquila_mde.streams.collect_spec import parse_duration

STOPPED = 130
"""What the process answers to the shell when Ctrl-C has ended it."""


class LogLevel(StrEnum):
    """From which level on events are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="AQUILA_CONFIG",
        metavar="FILE",
        help="Settings file (YAML). Environment variables win over it.",
        show_default=False,
    ),
]
LogLevelOption = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        envvar="AQUILA_LOG_LEVEL",
        help="Least level that is logged; debug also shows tracebacks.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON value on standard output, nothing else.")
]
StreamsOption = Annotated[
    list[str] | None,
    typer.Option("--stream", "-s", help="Only this stream; may be repeated."),
]
TenantsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tenant",
        metavar="TENANT",
        help="Only this tenant, by its name or id; may be repeated.",
        show_default=False,
    ),
]


def start_logging(level: LogLevel | None, default: LogLevel = LogLevel.INFO) -> None:
    """Log at ``level``, or at ``default`` where none was asked for."""
    configure_logging(level or default)


def read_settings(
    config: Path | None, level: LogLevel | None, tenants: Sequence[str] | None = None
) -> AllSettings:
    """The settings of the tenants of this call: those that were named, or all.

    Logging follows them unless the command line says otherwise.
    """
    start_logging(level)
    settings = load_settings(config).chosen(tenants or ())
    start_logging(level, LogLevel(settings.shared.log_level))
    return settings


def read_engine_settings(config: Path | None, level: LogLevel | None) -> ElasticsearchSettings:
    """Where the engine is, for commands that do not speak to the tenant."""
    start_logging(level, LogLevel.WARNING)
    return load_engine_settings(config)


def read_duration(text: str, option: str) -> timedelta:
    """What was typed for ``option``."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from None


class MissingExtraError(AquilaError):
    """A command needs packages that are installed on request only."""

    exit_code = ExitCode.ENVIRONMENT


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports inside may need the extra ``name`` of the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "aquila_mde").partition(".")[0]
        if package == "aquila_mde":
            raise
        raise MissingExtraError(
            f"This command needs the package {package!r}, which is not installed.",
            hint=f"Install it with: pip install 'aquila-mde[{name}]'",
        ) from None


MachinesOption = Annotated[int, typer.Option(min=1, help="Machines of the tenant.")]
AlertsOption = Annotated[int, typer.Option(min=0, help="Alerts of the tenant.")]
ActionsOption = Annotated[int, typer.Option(min=0, help="Machine actions of the tenant.")]
VulnerabilitiesOption = Annotated[
    int, typer.Option(min=0, help="Rows of the vulnerability export.")
]

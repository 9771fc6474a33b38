"""``aquila-mde health``: whether the collector that runs on this machine is well."""

from __future__ import annotations

from typing import Annotated

import typer

from aquila_mde.cli._options import ConfigOption, LogLevel, LogLevelOption, start_logging
from aquila_mde.cli._output import say
from aquila_mde.settings import load_monitoring_settings


def health(
    config: ConfigOption = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Whether every stream is collected and none is late.")
    ] = False,
    log_level: LogLevelOption = None,
) -> None:
    """Ask the collector that runs on this machine how it is (/healthz at monitoring.port).

    Ends with exit code 9 when it is not well, for the health check of a container.
    """
    from aquila_mde.collect.health import ask

    start_logging(log_level, LogLevel.WARNING)
    ask(load_monitoring_settings(config), ready=ready)
    say("The collector is ready." if ready else "The collector is well.")

"""The command line: one file for each command. Nothing is decided here, only asked and shown."""

from __future__ import annotations

import sys
from typing import Annotated

import structlog
import typer

from aquila_mde import __version__
from aquila_mde.cli import (
    backfill,
    build,
    check,
    collect,
    demo,
    engine,
    health,
    hunt,
    install,
    latest,
    onboard,
    package,
    pipeline,
    plan,
    preview,
    reconcile,
    replay,
    rules,
    run,
    simulate,
    status,
    uninstall,
)
from aquila_mde.cli._output import print_error, print_unexpected
from aquila_mde.errors import AquilaError, ExitCode
from aquila_mde.logs import configure_logging

app = typer.Typer(
    name="aquila-mde",
    help="Microsoft Defender for Endpoint in an Elastic stack: each record once, none lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    *(demo, onboard, install, check, collect, run, status, health, reconcile, replay, backfill),
    *(uninstall, latest, plan, hunt, preview, simulate, engine, build),
):
    app.command()(getattr(_command, _command.__name__.rpartition(".")[2]))
app.add_typer(package.package, name="package")
app.add_typer(pipeline.pipeline, name="pipeline")
app.add_typer(rules.rules, name="rules")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command that was typed and end the process with its exit code."""
    configure_logging("info")  # until a command knows better
    try:
        app()
    except AquilaError as error:
        structlog.get_logger().debug("The command failed", exc_info=error)
        print_error(error)
        sys.exit(error.exit_code)
    except Exception as error:
        structlog.get_logger().debug("The command failed", exc_info=error)
        print_unexpected(error)
        sys.exit(ExitCode.UNEXPECTED)

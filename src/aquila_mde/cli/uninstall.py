"""``aquila-mde uninstall``: what install put into the engine is taken away."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevelOption,
    read_engine_settings,
)
from aquila_mde.cli._output import print_json, say
from aquila_mde.streams.tree import PackageTree


def uninstall(
    config: ConfigOption = None,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete the data streams and their documents too.")
    ] = False,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Remove the installed objects. A data stream with data stays, and what it needs."""
    from aquila_mde.elastic.assets import UninstallReport, uninstall
    from aquila_mde.elastic.client import Engine

    settings = read_engine_settings(config, log_level)

    async def act() -> UninstallReport:
        async with await Engine.connect(settings) as engine:
            return await uninstall(engine, PackageTree.default(), delete_data=delete_data)

    report = asyncio.run(act())
    if as_json:
        print_json(asdict(report))
        return
    for name in report.removed:
        say(f"removed: {name}")
    for name, reason in report.kept.items():
        say(f"kept: {name} ({reason})")
    say(f"{len(report.removed)} removed, {len(report.kept)} kept")

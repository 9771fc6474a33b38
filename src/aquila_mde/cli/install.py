"""``aquila-mde install``: pipelines, templates and lifecycle policies in the engine."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevel,
    LogLevelOption,
    read_engine_settings,
    start_logging,
)
from aquila_mde.cli._output import print_json, say
from aquila_mde.streams.tree import PackageTree


class FlavourName(StrEnum):
    """The engine that requests are written for."""

    ELASTICSEARCH = "elasticsearch"
    OPENSEARCH = "opensearch"


def install(
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the requests instead; needs no engine.")
    ] = False,
    flavour: Annotated[
        FlavourName | None,
        typer.Option(help="With --dry-run: the engine to write for.", show_default="elasticsearch"),
    ] = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Install what the documents need in the engine. Running it again changes nothing."""
    if dry_run:
        start_logging(log_level, LogLevel.WARNING)
        _print_requests(flavour or FlavourName.ELASTICSEARCH, as_json=as_json)
        return
    if flavour is not None:
        raise typer.BadParameter("goes with --dry-run only: an engine that is there is asked")
    _install(config, log_level, as_json=as_json)


def _print_requests(flavour: FlavourName, *, as_json: bool) -> None:
    from aquila_mde.elastic.assets import plan_install

    requests = plan_install(PackageTree.default(), flavour.value)
    if as_json:
        print_json([asdict(request) for request in requests])
        return
    for request in requests:
        say(f"{request.method} {request.path}")
    say(f"{len(requests)} requests; --json prints their bodies too.")


def _install(config: ConfigOption, log_level: LogLevelOption, *, as_json: bool) -> None:
    from aquila_mde.elastic.assets import InstallReport, install
    from aquila_mde.elastic.client import Engine

    settings = read_engine_settings(config, log_level)

    async def act() -> tuple[Engine, InstallReport]:
        async with await Engine.connect(settings) as engine:
            return engine, await install(engine, PackageTree.default())

    engine, report = asyncio.run(act())
    if as_json:
        info = {"flavour": engine.info.flavour, "version": engine.info.version}
        print_json({"engine": info, **asdict(report)})
        return
    for what, names in (
        ("created", report.created),
        ("updated", report.updated),
        ("rolled over", report.rolled_over),
    ):
        for name in names:
            say(f"{what}: {name}")
    for remark in report.remarks:
        say(remark)
    say(
        f"{engine.info.flavour} {engine.info.version}: {len(report.created)} created, "
        f"{len(report.updated)} updated, {len(report.unchanged)} unchanged"
    )

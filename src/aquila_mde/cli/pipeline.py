"""``aquila-mde pipeline``: what a stream's pipeline makes of records."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from aquila_mde.cli._options import ConfigOption, LogLevel, LogLevelOption, extra, start_logging
from aquila_mde.cli._output import say
from aquila_mde.settings import ElasticsearchSettings, find_engine_settings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.trial import Trial

pipeline = typer.Typer(help="Try the ingest pipelines on records.", no_args_is_help=True)


@pipeline.callback()
def _pipeline() -> None:
    """Keep ``try`` a word of its own: one command alone would take its place."""


@pipeline.command("try")
def try_pipeline(
    stream: Annotated[str, typer.Argument(help="The stream whose pipeline is to run.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="Objects as the API gives them: one, one a line, a list, or a whole answer; "
            "- is standard input.",
        ),
    ],
    elasticsearch: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Run on this engine (also ES_URL, or elasticsearch.url in the settings file); "
            "otherwise on one started for it on this machine.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Print the document that becomes of each record, one JSON a line; nothing is installed."""
    from aquila_mde.trial import Trial

    start_logging(log_level, LogLevel.WARNING)
    settings = find_engine_settings(config, url=elasticsearch)
    trial = Trial(PackageTree.default(), stream, file)
    if settings is not None:
        asyncio.run(_show(trial, settings))
        return
    with extra("demo"):
        from aquila_mde.engine import EmbeddedEngine
    with EmbeddedEngine() as engine:
        asyncio.run(_show(trial, ElasticsearchSettings(url=engine.url)))


async def _show(trial: Trial, settings: ElasticsearchSettings) -> None:
    from aquila_mde.elastic.client import Engine

    async with await Engine.connect(settings) as engine:
        async for document in trial.run(engine):
            say(msgspec.json.encode(document, order="sorted").decode())

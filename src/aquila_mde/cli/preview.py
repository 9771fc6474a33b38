"""``aquila-mde preview``: the dashboards as one HTML file, without Kibana."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevelOption,
    extra,
    read_engine_settings,
)
from aquila_mde.cli._output import print_json, say

if TYPE_CHECKING:
    from aquila_mde.preview import Preview
    from aquila_mde.settings import ElasticsearchSettings

OUTPUT = Path("build/preview/dashboards.html")


def preview(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page that is written.")
    ] = OUTPUT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Write what the dashboards show of the records in the engine as one HTML page."""
    settings = read_engine_settings(config, log_level)
    with extra("demo"):
        from aquila_mde.preview import render
    found = asyncio.run(_ask(settings))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(found), encoding="utf-8")
    empty = found.empty()
    if as_json:
        tenants = [tenant.label for tenant in found.tenants]
        print_json({"path": str(output), "tenants": tenants, "empty": empty})
        return
    for panel in empty:
        say(f"nothing to show: {panel}")
    say(f"written: {output}")


async def _ask(settings: ElasticsearchSettings) -> Preview:
    from aquila_mde.elastic.client import Engine
    from aquila_mde.preview import ask
    from aquila_mde.streams.tree import PackageTree

    async with await Engine.connect(settings) as engine:
        return await ask(engine, PackageTree.default())

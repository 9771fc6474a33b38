"""``aquila-mde latest``: the newest version of each alert, machine, action and vulnerability."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevelOption,
    StreamsOption,
    TenantsOption,
    read_settings,
)
from aquila_mde.cli._output import print_json, print_table, say
from aquila_mde.settings import AllSettings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.elastic.latest import LatestReport

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def latest(
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Read what is new and end, instead of going on.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Empty the indices for this tenant, read everything, and end."
        ),
    ] = False,
    stream: StreamsOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Keep the newest version of each thing in an index, for engines that do not do it themselves.

    A running collector does so anyway. This is for those who collect now and then, and for reading
    everything once more.
    """
    settings = read_settings(config, log_level, tenant)
    reports = asyncio.run(_latest(settings, stream or None, once=once, rebuild=rebuild))
    if reports is None:
        if as_json:
            print_json({"by": "engine", "indices": []})
        else:
            say("The engine does this itself, by the transforms that aquila-mde install has put.")
    elif as_json:
        print_json({"by": "collector", "indices": [asdict(report) for report in reports]})
    else:
        print_table(
            ("index", "read", "written", "deleted", "refused"),
            [(r.name, r.read, r.written, r.deleted, r.refused) for r in reports],
        )


async def _latest(
    settings: AllSettings, streams: list[str] | None, *, once: bool, rebuild: bool
) -> list[LatestReport] | None:
    from aquila_mde.collect.latest import LatestVersions
    from aquila_mde.elastic.client import Engine

    tree = PackageTree.default()
    async with await Engine.connect(settings.shared.elasticsearch) as engine:
        every = [LatestVersions(engine, tree, each.tenant) for each in settings.each]
        if every[0].by_the_engine:
            return None
        if once or rebuild:
            return [
                report
                for versions in every
                for report in await versions.update(streams, rebuild=rebuild)
            ]
        stop = asyncio.Event()
        for each in _STOPPING:
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        reports = [report for each in every for report in await each.update(streams)]
        await asyncio.gather(*(each.keep(stop, streams) for each in every))
        return reports

"""``aquila-mde collect``: one pass over the streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevelOption,
    StreamsOption,
    read_settings,
)
from aquila_mde.cli._output import (
    error_as_dict,
    print_error,
    print_json,
    print_table,
    record_progress,
)
from aquila_mde.errors import ExitCode
from aquila_mde.settings import Settings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.runner import StreamReport


def collect(
    config: ConfigOption = None,
    stream: StreamsOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Collect what is new, once, and end."""
    settings = read_settings(config, log_level)
    reports = asyncio.run(_collect(settings, stream or None, quiet=as_json))
    if as_json:
        print_json({"streams": [_as_dict(report) for report in reports]})
    else:
        print_table(
            ("stream", "read", "created", "already there", "dead letters", "requests", "seconds"),
            [
                (r.stream, r.records, r.created, r.existing, r.dead, r.requests, r.seconds)
                for r in reports
            ],
        )
    errors = [report.error for report in reports if report.error is not None]
    for error in errors:
        print_error(error)
    if errors:
        raise typer.Exit(errors[0].exit_code)
    if any(report.dead for report in reports):
        raise typer.Exit(ExitCode.DEAD_LETTERS)


async def _collect(
    settings: Settings, streams: list[str] | None, *, quiet: bool
) -> list[StreamReport]:
    from aquila_mde.collect.runner import Collector

    with record_progress(quiet=quiet) as progress:
        async with await Collector.open(
            settings, PackageTree.default(), progress=progress
        ) as collector:
            reports = await collector.collect(streams)
            await collector.latest.try_update()
            return reports


def _as_dict(report: StreamReport) -> dict[str, Any]:
    return {
        "stream": report.stream,
        "records": report.records,
        "created": report.created,
        "existing": report.existing,
        "dead": report.dead,
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "complete": report.complete,
        "error": error_as_dict(report.error),
    }

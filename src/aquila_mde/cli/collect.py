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
    TenantsOption,
    read_settings,
)
from aquila_mde.cli._output import error_as_dict, print_json, print_table, record_progress
from aquila_mde.cli._tenants import by_tenant, done_as_dict, end_with_errors
from aquila_mde.errors import ExitCode
from aquila_mde.settings import AllSettings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.report import StreamReport
    from aquila_mde.collect.tenants import Done


def collect(
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    stream: StreamsOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Collect what is new, once, and end.

    A tenant or a stream that fails stops no other; the exit code is that of the first that did.
    """
    settings = read_settings(config, log_level, tenant)
    done = asyncio.run(_collect(settings, stream or None, quiet=as_json))
    if as_json:
        print_json(done_as_dict(done, _as_dict))
    else:
        print_table(
            *by_tenant(
                (
                    "stream",
                    "read",
                    "created",
                    "already there",
                    "dead letters",
                    "requests",
                    "seconds",
                ),
                done,
                lambda r: (
                    *(r.stream, r.records, r.created, r.existing, r.dead),
                    *(r.requests, r.seconds),
                ),
            )
        )
    reports = [report for each in done for report in each.found or ()]
    end_with_errors(done, (report.error for report in reports))
    if any(report.dead for report in reports):
        raise typer.Exit(ExitCode.DEAD_LETTERS)


async def _collect(
    settings: AllSettings, streams: list[str] | None, *, quiet: bool
) -> list[Done[list[StreamReport]]]:
    from aquila_mde.collect.tenants import collect_tenants

    with record_progress(quiet=quiet) as progress:
        return await collect_tenants(settings, PackageTree.default(), streams, progress=progress)


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

"""``aquila-mde backfill``: read an older stretch of time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevelOption,
    StreamsOption,
    TenantsOption,
    read_settings,
)
from aquila_mde.cli._output import (
    error_as_dict,
    print_json,
    print_table,
    record_progress,
    say,
)
from aquila_mde.cli._tenants import by_tenant, done_as_dict, end_with_errors
from aquila_mde.defender.times import format_ticks
from aquila_mde.errors import ExitCode
from aquila_mde.settings import AllSettings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.backfill import BackfillReport
    from aquila_mde.collect.tenants import Done


def backfill(
    from_: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Begin here: a date or a UTC time.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="TIME", help="End before this.")],
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    stream: StreamsOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Read an older stretch of time, beside a running collector.

    One that was cut off goes on where it was when it is started with the same times.
    """
    from aquila_mde.collect.windows import moment

    settings = read_settings(config, log_level, tenant)
    since, until = moment(from_, "--from"), moment(to, "--to")
    done = asyncio.run(_backfill(settings, stream or None, since, until, quiet=as_json))
    reports = [report for each in done for report in each.found or ()]
    if as_json:
        print_json(done_as_dict(done, _as_dict))
    else:
        print_table(
            *by_tenant(
                ("stream", "windows", "of", "read", "created", "already there", "dead letters"),
                done,
                lambda r: (
                    *(r.stream, r.windows, r.of, r.counts.records),
                    *(r.counts.created, r.counts.existing, r.counts.dead),
                ),
            )
        )
        for report in reports:
            if report.left_from is not None:
                say(
                    f"{report.stream}: the running collector reads what comes from "
                    f"{format_ticks(report.left_from)[:19]}Z on itself, with its next sweep"
                )
    end_with_errors(done, (report.error for report in reports))
    if any(report.counts.dead for report in reports):
        raise typer.Exit(ExitCode.DEAD_LETTERS)


async def _backfill(
    settings: AllSettings, streams: list[str] | None, since: int, until: int, *, quiet: bool
) -> list[Done[list[BackfillReport]]]:
    from aquila_mde.collect.backfill import backfill as read_past
    from aquila_mde.collect.tenants import one_by_one, progress_of

    with record_progress(quiet=quiet) as progress:
        return await one_by_one(
            settings,
            lambda each: read_past(
                each,
                PackageTree.default(),
                since,
                until,
                streams,
                progress=progress_of(each, settings, progress),
            ),
        )


def _as_dict(report: BackfillReport) -> dict[str, Any]:
    counts, left = report.counts, report.left_from
    return {
        "stream": report.stream,
        "windows": report.windows,
        "of": report.of,
        "records": counts.records,
        "created": counts.created,
        "existing": counts.existing,
        "dead": counts.dead,
        "left_from": None if left is None else format_ticks(left),
        "error": error_as_dict(report.error),
    }

"""``aquila-mde reconcile``: compare the tenant with the index."""

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
from aquila_mde.cli._tenants import done_as_dict, end_with_errors
from aquila_mde.defender.times import format_ticks
from aquila_mde.errors import ExitCode
from aquila_mde.settings import AllSettings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.reconciliation import Reconciliation, WindowReport
    from aquila_mde.collect.tenants import Done


def reconcile(
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    stream: StreamsOption = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Begin here: a date or a UTC time. Else as far back as a first pass reads.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="End before this. Else now.", show_default=False),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch and deliver what is missing.")
    ] = False,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Compare what the tenant holds with what the index holds.

    Runs beside a collector; with --repair it needs the collector stopped.
    """
    from aquila_mde.collect.windows import moment

    settings = read_settings(config, log_level, tenant)
    since = moment(from_, "--from") if from_ else None
    until = moment(to, "--to") if to else None
    done = asyncio.run(
        _reconcile(settings, stream or None, since, until, repair=repair, quiet=as_json)
    )
    reports = [report for each in done for report in each.found or ()]
    if as_json:
        print_json(done_as_dict(done, _as_dict))
    else:
        _show(done, repair=repair)
    end_with_errors(done, (report.error for report in reports))
    if any(report.missing for report in reports):
        raise typer.Exit(ExitCode.MISSING)
    if any(report.dead for report in reports):
        raise typer.Exit(ExitCode.DEAD_LETTERS)


async def _reconcile(
    settings: AllSettings,
    streams: list[str] | None,
    since: int | None,
    until: int | None,
    *,
    repair: bool,
    quiet: bool,
) -> list[Done[list[Reconciliation]]]:
    from aquila_mde.collect.reconcile import reconcile as compare
    from aquila_mde.collect.tenants import one_by_one, progress_of

    with record_progress(quiet=quiet) as progress:
        return await one_by_one(
            settings,
            lambda each: compare(
                each,
                PackageTree.default(),
                streams,
                since=since,
                until=until,
                repair=repair,
                progress=progress_of(each, settings, progress),
            ),
        )


def _show(done: list[Done[list[Reconciliation]]], *, repair: bool) -> None:
    columns = ["stream", "window", "in tenant", "in index", "not due", "dead letters", "missing"]
    several = len(done) > 1
    print_table(
        [*(["tenant"] if several else []), *columns, *(["repaired"] if repair else [])],
        [
            (
                *((each.tenant,) if several else ()),
                report.stream,
                _window(window),
                window.tenant,
                window.indexed,
                window.pending,
                window.dead,
                window.missing,
                *((window.repaired,) if repair else ()),
            )
            for each in done
            for report in each.found or ()
            for window in report.windows
            if window.tenant
        ],
    )
    reports = [report for each in done for report in each.found or ()]
    for report in reports:
        found = sum(window.missing for window in report.windows)
        for record in report.records:
            when = "" if record.time is None else f" of {format_ticks(record.time)}"
            say(f"{report.stream}: {record.entity}{when} is missing (_id {record.document_id})")
        if found > len(report.records):
            say(f"{report.stream}: {found - len(report.records)} more are missing")
        if found and repair:
            say(f"{report.stream}: {found - report.missing} of {found} were delivered")
    if any(report.missing for report in reports) and not repair:
        say("Stop the collector and add --repair to deliver what is missing.")


def _window(window: WindowReport) -> str:
    if window.start is None:
        return "all"
    end = "now" if window.end is None else f"{format_ticks(window.end)[:16]}Z"
    return f"{format_ticks(window.start)[:16]}Z to {end}"


def _as_dict(report: Reconciliation) -> dict[str, Any]:
    return {
        "stream": report.stream,
        "index": report.index,
        "missing": report.missing,
        "windows": [
            {
                "from": _time(window.start),
                "to": _time(window.end),
                "tenant": window.tenant,
                "indexed": window.indexed,
                "not_due": window.pending,
                "dead": window.dead,
                "missing": window.missing,
                "repaired": window.repaired,
            }
            for window in report.windows
        ],
        "records": [
            {"entity": each.entity, "time": _time(each.time), "document_id": each.document_id}
            for each in report.records
        ],
        "error": error_as_dict(report.error),
    }


def _time(ticks: int | None) -> str | None:
    return None if ticks is None else format_ticks(ticks)

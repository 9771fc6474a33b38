"""``aquila-mde demo``: everything on this machine, from tenant to index and back."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aquila_mde.cli._options import (
    ActionsOption,
    AlertsOption,
    JsonOption,
    LogLevel,
    LogLevelOption,
    MachinesOption,
    VulnerabilitiesOption,
    extra,
    start_logging,
)
from aquila_mde.cli._output import (
    print_document,
    print_json,
    print_table,
    record_progress,
    say,
)
from aquila_mde.errors import ExitCode

if TYPE_CHECKING:
    from aquila_mde.demo import DemoReport

_SUMMARY = Path("build/demo/summary.json")
_PAGE = Path("build/demo/dashboards.html")


def demo(
    machines: MachinesOption = 2_000,
    alerts: AlertsOption = 5_000,
    actions: ActionsOption = 1_000,
    vulnerabilities: VulnerabilitiesOption = 100_000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the engine running until Ctrl-C.")
    ] = False,
    summary: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the numbers are written.")
    ] = _SUMMARY,
    page: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the dashboards are drawn.")
    ] = _PAGE,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Collect a simulated tenant into a real engine, twice, compare, and draw the dashboards."""
    start_logging(log_level, LogLevel.WARNING)
    with extra("demo"):
        from aquila_mde.demo import Demo, TenantSize
        from aquila_mde.preview import render

    size = TenantSize(machines, alerts, actions, vulnerabilities)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Demo(size, tell=_nothing if as_json else say) as running:
        with record_progress(quiet=as_json, tell=say) as progress:
            report = asyncio.run(running.run(progress))
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text(json.dumps(report.summary(), indent=2) + "\n", encoding="utf-8")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render(report.preview), encoding="utf-8")
        if as_json:
            print_json(report.summary())
        else:
            _show(report, summary)
            say(f"What the dashboards show is in {page}: open it in a browser.")
        if keep:
            _wait(running.engine_url, quiet=as_json)
    if not report.perfect:
        raise typer.Exit(ExitCode.UNEXPECTED)


def _nothing(_: str) -> None:
    """Say nothing."""


def _show(report: DemoReport, summary: Path) -> None:
    for document in report.examples:
        say()
        say(f"An example from {document['data_stream']['dataset']}:")
        print_document(document)
    say()
    print_table(
        ("stream", "in tenant", "indexed", "already there", "failed", "missing", "twice", "s"),
        [
            (
                name,
                result.comparison.tenant,
                result.comparison.indexed,
                result.first.existing,
                result.comparison.failed,
                result.comparison.missing,
                result.comparison.duplicates,
                result.first.seconds,
            )
            for name, result in report.streams.items()
        ],
    )
    rows, again = (one.created for one in report.hunting)
    say(f"The hunting queries gave {rows:,} rows, and {again} new ones when they were run again.")
    created = sum(result.second.created for result in report.streams.values())
    say(f"The second collection brought {created} new documents.")
    say(
        "The index holds every version that the tenant holds, once."
        if report.perfect
        else "The index does not hold what the tenant holds: see the table."
    )
    say(f"The numbers are in {summary}.")


def _wait(url: str, *, quiet: bool) -> None:
    if not quiet:
        say(f"The engine stays at {url} until Ctrl-C; for example {url}/logs-aquila_mde.*/_search")
    try:
        signal.pause()
    except KeyboardInterrupt:
        return

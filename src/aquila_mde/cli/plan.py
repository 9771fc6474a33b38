"""``aquila-mde plan``: what a number of tenants needs, and what will not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevel,
    read_duration,
    start_logging,
)
from aquila_mde.cli._output import print_json, print_table, say
from aquila_mde.settings import load_settings
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.planning.plan import Plan
    from aquila_mde.planning.warnings import PlanWarning

_GB = 1e9


def plan(
    config: ConfigOption = None,
    tenants: Annotated[
        int | None,
        typer.Option(
            help="How many tenants. Without it those of the settings file; beside one, so many "
            "like its first.",
            show_default=False,
        ),
    ] = None,
    machines: Annotated[int, typer.Option(help="Machines of each tenant.")] = 2_000,
    largest: Annotated[
        int | None,
        typer.Option(help="Machines of the largest tenant, one among them.", show_default=False),
    ] = None,
    machines_of: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Machines of this tenant of the settings file; may be repeated.",
            show_default=False,
        ),
    ] = None,
    hunting: Annotated[
        bool | None,
        typer.Option(
            "--hunting/--no-hunting",
            help="With or without the hunting queries; else as the settings say.",
            show_default=False,
        ),
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long documents are kept (90d); else as the lifecycle policy of each stream "
            "says.",
            show_default=False,
        ),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Copies of each shard.")] = 1,
    nodes: Annotated[int, typer.Option(help="Data nodes of the engine.")] = 3,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Processes of the collector, of one core each; else as many as are needed.",
            show_default=False,
        ),
    ] = None,
    engine_cores: Annotated[
        int | None,
        typer.Option(
            help="Cores that the engine has for indexing; else as many as are needed.",
            show_default=False,
        ),
    ] = None,
    busy: Annotated[float, typer.Option(help="How busy they may be on average, as a share.")] = 0.6,
    alerts: Annotated[
        float | None, typer.Option(help="Alerts a machine and month.", show_default="0.5")
    ] = None,
    alert_versions: Annotated[
        float | None, typer.Option(help="Versions of an alert.", show_default="3")
    ] = None,
    online: Annotated[
        float | None,
        typer.Option(help="Share of the machines that report within an hour.", show_default="1"),
    ] = None,
    machine_changes: Annotated[
        float | None, typer.Option(help="Changes a machine and day.", show_default="1")
    ] = None,
    actions: Annotated[
        float | None, typer.Option(help="Machine actions a machine and month.", show_default="0.1")
    ] = None,
    action_versions: Annotated[
        float | None, typer.Option(help="Versions of a machine action.", show_default="3")
    ] = None,
    vulnerabilities: Annotated[
        float | None,
        typer.Option(help="Rows of the vulnerability export a machine.", show_default="300"),
    ] = None,
    vulnerability_changes: Annotated[
        float | None,
        typer.Option(help="Share of those rows that changes in a day.", show_default="0.01"),
    ] = None,
    renewed: Annotated[
        float | None,
        typer.Option(
            help="Share of those rows that a full export has in another version.",
            show_default="0.1",
        ),
    ] = None,
    cves: Annotated[
        float | None,
        typer.Option(help="CVEs that the rows are joined with.", show_default="50000"),
    ] = None,
    cve_changes: Annotated[
        float | None,
        typer.Option(help="Share of the CVEs that changes in a day.", show_default="0.01"),
    ] = None,
    hunting_rows: Annotated[
        float | None,
        typer.Option(help="Rows of all hunting queries a machine and day.", show_default="0.2"),
    ] = None,
    answer_seconds: Annotated[
        float | None,
        typer.Option(help="Seconds until the service has answered a call.", show_default="2"),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What make bench has measured on your machines; else what comes with the package.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Work out calls, rows, documents, processes, memory, engine and shards for some tenants.

    Nothing is asked of any tenant or engine. Every assumption is an option, and is shown. What
    will not hold is a warning with what to do.
    """
    from aquila_mde.planning.assumptions import Assumptions
    from aquila_mde.planning.measured import read_measured
    from aquila_mde.planning.plan import Wanted, make_plan
    from aquila_mde.planning.tenants import as_numbers, as_settings
    from aquila_mde.planning.warnings import warnings_of

    start_logging(None, LogLevel.WARNING)
    said = {
        "alerts": alerts,
        "alert_versions": alert_versions,
        "online": online,
        "machine_changes": machine_changes,
        "actions": actions,
        "action_versions": action_versions,
        "vulnerabilities": vulnerabilities,
        "vulnerability_changes": vulnerability_changes,
        "renewed": renewed,
        "cves": cves,
        "cve_changes": cve_changes,
        "hunting_rows": hunting_rows,
        "answer_seconds": answer_seconds,
    }
    assumed = replace(Assumptions(), **{k: v for k, v in said.items() if v is not None})
    tree = PackageTree.default()
    streams = load_streams(tree)
    settings = load_settings(config) if config is not None else None
    if settings is not None and tenants is None:
        if largest is not None:
            raise typer.BadParameter("--largest needs --tenants beside a settings file")
        groups = as_settings(
            streams,
            settings.each,
            machines=machines,
            machines_of=_numbers(machines_of or []),
            hunting=hunting,
        )
    elif machines_of:
        raise typer.BadParameter("--machines-of goes with the tenants of a settings file")
    else:
        groups = as_numbers(
            streams,
            tenants=1 if tenants is None else tenants,
            machines=machines,
            largest=largest,
            like=settings.shared if settings else None,
            hunting=hunting,
        )
    wanted = Wanted(
        groups,
        assumed,
        retention=read_duration(retention, "--retention") if retention else None,
        replicas=replicas,
        processes=processes,
        engine_cores=engine_cores,
        nodes=nodes,
        full=busy,
    )
    made = make_plan(wanted, read_measured(measured or tree.performance), tree)
    warnings = warnings_of(made)
    if as_json:
        from aquila_mde.planning.told import as_dict

        print_json(as_dict(made, warnings))
        return
    _show(made, warnings)


def _numbers(given: list[str]) -> dict[str, int]:
    """``contoso=5000`` as a tenant and its machines."""
    found = {}
    for each in given:
        name, _, number = each.rpartition("=")
        if not name or not number.isdecimal():
            raise typer.BadParameter(f"{each!r} is no NAME=NUMBER, such as contoso=5000")
        found[name] = int(number)
    return found


def _show(made: Plan, warnings: list[PlanWarning]) -> None:
    _show_calls(made)
    _show_streams(made)
    _show_needs(made)
    _show_assumptions(made)
    say("Warnings" if warnings else "Nothing stands against it.")
    for one in warnings:
        say(f"! {one.where}: {one.said}.")
        say(f"  {one.hint}")


def _show_calls(made: Plan) -> None:
    print_table(
        ("stream", "endpoint", "in tenant", "calls a day", "an hour", "allowed", "at once"),
        [
            (
                one.stream,
                one.endpoint.path,
                one.tenant,
                one.calls_a_day,
                one.an_hour,
                one.endpoint.quota.per_hour,
                one.at_once,
            )
            for one in made.endpoints
        ],
        title="Calls, in the tenant that needs most",
    )
    say()


def _show_streams(made: Plan) -> None:
    copies = 1 + made.wanted.replicas
    rows: list[tuple[object, ...]] = [
        (
            one.name,
            round(one.rows),
            one.read_bytes / _GB,
            round(one.documents),
            one.sent_bytes / _GB,
            one.room.stored * copies / _GB,
            round(one.room.shards * copies),
            one.latest_bytes * copies / _GB,
        )
        for one in made.streams
    ]
    sums = [sum(float(str(row[column])) for row in rows) for column in range(1, 8)]
    rows.append(("all", *(round(one) if at in (0, 2, 5) else one for at, one in enumerate(sums))))
    print_table(
        (
            *("stream", "rows a day", "GB read", "documents a day", "GB sent"),
            *("GB kept", "shards", "GB newest versions"),
        ),
        rows,
        title=f"All {made.tenants:,} tenants; kept with {made.wanted.replicas} replicas",
    )
    say()


def _show_needs(made: Plan) -> None:
    from aquila_mde.planning.warnings import spoken

    weight = made.measured.weight("vulnerability")
    rows: list[tuple[str, str, str]] = [
        ("collector", "processes, of one core each", f"{made.needed.processes:,}"),
        ("", "cores at work on average", f"{made.cores:.3g}"),
        ("", "such tenants that one carries by its processor", f"{made.tenants_a_core:,.0f}"),
        ("", "GB of memory of all", f"{made.memory / _GB:.2g}"),
        ("engine", "cores for indexing", f"{made.needed.engine_cores:,}"),
        ("", "cores at work on average", f"{made.engine_load:.3g}"),
        (
            "",
            "vulnerabilities a second that one takes",
            f"{made.measured.engine_bytes_s / weight.sent:,.0f}",
        ),
        ("", "GB of disk", f"{made.stored / _GB:,.0f}"),
        ("", "shards", f"{made.shards:,.0f}"),
    ]
    if exports := made.full_exports():
        one, seconds = max(exports, key=lambda each: each[1])
        said = f"{one.reading.rows:,.0f} rows of tenant {one.group.name}"
        rows.append(("full export", said, spoken(seconds)))
        together = spoken(made.all_exports_seconds())
        rows.append(("", "all tenants, and each when they are started together", together))
    print_table(("", "of what", "needed"), rows, title="What it needs")
    say()


def _show_assumptions(made: Plan) -> None:
    from aquila_mde.planning.assumptions import option_of

    rows: list[tuple[str, str, str]] = [
        (f"{value:g}", about, option_of(name)) for name, value, about in made.wanted.assumed.named()
    ]
    rows.append(("", "quotas, pages, intervals, overlaps", "data_stream/*/collect.yml"))
    rows.append(("", f"seconds, memory and bytes: {made.measured.where}", "docs/performance.json"))
    for name in made.only_calls:
        rows.append(("0", f"rows of the stream {name}: only its calls are counted", "nobody knows"))
    print_table(("value", "of what", "from"), rows, title="Assumed")
    say()

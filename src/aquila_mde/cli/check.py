"""``aquila-mde check``: whether everything that the collector needs is there."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aquila_mde.cli._options import (
    STOPPED,
    ConfigOption,
    JsonOption,
    LogLevel,
    LogLevelOption,
    TenantsOption,
    read_duration,
    start_logging,
)
from aquila_mde.cli._output import print_json, print_table, say
from aquila_mde.cli.install import install
from aquila_mde.settings import load_kibana_settings, load_settings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.check.finding import Finding

_SIGNS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}


def check(
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Install what is missing in the engine, or by Fleet; look again."
        ),
    ] = False,
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Look again and again, so long after the end of the last time (5m).",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Look at credential, permissions, every stream's endpoint, engine and Kibana.

    Each thing that is not as it has to be comes with what to do. The exit code is that of the
    first of them.
    """
    start_logging(log_level, LogLevel.ERROR)
    pause = read_duration(watch, "--watch") if watch else None
    findings = _look(config, tenant)
    if fix and any(_is_mended_by_install(each) for each in findings):
        install(config=config, as_json=False, log_level=log_level)
        findings = _look(config, tenant)
    _show(findings, as_json=as_json)
    if pause is not None:
        _go_on(config, tenant, pause, as_json=as_json)
    from aquila_mde.check.finding import first_failed

    raise typer.Exit(first_failed(findings))


def _look(config: ConfigOption, tenant: TenantsOption) -> list[Finding]:
    from aquila_mde.check.run import check as look

    settings = load_settings(config).chosen(tenant or ())
    return asyncio.run(look(settings, load_kibana_settings(config), PackageTree.default()))


def _go_on(config: ConfigOption, tenant: TenantsOption, pause: timedelta, *, as_json: bool) -> None:
    try:
        while True:
            time.sleep(pause.total_seconds())
            _show(_look(config, tenant), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None


def _is_mended_by_install(finding: Finding) -> bool:
    return (
        finding.where in ("engine", "kibana")
        and finding.what == "package"
        and finding.status == "failed"
    )


def _show(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json({"findings": [_as_dict(each) for each in findings]})
        return
    several = any(each.tenant for each in findings)
    print_table(
        ("", *(["tenant"] if several else []), "where", "what", "found"),
        [
            (
                _SIGNS[each.status],
                *((each.tenant,) if several else ()),
                *(each.where, each.what, each.said),
            )
            for each in findings
        ],
    )
    told = [each for each in findings if each.hint]
    if told:
        say()
    for each in told:
        whose = f"{each.tenant}, " if each.tenant else ""
        say(f"{_SIGNS[each.status]} {whose}{each.where}, {each.what}: {each.hint}")
    failed = sum(each.status == "failed" for each in findings)
    say()
    say(f"{failed} of {len(findings)} have to be mended." if failed else "All is well.")


def _as_dict(finding: Finding) -> dict[str, Any]:
    return {
        "tenant": finding.tenant,
        "where": finding.where,
        "what": finding.what,
        "status": str(finding.status),
        "said": finding.said,
        "hint": finding.hint or None,
    }

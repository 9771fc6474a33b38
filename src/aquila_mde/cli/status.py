"""``aquila-mde status``: what the collector's state says, without asking the tenant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevelOption,
    TenantsOption,
    read_settings,
)
from aquila_mde.cli._output import print_json, print_table
from aquila_mde.cli._tenants import by_tenant, done_as_dict, end_with_errors
from aquila_mde.defender.times import format_ticks
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.status import StreamStatus


def status(
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Show how far each stream was collected and what its last error was."""
    from aquila_mde.collect.status import read_status
    from aquila_mde.collect.tenants import one_by_one

    settings, tree = read_settings(config, log_level, tenant), PackageTree.default()
    done = asyncio.run(one_by_one(settings, lambda each: read_status(each, tree)))
    if as_json:
        states = {each.tenant.label: str(each.state) for each in settings.each}
        print_json({"states": states} | done_as_dict(done, _as_dict))
    else:
        print_table(
            *by_tenant(
                (
                    *("stream", "index", "collected up to", "full export", "last pass"),
                    *("delivered", "dead letters", "state"),
                ),
                done,
                lambda each: (
                    each.stream,
                    each.index,
                    _time(each.cursor),
                    _time(each.full_export),
                    _time(each.last_pass),
                    each.delivered,
                    each.dead,
                    _state(each),
                ),
            )
        )
    end_with_errors(done)


def _state(status: StreamStatus) -> str:
    if status.last_error:
        return status.last_error
    if status.unfinished:
        return "pass unfinished"
    return "complete" if status.last_pass is not None else "never collected"


def _time(ticks: int | None) -> str | None:
    return None if ticks is None else f"{format_ticks(ticks)[:19]}Z"


def _as_dict(status: StreamStatus) -> dict[str, Any]:
    return {
        "stream": status.stream,
        "index": status.index,
        "cursor": None if status.cursor is None else format_ticks(status.cursor),
        "full_export": None if status.full_export is None else format_ticks(status.full_export),
        "last_pass": None if status.last_pass is None else format_ticks(status.last_pass),
        "last_error": status.last_error,
        "delivered": status.delivered,
        "dead": status.dead,
        "unfinished": status.unfinished,
    }

"""``aquila-mde replay``: send the dead letters again."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

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
from aquila_mde.cli._tenants import by_tenant, done_as_dict, end_with_errors
from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree


def replay(
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    stream: StreamsOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Send the records of the dead-letter stream again, once each.

    What its stream takes is no longer a dead letter; what is refused again stays, with the new
    reason. Runs beside a collector.
    """
    from aquila_mde.collect.replay import replay as replay_letters
    from aquila_mde.collect.tenants import one_by_one

    settings, tree = read_settings(config, log_level, tenant), PackageTree.default()
    done = asyncio.run(
        one_by_one(settings, lambda each: replay_letters(each, tree, stream or None))
    )
    reports = [report for each in done for report in each.found or ()]
    if as_json:
        print_json(done_as_dict(done, asdict))
    elif not reports and all(each.error is None for each in done):
        say("There are no dead letters.")
    else:
        print_table(
            *by_tenant(
                ("stream", "letters", "created", "already there", "refused", "not replayable"),
                done,
                lambda r: (
                    *(r.stream, r.letters, r.created, r.existing),
                    *(r.refused, r.not_replayable),
                ),
            )
        )
        for report in reports:
            for kept in report.kept:
                say(f"{report.stream} {kept.document_id} stays: {kept.reason}")
            more = report.refused + report.not_replayable - len(report.kept)
            if more:
                say(f"{report.stream}: {more} more stay")
    end_with_errors(done)
    if any(report.refused or report.not_replayable for report in reports):
        raise typer.Exit(ExitCode.DEAD_LETTERS)

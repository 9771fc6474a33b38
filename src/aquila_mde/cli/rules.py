"""``aquila-mde rules``: the detection rules as a file for Kibana, and what they find."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevel,
    LogLevelOption,
    extra,
    read_duration,
    read_engine_settings,
    start_logging,
)
from aquila_mde.cli._output import print_json, print_table, say
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.rules.ask import Findings
    from aquila_mde.rules.load import Rule
    from aquila_mde.settings import ElasticsearchSettings


class Target(StrEnum):
    """The languages that a Sigma rule can become."""

    LUCENE = "lucene"
    ESQL = "esql"
    EQL = "eql"


rules = typer.Typer(
    help="Export the detection rules for Kibana, or ask an engine what they find.",
    no_args_is_help=True,
)
RulesOption = Annotated[
    list[str] | None,
    typer.Option("--rule", "-r", help="Only this rule; may be repeated.", show_default=False),
]


@rules.command()
def export(
    only: RulesOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file that is written. Else standard output.",
            show_default=False,
        ),
    ] = None,
    enabled: Annotated[bool, typer.Option("--enabled", help="They are on when imported.")] = False,
    log_level: LogLevelOption = None,
) -> None:
    """Write the rules as Kibana imports them, one a line (NDJSON)."""
    from aquila_mde.build.built import field_types
    from aquila_mde.build.kibana.rule import imported
    from aquila_mde.rules.attack import load_attack

    start_logging(log_level, LogLevel.WARNING)
    tree = PackageTree.default()
    text = imported(_chosen(only), load_attack(tree), field_types(tree), enabled=enabled)
    if output is None:
        say(text.rstrip())
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    say(f"written: {output}")


@rules.command("try")
def try_(
    only: RulesOption = None,
    last: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How far to look back, such as 7d."),
    ] = "30d",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Ask the engine what each rule finds in what was collected. No alert is raised."""
    span, chosen = read_duration(last, "--last"), _chosen(only)
    settings = read_engine_settings(config, log_level)
    found = asyncio.run(_find(chosen, settings, span))
    if as_json:
        print_json(
            [
                {
                    "rule": rule.name,
                    "severity": rule.spec.severity,
                    "found": findings.total,
                    "findings": [
                        {
                            "at": datetime.fromtimestamp(one.at / 1000, UTC),
                            "values": dict(zip(_names(rule), one.values, strict=True)),
                        }
                        for one in findings.listed
                    ],
                }
                for rule, findings in found
            ]
        )
        return
    rows = [(rule.name, rule.spec.severity, findings.total) for rule, findings in found]
    print_table(("rule", "severity", "found"), rows, f"In the last {last}")


@rules.command()
def sigma(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Sigma rules (YAML).", show_default=False),
    ] = None,
    target: Annotated[
        Target, typer.Option("--target", "-t", help="The language they become.")
    ] = Target.LUCENE,
    as_rules: Annotated[
        bool, typer.Option("--ndjson", help="Write rules that Kibana imports, not the queries.")
    ] = False,
    pipeline: Annotated[
        bool,
        typer.Option("--pipeline", help="Only print the processing pipeline, for sigma-cli."),
    ] = False,
    log_level: LogLevelOption = None,
) -> None:
    """Turn Sigma rules over advanced hunting into queries over the stream hunting."""
    start_logging(log_level, LogLevel.WARNING)
    tree = PackageTree.default()
    if pipeline:
        say((tree.package / "sigma" / "aquila_mde.yml").read_text(encoding="utf-8").rstrip())
        return
    if not files:
        raise typer.BadParameter("name at least one file with a Sigma rule, or use --pipeline")
    with extra("sigma"):
        from aquila_mde.sigma.convert import convert
    for text in convert(files, target.value, tree, as_rules=as_rules):
        say(text)


async def _find(
    chosen: list[Rule], settings: ElasticsearchSettings, last: timedelta
) -> list[tuple[Rule, Findings]]:
    from aquila_mde.dashboards.load import PACKAGE
    from aquila_mde.elastic.client import Engine
    from aquila_mde.elastic.scan import LENIENT, refresh
    from aquila_mde.rules.ask import Json, find, milliseconds

    async with await Engine.connect(settings) as engine:
        await refresh(engine, f"logs-{PACKAGE}.*")

        async def search(indices: str, body: Json) -> Json:
            path = f"{indices}/_search"
            answer: Json = await engine.request("POST", path, body, params=LENIENT)
            return answer

        now = milliseconds(datetime.now(UTC) - datetime.fromtimestamp(0, UTC))
        return [(rule, await find(rule, search, now, last)) for rule in chosen]


def _chosen(only: list[str] | None) -> list[Rule]:
    """The rules of the package, or those of them that were named."""
    from aquila_mde.rules.load import load_rules

    every = {rule.name: rule for rule in load_rules(PackageTree.default())}
    for name in only or ():
        if name not in every:
            raise typer.BadParameter(f"there is no rule {name}: choose of {', '.join(every)}")
    return [rule for rule in every.values() if not only or rule.name in only]


def _names(rule: Rule) -> tuple[str, ...]:
    """What the values of a finding are of."""
    join = rule.spec.join
    return (*rule.spec.keys(), *((join.key,) if join else ())) or ("event.id",)

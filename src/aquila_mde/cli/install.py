"""``aquila-mde install``: pipelines, templates and lifecycle policies in the engine."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from aquila_mde.cli._options import (
    ConfigOption,
    JsonOption,
    LogLevel,
    LogLevelOption,
    read_duration,
    read_engine_settings,
    start_logging,
)
from aquila_mde.cli._output import print_json, say
from aquila_mde.settings import KibanaSettings, load_kibana_settings, load_places
from aquila_mde.streams.tree import PackageTree


class FlavourName(StrEnum):
    """The engine that requests are written for."""

    ELASTICSEARCH = "elasticsearch"
    OPENSEARCH = "opensearch"


def install(
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the requests instead; needs no engine.")
    ] = False,
    flavour: Annotated[
        FlavourName | None,
        typer.Option(
            help="With --dry-run and --show-role: the engine that is meant.",
            show_default="elasticsearch",
        ),
    ] = None,
    kibana: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Have Fleet of this Kibana install the package instead "
            "(also KIBANA_URL, or kibana.url in the settings file).",
            show_default=False,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(help="Space of that Kibana (also KIBANA_SPACE).", show_default=False),
    ] = None,
    create_api_key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Then make an API key that may do what a collector does and nothing else, and "
            "show it once.",
            show_default=False,
        ),
    ] = None,
    key_valid_for: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long that key is good, such as 365d.", show_default="ever"
        ),
    ] = None,
    show_role: Annotated[
        bool, typer.Option("--show-role", help="Print the role of such a key; needs no engine.")
    ] = False,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Install what the documents need in the engine. Running it again changes nothing."""
    if show_role:
        _show_role(config, flavour or FlavourName.ELASTICSEARCH)
        return
    if key_valid_for is not None:
        read_duration(key_valid_for, "--key-valid-for")
        if create_api_key is None:
            raise typer.BadParameter("--key-valid-for goes with --create-api-key")
    if dry_run and (kibana or space):
        raise typer.BadParameter("--dry-run shows the requests to an engine, not to Kibana")
    if dry_run:
        start_logging(log_level, LogLevel.WARNING)
        _print_requests(flavour or FlavourName.ELASTICSEARCH, as_json=as_json)
        return
    if flavour is not None:
        raise typer.BadParameter(
            "goes with --dry-run and --show-role: an engine that is there is asked"
        )
    start_logging(log_level, LogLevel.WARNING)
    if settings := load_kibana_settings(config, url=kibana, space=space):
        _upload(settings, as_json=as_json)
    else:
        _install(config, log_level, as_json=as_json)
    if create_api_key is not None:
        _create_key(config, log_level, create_api_key, key_valid_for)


def _print_requests(flavour: FlavourName, *, as_json: bool) -> None:
    from aquila_mde.elastic.assets import plan_install

    requests = plan_install(PackageTree.default(), flavour.value)
    if as_json:
        print_json([asdict(request) for request in requests])
        return
    for request in requests:
        say(f"{request.method} {request.path}")
    say(f"{len(requests)} requests; --json prints their bodies too.")


def _upload(settings: KibanaSettings, *, as_json: bool) -> None:
    from aquila_mde.build.package import make_archive
    from aquila_mde.elastic.kibana import Kibana, UploadReport

    archive = make_archive(PackageTree.default())

    async def act() -> UploadReport:
        async with Kibana(settings) as kibana:
            return await kibana.install(
                archive.zip(),
                name=archive.name,
                version=archive.version,
                made_for=archive.kibana,
            )

    report = asyncio.run(act())
    if as_json:
        print_json(asdict(report))
        return
    for kind, count in report.installed.items():
        say(f"installed: {count} {kind}")
    say(f"Kibana {report.kibana}: Fleet has installed {report.name} {report.version}")


def _show_role(config: ConfigOption, flavour: FlavourName) -> None:
    from aquila_mde.elastic.privileges import role_of

    print_json(role_of(load_places(config), flavour=flavour.value))


def _create_key(
    config: ConfigOption, log_level: LogLevelOption, name: str, valid_for: str | None
) -> None:
    from aquila_mde.elastic.client import Engine
    from aquila_mde.elastic.privileges import Key, create_key

    settings = read_engine_settings(config, log_level)
    places = load_places(config)

    async def act() -> Key:
        async with await Engine.connect(settings) as engine:
            return await create_key(engine, name, places, expires=valid_for)

    key = asyncio.run(act())
    # To standard error, so that it is in no output that is kept; past every filter for secrets.
    sys.stderr.write(
        f"API key {key.name} ({key.id}) for the namespace {', '.join(places)}. Set this for the "
        f"collector; it is shown only once:\nES_API_KEY={key.encoded}\n"
    )
    sys.stderr.flush()


def _install(config: ConfigOption, log_level: LogLevelOption, *, as_json: bool) -> None:
    from aquila_mde.elastic.assets import InstallReport, install
    from aquila_mde.elastic.client import Engine

    settings = read_engine_settings(config, log_level)

    async def act() -> tuple[Engine, InstallReport]:
        async with await Engine.connect(settings) as engine:
            return engine, await install(engine, PackageTree.default())

    engine, report = asyncio.run(act())
    if as_json:
        info = {"flavour": engine.info.flavour, "version": engine.info.version}
        print_json({"engine": info, **asdict(report)})
        return
    for what, names in (
        ("created", report.created),
        ("updated", report.updated),
        ("rolled over", report.rolled_over),
    ):
        for name in names:
            say(f"{what}: {name}")
    for remark in report.remarks:
        say(remark)
    say(
        f"{engine.info.flavour} {engine.info.version}: {len(report.created)} created, "
        f"{len(report.updated)} updated, {len(report.unchanged)} unchanged"
    )

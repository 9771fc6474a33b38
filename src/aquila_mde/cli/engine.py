"""``aquila-mde engine``: a real engine on this machine, without Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aquila_mde.cli._options import (
    JsonOption,
    LogLevel,
    LogLevelOption,
    extra,
    start_logging,
)
from aquila_mde.cli._output import print_json, say


def engine(
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one.")] = 9200,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the indices; without it they are gone at the end.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    heap: Annotated[str, typer.Option(help="Memory for Java, as Java writes it.")] = "1g",
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Run an OpenSearch engine in the foreground until Ctrl-C or SIGTERM."""
    start_logging(log_level, LogLevel.WARNING)
    with extra("demo"):
        from aquila_mde.engine import EmbeddedEngine, serve

    def on_ready(started: EmbeddedEngine) -> None:
        if as_json:
            print_json({"url": started.url, "pid": started.pid})
            return
        say(f"The engine answers at {started.url} (Ctrl-C ends it). To collect into it:")
        say(f"  export ES_URL={started.url}")

    serve(port, data, heap, on_ready)

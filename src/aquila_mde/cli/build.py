"""``aquila-mde build``: the files that are made from the declarative ones."""

from __future__ import annotations

from typing import Annotated

import typer

from aquila_mde.cli._options import LogLevel, LogLevelOption, start_logging
from aquila_mde.cli._output import say
from aquila_mde.errors import ConfigurationError
from aquila_mde.streams.tree import PackageTree


class StaleFilesError(ConfigurationError):
    """Built files that no longer follow from what they are made of."""


def build(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when a built file is stale.")
    ] = False,
    log_level: LogLevelOption = None,
) -> None:
    """Write ingest pipelines and fields from pipelines/ and every mapping.yml."""
    from aquila_mde.build import stale, write

    start_logging(log_level, LogLevel.WARNING)
    tree = PackageTree.default()
    if not check:
        for path in write(tree):
            say(f"written: {path.relative_to(tree.root)}")
        return
    if paths := stale(tree):
        raise StaleFilesError(
            "Built files are stale:\n"
            + "\n".join(f"  {path.relative_to(tree.root)}" for path in paths),
            hint="Run 'aquila-mde build' (or 'make build') and look at what it changes.",
        )
    say("Every built file is up to date.")

"""``aquila-mde package``: the zip that Fleet takes, and what could be wrong with one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aquila_mde.cli._options import JsonOption, LogLevel, LogLevelOption, start_logging
from aquila_mde.cli._output import print_json, say
from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree

package = typer.Typer(
    help="Build the package that Fleet takes as a zip, or check one.", no_args_is_help=True
)
OUTPUT = Path("build/packages")


@package.command()
def build(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that zip and folder are written to.")
    ] = OUTPUT,
    log_level: LogLevelOption = None,
) -> None:
    """Write the package as a zip and as a folder: the same bytes every time."""
    from aquila_mde.build.package import make_archive, write_package

    start_logging(log_level, LogLevel.WARNING)
    for path in write_package(make_archive(PackageTree.default()), output):
        say(f"written: {path}")


@package.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Zip or folder of a package; otherwise the zip that package build writes.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """List everything that is wrong with a package, each with file and line."""
    from aquila_mde.build.package import Severity, check_package, make_archive

    start_logging(log_level, LogLevel.WARNING)
    path = path or OUTPUT / f"{make_archive(PackageTree.default()).stem}.zip"
    findings = check_package(path)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    if as_json:
        listed = [asdict(finding) for finding in findings]
        print_json({"path": str(path), "errors": errors, "warnings": warnings, "findings": listed})
    else:
        for finding in findings:
            say(str(finding))
        say(f"{path}: {errors} errors, {warnings} warnings")
    if errors:
        raise typer.Exit(ExitCode.SETTINGS)

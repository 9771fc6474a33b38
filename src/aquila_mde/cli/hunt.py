"""``aquila-mde hunt``: one KQL query, shown or indexed."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aquila_mde.cli._options import ConfigOption, LogLevelOption, TenantsOption, read_settings
from aquila_mde.cli._output import complain, print_table, say
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.settings import Settings
from aquila_mde.streams.collect_spec import parse_duration
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.ad_hoc import AdHoc
    from aquila_mde.collect.windows import Window


class Format(StrEnum):
    """How rows are shown."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def hunt(
    query: Annotated[
        str,
        typer.Argument(metavar="KQL", help="The query; @FILE reads it from a file, - from stdin."),
    ],
    last: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Only this much time up to now, such as 1h or 7d. Without a time the query says "
            "it itself.",
            show_default=False,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Begin here: a date or a UTC time.", show_default=False
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="End before this. Else now.", show_default=False),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", "-f", help="How the rows are shown.")
    ] = Format.TABLE,
    index: Annotated[
        bool,
        typer.Option("--index", help="Show nothing: write the rows into the data stream."),
    ] = False,
    config: ConfigOption = None,
    tenant: TenantsOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Run one advanced hunting query and show its rows.

    What is too much for one answer is asked slice by slice, when a time is given.
    """
    settings = read_settings(config, log_level, tenant).only()
    asyncio.run(_hunt(_text(query), _window(last, from_, to), settings, output, index=index))


async def _hunt(
    query: str, window: Window | None, settings: Settings, output: Format, *, index: bool
) -> None:
    from aquila_mde.collect.ad_hoc import ad_hoc
    from aquila_mde.collect.ad_hoc import index as deliver

    tree = PackageTree.default()
    async with ad_hoc(query, window, settings, tree) as asked:
        if not index:
            await _show(asked, output)
            return
        counts = await deliver(asked, settings, tree)
        complain(
            f"{counts.records:,} rows: {counts.created:,} written, {counts.existing:,} there "
            f"already, {counts.dead:,} refused"
        )
        if counts.dead:
            raise typer.Exit(ExitCode.DEAD_LETTERS)


async def _show(asked: AdHoc, output: Format) -> None:
    columns: tuple[str, ...] = ()
    held: list[dict[str, Any]] = []
    count = 0
    async for part in asked.slices():
        columns = columns or part.found.columns
        rows = [json.loads(bytes(row)) for row in part.found.rows]
        columns = columns or tuple(dict.fromkeys(name for row in rows for name in row))
        if output is Format.TABLE:
            held += rows
        elif output is Format.JSON:
            for row in rows:
                say(json.dumps(row, ensure_ascii=False))
        else:
            _write_csv(columns, rows, head=not count)
        count += len(rows)
    if output is Format.TABLE and held:
        print_table(columns, [tuple(_cell(row.get(name)) for name in columns) for row in held])
    complain(f"{count:,} rows" if count != 1 else "1 row")


def _write_csv(columns: tuple[str, ...], rows: list[dict[str, Any]], *, head: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if head and columns:
        writer.writerow(columns)
    writer.writerows([[_cell(row.get(name)) for name in columns] for row in rows])
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _text(query: str) -> str:
    try:
        if query == "-":
            query = sys.stdin.read()
        elif query.startswith("@"):
            query = Path(query[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"The query in {query[1:]} cannot be read: {reason}.") from None
    if not query.strip():
        raise ConfigurationError("The query is empty.")
    return query


def _window(last: str | None, from_: str | None, to: str | None) -> Window | None:
    from aquila_mde.collect.runner import now_ticks
    from aquila_mde.collect.windows import Window, moment
    from aquila_mde.defender.times import ticks_of

    if last is not None and (from_ or to):
        raise ConfigurationError("--last and --from or --to do not go together: keep one.")
    if last is not None:
        try:
            span = ticks_of(parse_duration(last))
        except ValueError as error:
            raise ConfigurationError(f"--last {last}: {error}.") from None
        now = now_ticks()
        return Window(now - span, now)
    if from_ is None:
        if to is not None:
            raise ConfigurationError("--to needs --from.")
        return None
    window = Window(moment(from_, "--from"), moment(to, "--to") if to else now_ticks())
    if window.end is not None and window.end <= window.start:
        raise ConfigurationError("--to must be later than --from.")
    return window

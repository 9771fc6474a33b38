"""What commands show: tables and plain lines on standard output, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from aquila_mde.errors import AquilaError, without_secrets

OnRecords = Callable[[str, int], None]
"""Told the name of a stream and how many of its records were read so far."""
_log = structlog.get_logger(__name__)
_LINE_EVERY = 25_000
"""Records between two lines of progress where no display can be drawn."""


def say(text: str = "") -> None:
    """One plain line on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """``value`` as the only thing on standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_error(error: AquilaError) -> None:
    """An error that the program knows: one paragraph, message and hint."""
    complain(f"Error: {error}")


def error_as_dict(error: AquilaError | None) -> dict[str, Any] | None:
    """What ``--json`` says of an error."""
    if error is None:
        return None
    return {"message": error.message, "hint": error.hint, "exit_code": int(error.exit_code)}


def print_unexpected(error: Exception) -> None:
    """An error nobody foresaw: one line."""
    text = " ".join(without_secrets(str(error)).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    complain(f"Unexpected error: {what} (--log-level debug shows where)")


def complain(text: str) -> None:
    """One plain line on standard error."""
    sys.stderr.write(f"{without_secrets(text)}\n")
    sys.stderr.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table: numbers to the right, without frame where it goes to a file."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    if console.is_terminal:
        table = Table(title=title or None, title_justify="left")
    for position, column in enumerate(columns):
        numeric = all(isinstance(row[position], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table, markup=False)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


@contextmanager
def record_progress(
    *, quiet: bool = False, tell: Callable[[str], None] | None = None
) -> Iterator[OnRecords]:
    """What a collection reports its records to.

    A display on a terminal; elsewhere lines, by ``tell`` or as log events.
    """
    if quiet or not sys.stderr.isatty():
        yield _nothing if quiet else _lines(tell or _log_line)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} records", justify="right"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as display:
        tasks: dict[str, TaskID] = {}

        def show(stream: str, records: int) -> None:
            if stream not in tasks:
                tasks[stream] = display.add_task(stream, total=None)
            display.update(tasks[stream], completed=records)

        yield show


def _nothing(_stream: str, _records: int) -> None:
    """Show nothing."""


def _log_line(text: str) -> None:
    _log.info(text)


def _lines(tell: Callable[[str], None]) -> OnRecords:
    told: dict[str, int] = {}

    def show(stream: str, records: int) -> None:
        step = records // _LINE_EVERY
        if step > told.get(stream, 0):
            told[stream] = step
            tell(f"{stream}: {records:,} records read")

    return show


def print_document(document: Any) -> None:
    """One document, its fields in order; in colour on a terminal."""
    console = Console(file=sys.stdout)
    if console.is_terminal:
        console.print_json(data=document, sort_keys=True)
    else:
        say(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True))

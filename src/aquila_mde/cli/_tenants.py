"""What commands show of several tenants, and how they end when one of them failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from aquila_mde.cli._output import error_as_dict, print_error
from aquila_mde.errors import AquilaError

if TYPE_CHECKING:
    from aquila_mde.collect.tenants import Done

_Report = TypeVar("_Report")


def by_tenant(
    columns: Sequence[str],
    done: Sequence[Done[list[_Report]]],
    row: Callable[[_Report], Sequence[object]],
) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Columns and rows of a table of all reports; the tenant stands first where there are more."""
    if len(done) == 1:
        return columns, [row(report) for report in done[0].found or ()]
    rows: list[Sequence[object]] = [
        (each.tenant, *row(report)) for each in done for report in each.found or ()
    ]
    return ("tenant", *columns), rows


def done_as_dict(
    done: Sequence[Done[list[_Report]]], as_dict: Callable[[_Report], dict[str, Any]]
) -> dict[str, Any]:
    """What ``--json`` says: the reports of all tenants, and the tenants that failed whole."""
    return {
        "streams": [
            {"tenant": each.tenant} | as_dict(report)
            for each in done
            for report in each.found or ()
        ],
        "failed_tenants": [
            {"tenant": each.tenant, "error": error_as_dict(each.error)}
            for each in done
            if each.error is not None
        ],
    }


def end_with_errors(done: Sequence[Done[Any]], errors: Iterable[AquilaError | None] = ()) -> None:
    """Show the errors of tenants and ``errors``; end with the code of the first if there is one."""
    every = [each.error for each in done] + list(errors)
    found = [error for error in every if error is not None]
    for error in found:
        print_error(error)
    if found:
        raise typer.Exit(found[0].exit_code)

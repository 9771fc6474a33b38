"""What was looked at, and how it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from aquila_mde.errors import AquilaError, ExitCode


class Status(StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not for ever."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be looked at, or there is nothing to look at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    where: str
    """Whose it is: ``tenant``, ``engine``, ``kibana`` or the name of a stream."""
    what: str
    status: Status
    said: str
    """What was found, in one line."""
    hint: str = ""
    """What to do, where there is something to do; in one line."""
    exit_code: ExitCode = ExitCode.OK
    """What the process answers when this is the first that failed."""
    tenant: str | None = None
    """What the tenant is called, where it is about one of several."""


class Findings:
    """Collects findings about one subject after the other.

    ``tenant`` is what the tenant is called that they are about, where there are several.
    """

    def __init__(self, tenant: str | None = None) -> None:
        self.all: list[Finding] = []
        self._tenant = tenant

    def ok(self, where: str, what: str, said: str) -> None:
        """It is as it has to be."""
        self._add(Finding(where, what, Status.OK, said))

    def warning(self, where: str, what: str, said: str, hint: str) -> None:
        """Somebody should look at it before it fails."""
        self._add(Finding(where, what, Status.WARNING, said, hint))

    def failed(self, where: str, what: str, said: str, hint: str, code: ExitCode) -> None:
        """It has to be mended."""
        self._add(Finding(where, what, Status.FAILED, said, hint, code))

    def skipped(self, where: str, what: str, why: str) -> None:
        """It was not looked at."""
        self._add(Finding(where, what, Status.SKIPPED, why))

    def error(self, where: str, what: str, error: AquilaError) -> None:
        """It failed with ``error``, which says why and what to do."""
        hint = " ".join(error.hint.split())
        said = " ".join(error.message.split())
        if error.request_id:
            said += f" (request {error.request_id})"
        self.failed(where, what, said, hint, error.exit_code)

    def _add(self, finding: Finding) -> None:
        self.all.append(replace(finding, tenant=self._tenant))


def first_failed(findings: list[Finding]) -> ExitCode:
    """The exit code of the first that failed; ``OK`` if none did."""
    codes = (each.exit_code for each in findings if each.status is Status.FAILED)
    return next(codes, ExitCode.OK)

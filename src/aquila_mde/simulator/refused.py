"""Answers that refuse, on their way from where it is found out to where they are written."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import format_datetime

from aquila_mde.simulator.clock import SECOND, to_datetime
from aquila_mde.simulator.tenant import Tenant


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the program
    """A request that gets an error answer."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


def too_many(tenant: Tenant, wait: int, message: str) -> Refused:
    """What a call gets that exceeds a quota: to come again after ``wait`` seconds, if told so."""
    headers: dict[str, str] = {}
    if tenant.quirks.retry_after == "seconds":
        headers["Retry-After"] = str(wait)
    elif tenant.quirks.retry_after == "date":
        until = to_datetime(tenant.clock.now() + wait * SECOND)
        headers["Retry-After"] = format_datetime(until, usegmt=True)
    return Refused(429, "TooManyRequests", message, headers)

"""Answers of the Defender API that are not what was asked for, and the errors they become.

Source: https://learn.microsoft.com/en-us/defender-endpoint/api/common-errors
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    SignInError,
)
from aquila_mde.defender.times import ticks_of_http_date
from aquila_mde.errors import AquilaError, without_secrets

_LONGEST_MESSAGE = 500


class _Reason(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    target: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Reason


def is_json(response: httpx.Response) -> bool:
    """Whether a 200 holds a whole JSON object, told without decoding it.

    A proxy may answer with a page of its own, and a body without a length may be cut off.
    """
    kind = response.headers.get("Content-Type", "json")
    body = response.content
    return "json" in kind and body[:1] == b"{" and body[-64:].rstrip()[-1:] == b"}"


def retry_after(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds; it may also be a date, told by the service's clock."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    now = ticks_of_http_date(response.headers.get("Date"))
    seconds = time.time() if now is None else now / 10_000_000
    return max(0.0, at - seconds)


def error_for(response: httpx.Response, host: str) -> AquilaError:
    """The error that ``response`` of ``host`` means."""
    status = response.status_code
    reason = _reason(response)
    request_id = reason.target or response.headers.get("x-ms-request-id")
    said = f": {reason.message}" if reason.message else ""
    if status in {408, 429} or status >= 500:
        return DefenderUnavailableError(
            f"{host} answers {_phrase(response)}{said}",
            hint=_QUOTA if status == 429 else "",
            request_id=request_id,
        )
    if status < 400:
        return DefenderUnavailableError(
            f"{host} answered with {_kind(response)} (HTTP {status}), not with the JSON asked for",
            hint="A proxy or a sign-in page of the network may stand in between.",
            request_id=request_id,
        )
    if status == 401:
        return SignInError(
            f"{host} refuses a token that Microsoft Entra has just issued (HTTP 401)",
            hint=(
                "The token is for another audience: check that tenant.cloud, tenant.api_url and "
                "tenant.resource belong together."
            ),
            request_id=request_id,
        )
    if status == 403:
        code = reason.code or "Forbidden"
        return PermissionDeniedError(
            f"{host} does not allow this call ({code}){said}",
            code=code,
            hint=_DENIED.get(code, _DENIED["Forbidden"]),
            request_id=request_id,
        )
    if status == 404:
        return NotFoundError(
            f"{host} does not have what was asked for (HTTP 404){said}",
            hint="Check tenant.api_url, and that the tenant has the feature.",
            request_id=request_id,
        )
    return BadRequestError(
        f"{host} refuses the call ({reason.code or _phrase(response)}){said}",
        code=reason.code or str(status),
        hint="This tenant refuses what others take: please report it with the request's number.",
        request_id=request_id,
    )


_QUOTA = (
    "The quota of the application in this tenant is used up; another program may be using the "
    "same application registration."
)
_DENIED = {
    "Forbidden": (
        "Add the application permission and grant admin consent (Entra admin centre → App "
        "registrations → the application → API permissions → WindowsDefenderATP). It takes effect "
        "with the next token."
    ),
    "DisabledFeature": (
        "The feature is switched off in the tenant or not in its licence, for example Defender "
        "Vulnerability Management."
    ),
    "DisallowedOperation": "The tenant does not allow this operation to this application.",
}


def _reason(response: httpx.Response) -> _Reason:
    try:
        reason = msgspec.json.decode(response.content, type=_ErrorBody).error
    except msgspec.DecodeError:
        return _Reason()
    reason.message = without_secrets(reason.message or "")[:_LONGEST_MESSAGE].rstrip(".")
    return reason


def _phrase(response: httpx.Response) -> str:
    return f"HTTP {response.status_code} {response.reason_phrase}".rstrip()


def _kind(response: httpx.Response) -> str:
    if not response.content:
        return "nothing"
    kind = str(response.headers.get("Content-Type", "")).partition(";")[0]
    return "a cut-off body" if "json" in kind else kind or "something else"

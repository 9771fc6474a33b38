"""What can go wrong with the engine, and how its answers become one of these.

A connection that fails and an answer that refuses are both turned into an error that names the
host, says what is wrong in the engine's own words and what to do about it.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import aiohttp
import msgspec
from elastic_transport import ConnectionTimeout, TransportError

from aquila_mde.errors import (
    AquilaError,
    ConfigurationError,
    ExitCode,
    FatalError,
    RetriableError,
    causes_of,
    without_secrets,
)

Cause = TypeVar("Cause", bound=BaseException)


class EngineUnavailableError(RetriableError):
    """The engine cannot be reached, is overloaded, or refuses writes for the time being."""

    exit_code = ExitCode.ENGINE


class EngineAccessError(ConfigurationError):
    """The engine is there but does not let us in: address, certificate, key or privilege.

    ``privilege`` is the one that is missing, as the engine names it, or empty.
    """

    exit_code = ExitCode.ENGINE_ACCESS

    def __init__(self, message: str, *, hint: str = "", privilege: str = "") -> None:
        super().__init__(message, hint=hint)
        self.privilege = privilege


class ForeignAssetError(ConfigurationError):
    """An object that we would write belongs to somebody else, for example to Fleet."""


class AssetsMissingError(ConfigurationError):
    """The templates or pipelines of this package are not on the engine."""

    exit_code = ExitCode.ENGINE


class EngineRefusedError(FatalError):
    """The engine answered and said no; ``status`` and ``error_type`` are its own."""

    exit_code = ExitCode.ENGINE

    def __init__(
        self, message: str, *, hint: str = "", status: int = 0, error_type: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.error_type = error_type


@dataclass(frozen=True)
class Place:
    """Where the engine is and how we sign in, for use in messages."""

    host: str
    """Host and port, as in the URL."""
    https: bool
    login: Literal["api_key", "password", "none"]


RETRIABLE_STATUS = frozenset({408, 429, 500, 502, 503, 504})
BLOCKED = "cluster_block_exception"
INSTALL_HINT = "Run: aquila-mde install"

_PRIVILEGES = re.compile(r"granted by the (cluster|index) privileges \[([^\]]+)\]")
_ACTION = re.compile(r"(?:action \[|no permissions for \[)([^\]]+)\]")
_LOGIN_HINTS = {
    "api_key": "Check elasticsearch.api_key (ES_API_KEY): it must be the encoded form, and the "
    "key must not have expired or been invalidated.",
    "password": "Check elasticsearch.username and elasticsearch.password (ES_USERNAME, "
    "ES_PASSWORD).",
    "none": "Give it an API key (ES_API_KEY) or a user (ES_USERNAME and ES_PASSWORD).",
}


def from_transport(error: TransportError, place: Place) -> AquilaError:
    """Why there is no answer at all."""
    causes = list(causes_of(error))
    host = place.host
    untrusted = _first(causes, ssl.SSLCertVerificationError)
    if untrusted is not None:
        return EngineAccessError(
            f"The certificate of {host} is not accepted: "
            f"{getattr(untrusted, 'verify_message', None) or untrusted}",
            hint="Give the certificate of the authority that signed it as elasticsearch.ca_file "
            "(ES_CA_FILE), and check that the URL has the name the certificate was made for.",
        )
    tls = _first(causes, ssl.SSLError)
    if tls is not None:
        return EngineAccessError(
            f"No TLS connection to {host}: {getattr(tls, 'reason', None) or tls}",
            hint="If the engine listens without TLS, the URL (ES_URL) must begin with http://.",
        )
    if _first(causes, aiohttp.ClientConnectorDNSError) or _first(causes, socket.gaierror):
        return EngineUnavailableError(
            f"The host of {host} is not known: its name cannot be resolved",
            hint="Check the URL (elasticsearch.url, ES_URL) and the DNS of this machine.",
        )
    if _first(causes, ConnectionRefusedError):
        return EngineUnavailableError(
            f"Nothing answers at {host}: the connection is refused",
            hint="Check that the engine is running and that the URL (elasticsearch.url, ES_URL) "
            "has the right host and port.",
        )
    if isinstance(error, ConnectionTimeout):
        return EngineUnavailableError(
            f"{host} did not answer in time",
            hint="Check the load of the engine and the network between it and this machine.",
        )
    hint = "Check the engine's log and anything between it and this machine."
    if not place.https and _first(causes, aiohttp.ServerDisconnectedError):
        hint = "If the engine listens with TLS, the URL (ES_URL) must begin with https://."
    return EngineUnavailableError(
        f"The connection to {host} broke: {without_secrets(error.message)}", hint=hint
    )


def from_answer(
    status: int, body: Any, place: Place, what: str, retry_after: str | None = None
) -> AquilaError:
    """Why the engine refused ``what`` (``PUT _index_template/x``), or cannot do it now."""
    error_type, reason = error_of(body)
    if status == 401:
        given = {"api_key": "the API key", "password": "the user or password"}.get(place.login)
        said = f"{place.host} does not accept {given}" if given else f"{place.host} wants a login"
        return EngineAccessError(said, hint=_LOGIN_HINTS[place.login])
    if error_type == BLOCKED:
        return blocked(reason, place)
    if status == 403:
        return forbidden(reason, place, what)
    said = f"{place.host} answered {status} to {what}"
    if reason:
        said += f": {error_type}: {reason}" if error_type else f": {reason}"
    if status in RETRIABLE_STATUS or status > 500:
        unavailable = EngineUnavailableError(
            said, hint="The engine is overloaded or starting; it was tried again for a while."
        )
        unavailable.wait = _seconds(retry_after)
        return unavailable
    return EngineRefusedError(said, status=status, error_type=error_type)


def forbidden(reason: str, place: Place, what: str) -> EngineAccessError:
    """An error that names the privilege that is missing, when the engine does."""
    said = f"{place.host} does not allow {what}"
    granted = _PRIVILEGES.search(reason)
    action = _ACTION.search(reason)
    if granted:
        privilege = granted[2].split(",")[0].strip()
        hint = (
            f"Give the API key or the user the {granted[1]} privilege {privilege} "
            f"(any of {granted[2]} will do)."
        )
    elif action:
        privilege = action[1]
        hint = f"Give the role of the user the permission {privilege}."
    else:
        privilege = ""
        hint = "Give the API key or the user the privilege for it."
    if action and action[1] not in said:
        said += f" ({action[1]})"
    elif reason and not action:
        said += f": {reason}"
    return EngineAccessError(said, hint=hint, privilege=privilege)


def blocked(reason: str, place: Place) -> EngineUnavailableError:
    """An index or the whole cluster takes no writes: full disk, or a block that somebody set."""
    if "flood-stage" in reason or "read-only-allow-delete" in reason:
        hint = (
            "The disk of the engine is full. Make room or add a disk; the engine takes the block "
            "away by itself below its high watermark."
        )
    else:
        hint = (
            "Take the block away (PUT <index>/_settings with index.blocks.write: null, or the "
            "cluster setting that is named), or find out who set it."
        )
    return EngineUnavailableError(f"{place.host} does not take writes: {reason}", hint=hint)


def error_of(body: Any) -> tuple[str, str]:
    """The type and the reason of an error answer, whatever form it has; both may be empty."""
    if isinstance(body, bytes):
        try:
            body = msgspec.json.decode(body)
        except msgspec.DecodeError:
            body = body.decode("utf-8", "replace")
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        reasons: list[str] = []
        cause: Any = error
        while isinstance(cause, dict):
            reason = str(cause.get("reason") or "")
            if reason and not any(reason in said for said in reasons):
                reasons.append(reason)
            cause = cause.get("caused_by")
        return str(error.get("type") or ""), without_secrets(": ".join(reasons))
    text = " ".join(str(error or "").split())
    if text.startswith("<"):
        text = "a web page, not an engine's answer"
    return "", without_secrets(text[:300])


def _first(causes: list[BaseException], kind: type[Cause]) -> Cause | None:
    """The first of ``kind``, one of the standard library's before aiohttp's half-filled double."""
    found = [cause for cause in causes if isinstance(cause, kind)]
    found.sort(key=lambda cause: isinstance(cause, aiohttp.ClientError))
    return found[0] if found else None


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None

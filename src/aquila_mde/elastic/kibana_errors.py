"""What can go wrong with Kibana and Fleet, and how answers become one of these errors."""

from __future__ import annotations

import socket
import ssl

import httpx

from aquila_mde.errors import (
    AquilaError,
    ConfigurationError,
    ExitCode,
    FatalError,
    RetriableError,
    causes_of,
    without_secrets,
)

_ADDRESS = (
    "Check the URL (--kibana, KIBANA_URL): it must be Kibana's own address, with its base path."
)
_LOGIN = (
    "Check the API key (KIBANA_API_KEY, or ES_API_KEY): the encoded form, not expired, of the "
    "cluster that Kibana belongs to."
)
_PRIVILEGES = (
    "Give the role of the API key all privileges for the Kibana features Fleet and Integrations, "
    "in all spaces."
)


_REFUSED = {
    400: "Look into it with: aquila-mde package check",
    413: "Raise the limit for the size of a request in the proxy in front of Kibana.",
    415: "A proxy in front of Kibana has changed the content type application/zip.",
}


class KibanaUnavailableError(RetriableError):
    """Kibana cannot be reached, is starting, or takes nothing for the time being."""

    exit_code = ExitCode.ENGINE

    def __init__(self, message: str, *, hint: str = "", too_soon: bool = False) -> None:
        """``too_soon``: Fleet has taken another package less than ten seconds ago."""
        super().__init__(message, hint=hint)
        self.too_soon = too_soon


class KibanaAccessError(ConfigurationError):
    """Kibana is there but does not let us in: address, certificate, key or privilege."""

    exit_code = ExitCode.ENGINE_ACCESS


class KibanaVersionError(ConfigurationError):
    """The package is not made for this version of Kibana."""

    exit_code = ExitCode.ENGINE


class PackageRefusedError(FatalError):
    """Fleet has read the package and does not take it."""

    exit_code = ExitCode.ENGINE


def unreachable(error: httpx.HTTPError, host: str, *, uploading: bool) -> AquilaError:
    """Why there is no answer at all."""
    for cause in causes_of(error) if isinstance(error, httpx.ConnectError) else ():
        if isinstance(cause, ssl.SSLCertVerificationError):
            return KibanaAccessError(
                f"The certificate of {host} is not accepted: {cause.verify_message}",
                hint="Give the certificate of the authority that signed it as kibana.ca_file "
                "(KIBANA_CA_FILE), and check that the URL has the name it was made for.",
            )
        if isinstance(cause, ssl.SSLError):
            return KibanaAccessError(
                f"No TLS connection to {host}: {getattr(cause, 'reason', None) or cause}",
                hint="If Kibana listens without TLS, the URL must begin with http://.",
            )
        if isinstance(cause, socket.gaierror):
            return KibanaUnavailableError(
                f"The host of {host} is not known: its name cannot be resolved", hint=_ADDRESS
            )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return KibanaUnavailableError(
            f"Nothing answers at {host}",
            hint=f"Check that Kibana is running. {_ADDRESS}",
        )
    what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "hung up"
    hint = "If Kibana listens with TLS, the URL must begin with https://."
    if uploading:
        hint = (
            "The installation may go on all the same: look in Kibana under Integrations, and send "
            "it again if the package is not there. Nothing is done twice by that."
        )
    return KibanaUnavailableError(f"{host} {what}", hint=hint)


def from_answer(
    response: httpx.Response, host: str, *, space: str | None, method: str
) -> AquilaError:
    """Why Kibana refused the request, or cannot do it now."""
    status, said = response.status_code, _message(response)
    known = _not_let_in(status, said, host, space) or _not_now(status, said, host)
    if known is not None:
        return known
    if not said or status < 400 or status == 404:
        where = f" and leads to {_target(response)}" if response.has_redirect_location else ""
        return KibanaAccessError(f"{host} is not Kibana: it answers {status}{where}", hint=_ADDRESS)
    if method != "POST":
        return PackageRefusedError(f"{host} answered {status}{_quoted(said)}", hint=_ADDRESS)
    return PackageRefusedError(
        f"Fleet at {host} does not take the package{_quoted(said)}",
        hint=_REFUSED.get(status, "Look into the log of Kibana."),
    )


def _not_let_in(status: int, said: str, host: str, space: str | None) -> AquilaError | None:
    if status == 401:
        return KibanaAccessError(f"{host} does not accept the login{_quoted(said)}", hint=_LOGIN)
    if status == 403 and "enterprise license" in said.lower():
        hint = "Kibana 8.7.0 to 8.8.2 ask for it by mistake: update Kibana."
        return KibanaVersionError(f"{host} refuses uploads{_quoted(said)}", hint=hint)
    if status == 403:
        return KibanaAccessError(f"{host} does not allow it{_quoted(said)}", hint=_PRIVILEGES)
    if status == 404 and space is not None:
        hint = f"Check that there is a space {space} (the part behind /s/ in Kibana's address)."
        return KibanaAccessError(f"{host} has no Fleet in the space {space}", hint=hint)
    return None


def _not_now(status: int, said: str, host: str) -> AquilaError | None:
    if status == 409:
        return KibanaUnavailableError(
            f"{host} is installing the package already{_quoted(said)}",
            hint="Wait until that is done and look under Integrations.",
        )
    if status == 429:
        return KibanaUnavailableError(
            f"{host} has just taken another package{_quoted(said)}",
            hint="Wait ten seconds and try again: Fleet takes one package in that time.",
            too_soon=True,
        )
    if status == 503:
        return KibanaUnavailableError(
            f"{host} is not ready{_quoted(said)}",
            hint="Kibana is starting or has lost its Elasticsearch: try again in a minute.",
        )
    if status in (502, 504):
        return KibanaUnavailableError(
            f"{host} answered {status}",
            hint="The proxy in front of Kibana gave up. Look under Integrations, and try again.",
        )
    return None


def _message(response: httpx.Response) -> str:
    """What Kibana says; empty when the answer is not in its form."""
    try:
        body = response.json()
    except ValueError:
        text = " ".join(response.text.split())
        # While it starts, Kibana answers in plain text.
        return without_secrets(text[:200]) if text.startswith("Kibana") else ""
    said = body.get("message") if isinstance(body, dict) else None
    return without_secrets(" ".join(str(said).split())[:500]) if said else ""


def _target(response: httpx.Response) -> str:
    location = response.headers.get("location", "")
    return without_secrets(location.partition("?")[0]) or "nowhere"


def _quoted(said: str) -> str:
    return f": {said}" if said else ""

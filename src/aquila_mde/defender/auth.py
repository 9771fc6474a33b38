"""Tokens for the Defender API: an Entra application signs in with its secret or certificate."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msal
import msgspec
import structlog
from pydantic import SecretStr

from aquila_mde.defender.clouds import Cloud
from aquila_mde.defender.credential import Credential
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.defender.sign_in_codes import refusal
from aquila_mde.defender.times import TICKS_PER_SECOND, ticks_of_http_date
from aquila_mde.defender.transport import HEADERS, host_of, timeouts, tls_context, unreachable
from aquila_mde.errors import ConfigurationError

__all__ = ["Credential", "Token", "TokenSource"]

_log = structlog.get_logger(__name__)
_RENEW_BEFORE = 300.0
_RETRY_RENEWAL = 30.0
_SIGN_IN_SECONDS = 30.0
"""A token is small: who has not sent it by then will not, and a thread waits for it."""


@dataclass(frozen=True)
class Token:
    """One access token. Times are those of :func:`time.monotonic`."""

    value: SecretStr
    expires_at: float
    renew_at: float
    roles: frozenset[str] = field(default_factory=frozenset)
    """The application permissions that the tenant has consented to."""
    audience: str = ""
    """Whom the token is for: the address of an API, or the id of its application."""


class TokenSource:
    """Hands out the token of one tenant and renews it in time, one renewal at a time.

    msal is synchronous and works in a thread. It speaks HTTP through the same library as the rest
    of the collector, so that ``ca_file`` and the proxy variables mean the same for both.
    """

    def __init__(
        self, credential: Credential, cloud: Cloud, *, ca_file: Path | None = None
    ) -> None:
        self.credential = credential
        """What it signs in with; another one after a rotation."""
        self._cloud = cloud
        self._client_credential = credential.for_msal()
        self._host = host_of(cloud.sign_in)
        self._transport = Transport(ca_file)
        self._application: Any = None
        self._http_cache: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._current: Token | None = None
        self.ahead: float | None = None
        """Seconds by which the clock of the sign-in host is ahead of this machine's."""

    async def token(self) -> Token:
        """A token that is good for some minutes at least.

        Raises :class:`SignInError` when Entra refuses, :class:`DefenderUnavailableError` when it
        cannot be reached.
        """
        current = self._current
        if current is not None and time.monotonic() < current.renew_at:
            return current
        async with self._lock:
            current = self._current
            if current is not None and time.monotonic() < current.renew_at:
                return current
            try:
                self._current = await asyncio.to_thread(self._sign_in)
            except DefenderUnavailableError as error:
                error.tenant = self.credential.tenant_id
                now = time.monotonic()
                if current is None or now >= current.expires_at:
                    raise
                # Renewal is early, so an outage of the sign-in need not stop anything yet.
                _log.warning("The token could not be renewed yet", reason=error.message)
                self._current = Token(
                    current.value, current.expires_at, now + _RETRY_RENEWAL, current.roles
                )
            return self._current

    def invalidate(self, token: Token) -> None:
        """Do not hand out ``token`` again: the API has refused it."""
        if self._current is not None and self._current.value == token.value:
            self._current = None

    def _sign_in(self) -> Token:
        self._read_credential()
        try:
            return self._ask_for_token()
        except SignInError:
            # A rotation may have come in between reading the credential and using it.
            if not self._read_credential():
                raise
            return self._ask_for_token()

    def _ask_for_token(self) -> Token:
        self._transport.answer = None
        # msal remembers failed answers for a minute and tokens for their life; whether to ask
        # again is decided here, so it must really ask.
        self._http_cache.clear()
        asked = time.monotonic()
        try:
            if self._application is None:
                self._application = msal.ConfidentialClientApplication(
                    self.credential.client_id,
                    client_credential=self._client_credential,
                    authority=f"{self._cloud.sign_in}/{self.credential.tenant_id}",
                    # Asks a fixed Microsoft host whether it knows the sign-in host: no use
                    # where the host is one's own choice.
                    instance_discovery=False,
                    http_client=self._transport,
                    http_cache=self._http_cache,
                )
            self._application.remove_tokens_for_client()
            result = self._application.acquire_token_for_client(
                [f"{self._cloud.resource}/.default"]
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(error, self._host) from None
        # msal raises whatever reading an unexpected answer leads to, as different types.
        except Exception as error:
            raise self._failed(None, error) from None
        finally:
            self._compare_clocks()
        if not isinstance(result, dict) or "access_token" not in result:
            raise self._failed(result, None)
        lifetime = float(result.get("expires_in", 0))
        claims = _claims(result["access_token"])
        return Token(
            value=SecretStr(result["access_token"]),
            expires_at=asked + lifetime,
            # A cloud may hand out tokens that live for five minutes only.
            renew_at=asked + max(lifetime - _RENEW_BEFORE, lifetime / 2),
            roles=frozenset(claims.roles),
            audience=claims.aud,
        )

    def _compare_clocks(self) -> None:
        if self._transport.answer is not None:
            there = ticks_of_http_date(self._transport.answer.headers.get("Date"))
            if there is not None:
                self.ahead = there / TICKS_PER_SECOND - time.time()

    def _read_credential(self) -> bool:
        """Take what now lies where the credential is kept. Whether it is another than before."""
        credential = self.credential.renewed()
        try:
            held = credential.for_msal()
        except ConfigurationError as error:
            _log.warning("The credential cannot be read any more", reason=error.message)
            return False
        if held == self._client_credential:
            return False
        self.credential, self._client_credential = credential, held
        self._application = None
        return True

    def _failed(self, result: object, error: Exception | None) -> Exception:
        answer = self._transport.answer
        if answer is None:
            # Not an answer of the host but something between msal and this machine.
            reason = type(error).__name__ if error else "no answer"
            return SignInError(
                f"Signing in at {self._host} failed: {reason}",
                hint="Check tenant.id, tenant.client_id and tenant.sign_in_url.",
                tenant=self.credential.tenant_id,
            )
        return refusal(result, answer, self.credential, self._host)


class Transport:
    """What msal uses for HTTP; keeps the last answer, which msal's errors do not hold.

    A token is asked for once an hour, so no connection is kept open.
    """

    def __init__(self, ca_file: Path | None) -> None:
        self.answer: httpx.Response | None = None
        self._options: dict[str, Any] = {
            "verify": tls_context(ca_file),
            "timeout": timeouts(_SIGN_IN_SECONDS),
        }

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self._ask("GET", url, options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self._ask("POST", url, options)

    def _ask(self, method: str, url: str, options: dict[str, Any]) -> httpx.Response:
        form = options.get("data")
        if isinstance(form, dict):
            # msal makes the assertion as bytes, which httpx would write as Python does.
            options["data"] = {
                key: value.decode() if isinstance(value, bytes) else value
                for key, value in form.items()
            }
        headers = {**(options.pop("headers", None) or {}), **HEADERS}
        self.answer = httpx.request(method, url, headers=headers, **self._options, **options)
        return self.answer


class _Claims(msgspec.Struct):
    roles: list[str] = []
    aud: str = ""


def _claims(token: str) -> _Claims:
    """What the token says. It is for Defender, so its signature is Defender's business."""
    try:
        payload = urlsafe_b64decode(token.split(".")[1] + "==")
        return msgspec.json.decode(payload, type=_Claims)
    except (IndexError, ValueError):
        return _Claims()

"""An operator signs in by a code that is typed into a browser, on this machine or any other.

Source: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-device-code
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msal
from pydantic import SecretStr

from aquila_mde.defender.auth import Transport
from aquila_mde.defender.clouds import Cloud
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.defender.transport import host_of, unreachable
from aquila_mde.errors import without_secrets

PUBLIC_CLIENT = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
"""Microsoft Graph Command Line Tools: Microsoft's own application for tools such as this one."""
ANY_TENANT = "organizations"
"""The tenant that the operator's account belongs to."""
_BREAKS = 5
"""How many answers in a row may be missing while we wait for the code to be typed."""


@dataclass(frozen=True)
class DeviceCode:
    """What the operator is shown. The code is good for one sign-in, by whoever has the rights."""

    page: str
    code: str
    minutes: int


@dataclass(frozen=True)
class Operator:
    """Who has signed in, and the token for Microsoft Graph."""

    token: SecretStr
    tenant_id: str
    name: str


async def sign_in(
    cloud: Cloud,
    tenant: str,
    scopes: Iterable[str],
    show: Callable[[DeviceCode], None],
    *,
    ca_file: Path | None = None,
) -> Operator:
    """Sign somebody in who may do what ``scopes``, names of Graph's permissions, say.

    ``show`` is called once with what has to be typed. Raises :class:`SignInError` when the sign-in
    is declined, refused or not done in time, :class:`DefenderUnavailableError` when the sign-in
    service cannot be reached.
    """
    flow: dict[str, Any] = {}
    flight = _Flight(cloud, tenant, ca_file)
    try:
        flow = await asyncio.to_thread(
            flight.begin, [f"{cloud.graph_resource}/{scope}" for scope in scopes]
        )
        show(DeviceCode(flow["verification_uri"], flow["user_code"], flow["expires_in"] // 60))
        return await asyncio.to_thread(flight.wait, flow)
    finally:
        # The thread goes on asking otherwise, also when this was cancelled.
        flow["expires_at"] = 0


class _Flight:
    """One sign-in; msal is synchronous, so this lives in a thread."""

    def __init__(self, cloud: Cloud, tenant: str, ca_file: Path | None) -> None:
        self._host = host_of(cloud.sign_in)
        self._authority = f"{cloud.sign_in}/{tenant}"
        self._transport = Transport(ca_file)
        self._application: Any = None
        self._http_cache: dict[str, Any] = {}

    def begin(self, scopes: list[str]) -> dict[str, Any]:
        flow = self._ask(lambda: self._start(scopes))
        if "user_code" not in flow:
            raise self._refused(flow)
        return flow

    def wait(self, flow: dict[str, Any]) -> Operator:
        breaks = 0
        while True:
            try:
                answer = self._ask(lambda: self._application.acquire_token_by_device_flow(flow))
                break
            except DefenderUnavailableError:
                breaks += 1
                if breaks > _BREAKS or flow["expires_at"] < time.time():
                    raise
                time.sleep(flow["interval"])
        if "access_token" not in answer:
            raise self._refused(answer)
        claims = answer.get("id_token_claims") or {}
        tenant_id = claims.get("tid")
        if not isinstance(tenant_id, str):
            raise SignInError(f"{self._host} does not say of which tenant the operator is.")
        return Operator(
            SecretStr(answer["access_token"]), tenant_id, str(claims.get("preferred_username", ""))
        )

    def _start(self, scopes: list[str]) -> Any:
        self._application = msal.PublicClientApplication(
            PUBLIC_CLIENT,
            authority=self._authority,
            # As for the application itself: the host may be one's own choice.
            instance_discovery=False,
            http_client=self._transport,
            http_cache=self._http_cache,
        )
        return self._application.initiate_device_flow(scopes)

    def _ask(self, call: Callable[[], Any]) -> dict[str, Any]:
        self._transport.answer = None
        # msal remembers failed answers for a minute, and hands them out again.
        self._http_cache.clear()
        try:
            answer = call()
        # msal raises whatever reading an unexpected answer leads to, as different types.
        except Exception as error:
            last = self._transport.answer
            if last is not None and last.status_code >= 500:
                raise DefenderUnavailableError(
                    f"{self._host} cannot sign in anybody at the moment (HTTP {last.status_code})"
                ) from None
            if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
                raise unreachable(error, self._host) from None
            if last is not None and last.status_code == 400:
                raise self._refused(_body(last)) from None
            raise DefenderUnavailableError(
                f"{self._host} did not answer the sign-in as expected ({type(error).__name__})",
                hint="Check tenant.id, tenant.cloud and tenant.sign_in_url; a proxy may stand in "
                "between.",
            ) from None
        return answer if isinstance(answer, dict) else {}

    def _refused(self, answer: dict[str, Any]) -> SignInError:
        error = str(answer.get("error") or "no reason")
        codes = answer.get("error_codes") or [0]
        code = codes[0] if isinstance(codes[0], int) else 0
        meaning, hint = _BY_CODE.get(code) or _BY_ERROR.get(error) or ("", "")
        if not meaning:
            described = without_secrets(str(answer.get("error_description") or error))
            meaning = described.splitlines()[0].partition(" Trace ID")[0][:300].rstrip(".")
            hint = "Run the command again."
        number = f" (AADSTS{code})" if code else ""
        trace = answer.get("trace_id")
        return SignInError(
            f"Nobody was signed in: {meaning}{number}",
            code=code,
            hint=hint,
            request_id=str(trace) if trace else None,
        )


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


_LATE = ("the code was not used in time", "Run the command again; it shows a new code.")
_DECLINED = (
    "the sign-in was declined in the browser",
    "Run the command again and accept; nothing was changed so far.",
)
_APPROVAL = (
    "the tenant does not let this account use Microsoft Graph Command Line Tools for this",
    "An administrator must sign in here, or grant that application the permissions once. The "
    "manual way in docs/onboarding.md does without it.",
)
_BY_ERROR = {
    "authorization_declined": _DECLINED,
    "access_denied": _DECLINED,
    # msal stops asking when the time is over, and hands out the last answer.
    "authorization_pending": _LATE,
    "slow_down": _LATE,
    "expired_token": _LATE,
    "code_expired": _LATE,
}
_BY_CODE = {
    65001: _APPROVAL,
    65004: _DECLINED,
    90094: _APPROVAL,
    53003: (
        "a Conditional Access policy blocks it",
        "Many tenants block the device code flow: ask for an exception for this sign-in, or take "
        "the manual way in docs/onboarding.md.",
    ),
    90002: (
        "there is no such tenant",
        "Check --tenant and --cloud: the tenant's GUID or one of its domains.",
    ),
    50059: (
        "the tenant could not be told from the account",
        "Name it: --tenant with the tenant's GUID or one of its domains.",
    ),
}

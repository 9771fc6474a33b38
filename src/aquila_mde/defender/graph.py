"""Calls to Microsoft Graph v1.0 in the name of the operator who has signed in.

Source: https://learn.microsoft.com/en-us/graph/errors and
https://learn.microsoft.com/en-us/graph/throttling
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
import msgspec
import stamina
from pydantic import SecretStr

from aquila_mde.defender.answers import is_json, retry_after
from aquila_mde.defender.client import RetryPolicy
from aquila_mde.defender.clouds import Cloud
from aquila_mde.defender.connections import http_client
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    SignInError,
)
from aquila_mde.defender.transport import host_of, unreachable
from aquila_mde.errors import AquilaError, RetriableError, without_secrets

_FIRST_WAIT = 1.0
_LONGEST_MESSAGE = 300
_VERSION = "/v1.0"


class UnchangedError(DefenderUnavailableError):
    """Graph did not do it this time, and it is certain that it changed nothing."""


class Graph:
    """Microsoft Graph, for as long as the operator's token lives (about an hour)."""

    def __init__(
        self,
        token: SecretStr,
        cloud: Cloud,
        *,
        ca_file: Path | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._token = token
        self._base = cloud.graph + _VERSION
        self._host = host_of(cloud.graph)
        self.retry = retry or RetryPolicy(attempts=8, total_seconds=180, longest_wait=60)
        self._http = http_client(ca_file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One object. Raises :class:`NotFoundError` when it is not there, or not visible yet."""
        return await self._call("GET", self._url(path, params))

    async def items(
        self, path: str, params: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Every object of a collection, page by page."""
        found: list[dict[str, Any]] = []
        link: str | None = self._url(path, params)
        while link:
            # The token goes nowhere else, whatever an answer says.
            if not link.startswith(f"{self._base}/"):
                raise BadRequestError(
                    f"{self._host} names {host_of(link)} for the next page; the token was not "
                    "sent there.",
                    code="ForeignLink",
                    hint="Check tenant.cloud and tenant.graph_url.",
                )
            page = await self._call("GET", link)
            found += page.get("value") or []
            link = page.get("@odata.nextLink")
        return found

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create something. It is repeated only where it is certain that nothing was created."""
        return await self._call("POST", self._url(path), body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Replace the properties that ``body`` names."""
        await self._call("PATCH", self._url(path), body)

    async def delete(self, path: str) -> None:
        """Remove something; what is not there any more is removed."""
        try:
            await self._call("DELETE", self._url(path))
        except NotFoundError:
            return

    def _url(self, path: str, params: Mapping[str, str] | None = None) -> str:
        return self._base + path + (f"?{urlencode(params, quote_via=quote)}" if params else "")

    async def _call(
        self, method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        def next_wait(error: Exception) -> bool | float:
            repeatable = method != "POST" or isinstance(error, UnchangedError)
            if not isinstance(error, RetriableError) or not repeatable:
                return False
            if error.wait is None:
                return True
            return min(error.wait, self.retry.longest_wait) if self.retry.wait else 0.0

        wait = self.retry.wait
        async for attempt in stamina.retry_context(
            on=next_wait,
            attempts=self.retry.attempts,
            timeout=self.retry.total_seconds,
            wait_initial=_FIRST_WAIT if wait else 0,
            wait_max=self.retry.longest_wait if wait else 0,
            wait_jitter=_FIRST_WAIT if wait else 0,
        ):
            with attempt:
                return await self._ask(method, url, body)
        raise AssertionError("stamina returns or raises")  # pragma: no cover

    async def _ask(self, method: str, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(self.retry.total_seconds):
                answer = await self._http.request(method, url, headers=headers, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            said = unreachable(error, self._host)
            raise UnchangedError(said.message, hint=said.hint) from None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _unsure(unreachable(error, self._host), method) from None
        if answer.status_code == 204:
            return {}
        if answer.is_success and is_json(answer):
            try:
                return msgspec.json.decode(answer.content, type=dict[str, Any])
            except msgspec.DecodeError:
                pass
        failed = _error_for(answer, self._host)
        if isinstance(failed, UnchangedError):
            failed.wait = retry_after(answer)
        elif isinstance(failed, DefenderUnavailableError):
            failed.wait = retry_after(answer)
            failed = _unsure(failed, method)
        raise failed


def _unsure(error: DefenderUnavailableError, method: str) -> DefenderUnavailableError:
    if method == "POST":
        error.hint = (
            "It is not known whether Graph has done it all the same. Run the command again: it "
            "looks at what is there first."
        )
    return error


class _Reason(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Reason


_NO_RIGHTS = (
    "Sign in as somebody who may register applications (Cloud Application Administrator or "
    "Application Administrator) or, to grant admin consent too, as Privileged Role Administrator "
    "or Global Administrator. The role must be active (Privileged Identity Management)."
)


def _error_for(answer: httpx.Response, host: str) -> AquilaError:
    status = answer.status_code
    try:
        reason = msgspec.json.decode(answer.content, type=_ErrorBody).error
    except msgspec.DecodeError:
        reason = _Reason()
    code = reason.code or f"HTTP {status}"
    message = without_secrets(reason.message or "")[:_LONGEST_MESSAGE].rstrip(".")
    said = f": {message}" if message else ""
    request_id = answer.headers.get("request-id")
    if status == 429:
        return UnchangedError(f"{host} asks to slow down (HTTP 429){said}", request_id=request_id)
    if status < 400 or status >= 500 or status in {408, 423}:
        what = f"answers {code}{said}" if reason.code else f"did not answer in JSON (HTTP {status})"
        return DefenderUnavailableError(
            f"{host} {what}",
            hint="" if reason.code else "A proxy or a page of the network may stand in between.",
            request_id=request_id,
        )
    if status == 401:
        return SignInError(
            f"{host} does not take the operator's token any more ({code})",
            hint="Sign-ins last about an hour: run the command again, it goes on where it was. "
            "If it comes at once, check tenant.cloud and tenant.graph_url.",
            request_id=request_id,
        )
    if status == 403:
        return PermissionDeniedError(
            f"{host} does not let the one who signed in do this ({code}){said}",
            code=code,
            hint=_NO_RIGHTS,
            request_id=request_id,
        )
    if status == 404:
        return NotFoundError(
            f"{host} does not have the object ({code}){said}",
            hint="It may have been removed meanwhile: run the command again.",
            request_id=request_id,
        )
    return BadRequestError(
        f"{host} refuses the call ({code}){said}", code=code, request_id=request_id
    )

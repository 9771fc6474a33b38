"""Calls to the Defender API: token, quota, bounded retries, and errors that say what to do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

import httpx
import stamina

from aquila_mde.defender.answers import error_for, is_json, retry_after
from aquila_mde.defender.auth import Token, TokenSource
from aquila_mde.defender.clouds import Cloud
from aquila_mde.defender.connections import http_client
from aquila_mde.defender.errors import (
    DefenderUnavailableError,
    ExpandFailedError,
    FileUnavailableError,
    ForeignLinkError,
    HeavyQueryError,
)
from aquila_mde.defender.limits import Budget
from aquila_mde.defender.page_limit import PageLimit
from aquila_mde.defender.times import Ticks, ticks_of_http_date
from aquila_mde.defender.transport import host_of, unreachable
from aquila_mde.errors import AquilaError, RetriableError

_FIRST_WAIT = 1.0
_EXPAND_TRIES = 3
"""Attempts after which a 500 is taken to be for ever, where that is known to happen."""
_QUERY_SECONDS = 240.0
"""A hunting query may take 200 seconds."""
_FOR_EVER = (ExpandFailedError, HeavyQueryError)
"""Errors that another try does not help against."""
_SMALL = 256 << 10
"""Bytes of an answer up to which it needs no room."""
_FILE_ENCODING = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call is repeated; times in seconds."""

    attempts: int = 6
    total_seconds: float = 300
    """After this no further attempt is begun; one attempt may not take longer either."""
    longest_wait: float = 120
    wait: bool = True
    """Off: as many attempts, no waiting, no quota. For tests."""


@dataclass(frozen=True)
class Answer:
    """One answer of the API, decompressed."""

    status: int
    body: bytes
    """Empty when ``status`` was one of those that mean "nothing there"."""
    server_time: Ticks | None
    """The service's own clock (``Date``), to the second."""
    request_id: str | None
    retires: str | None = None
    """When the endpoint is taken away (``Sunset``, RFC 8594), where the service says so."""


class Room(Protocol):
    """Room for what is large: answers and files that are read at the same time by many tenants."""

    async def enter(self) -> None:
        """Wait for room for this task, unless it has it."""
        ...

    def leave(self) -> None:
        """Let go of the room that this task has, if it has any."""
        ...

    @property
    def taken(self) -> bool:
        """Whether this task has room."""
        ...


Judge = Callable[[int, AquilaError], AquilaError | None]
"""Says what a status and the error that it would become mean to who has asked."""


@dataclass(frozen=True)
class _Call:
    """What is asked, and what the answers mean."""

    path_or_link: str
    stream: str
    params: dict[str, str] | None = None
    body: bytes | None = None
    """JSON that is posted; none: a GET."""
    empty_on: tuple[int, ...] = ()
    may_fail: bool = False
    judge: Judge | None = None


class DefenderClient:
    """One tenant's Defender API. Safe for concurrent use; connections are kept open."""

    def __init__(
        self,
        tokens: TokenSource,
        cloud: Cloud,
        *,
        tenant_label: str,
        ca_file: Path | None = None,
        retry: RetryPolicy | None = None,
        room: Room | None = None,
    ) -> None:
        """``room`` is asked for what is large, where memory is shared with other tenants."""
        self.tokens = tokens
        self._cloud = cloud
        self._tenant = tenant_label
        self.retry = retry or RetryPolicy()
        self._budgets: dict[str, Budget] = {}
        self._calls: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._page_limits: defaultdict[tuple[str, ...], PageLimit] = defaultdict(PageLimit)
        self._http = http_client(ca_file, sparing=room is not None)
        self._room = room

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def calls(self, stream: str) -> int:
        """Requests sent to the API for ``stream`` so far, repeated ones included."""
        return self._calls[stream]

    def retries(self, stream: str) -> int:
        """How many of these were made because the one before failed."""
        return self._retries[stream]

    def quota_left(self) -> dict[str, int]:
        """By path, the calls that are still within the quota of this hour."""
        return {path: budget.left() for path, budget in self._budgets.items()}

    def budget(self, path: str, per_minute: int, per_hour: int) -> None:
        """Declare the quota of the endpoint ``path``; declared again, the first one stays."""
        self._budgets.setdefault(path.lower(), Budget(per_minute, per_hour, wait=self.retry.wait))

    def page_limit(self, path: str, expand: tuple[str, ...] = ()) -> PageLimit:
        """What is known about the longest answer of ``path``, for as long as this client lives."""
        return self._page_limits[path.lower(), *expand]

    @property
    def holds_room(self) -> bool:
        """Whether the latest answer that this task got was so large that it needed room."""
        return self._room is not None and self._room.taken

    def leave_room(self) -> None:
        """Let another tenant have that room; also done when the next thing is asked for."""
        if self._room is not None:
            self._room.leave()

    async def get(
        self,
        path_or_link: str,
        params: dict[str, str] | None = None,
        *,
        stream: str,
        empty_on: tuple[int, ...] = (),
        may_fail: bool = False,
    ) -> Answer:
        """The answer to a GET of a path (``/api/alerts``) or of a paging link.

        Statuses in ``empty_on`` mean that there is nothing. Everything else that is not a JSON
        answer becomes an error: :class:`PermissionDeniedError`, :class:`BadRequestError`,
        :class:`NotFoundError`, :class:`ForeignLinkError`, :class:`SignInError` or, after the
        retries are used up, :class:`DefenderUnavailableError`.

        ``may_fail``: the call may be one that the service can never answer. A few 500 are then
        enough for an :class:`ExpandFailedError`.
        """
        return await self._answered(
            _Call(path_or_link, stream, params=params, empty_on=empty_on, may_fail=may_fail)
        )

    async def post(self, path: str, body: bytes, *, stream: str, judge: Judge) -> Answer:
        """The answer to a POST of JSON that changes nothing, so that it may be repeated.

        ``judge`` may know an error for what the service refuses; those of :meth:`get` are raised
        otherwise. An answer that does not come in time is shown to it as status 408.
        """
        return await self._answered(_Call(path, stream, body=body, judge=judge))

    async def _answered(self, call: _Call) -> Answer:
        # What is waited for may never come.
        self.leave_room()
        try:
            url = self._url(call.path_or_link, call.params)
            budget = self._budget_of(url)
            # Waiting for the quota is no attempt, so it does not use up the time for them.
            if budget is not None:
                await budget.take()
            wait = self.retry.wait
            async for attempt in stamina.retry_context(
                on=self._next_wait,
                attempts=self.retry.attempts,
                timeout=self.retry.total_seconds,
                wait_initial=_FIRST_WAIT if wait else 0,
                wait_max=self.retry.longest_wait if wait else 0,
                wait_jitter=_FIRST_WAIT if wait else 0,
            ):
                with attempt:
                    if attempt.num > 1:
                        self._retries[call.stream] += 1
                        if budget is not None:
                            await budget.take()
                    give_up = call.may_fail and attempt.num >= _EXPAND_TRIES
                    return await self._ask(url, budget, call, give_up=give_up)
            raise AssertionError("stamina returns or raises")  # pragma: no cover
        except AquilaError as error:
            error.stream = call.stream
            error.tenant = self._tenant
            raise

    @asynccontextmanager
    async def open_file(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of an export file as they come, from a link that carries its own key.

        No token is sent, and neither errors nor logs show the link. Raises
        :class:`FileUnavailableError`, also while the bytes are read.
        """
        host = host_of(url)
        self.leave_room()
        try:
            async with self._http.stream("GET", url, headers=_FILE_ENCODING) as response:
                if response.status_code != 200:
                    raise FileUnavailableError(
                        f"{host} does not hand out the file (HTTP {response.status_code})"
                    )
                if self._room is not None:
                    await self._room.enter()
                yield response.aiter_raw()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            reason = unreachable(error, host)
            raise FileUnavailableError(reason.message, hint=reason.hint) from None
        finally:
            self.leave_room()

    def _url(self, path_or_link: str, params: dict[str, str] | None) -> str:
        if path_or_link.startswith("/"):
            url = self._cloud.api + path_or_link
        elif self._cloud.owns(path_or_link):
            url = path_or_link
        else:
            raise ForeignLinkError(
                f"The answer names {host_of(path_or_link)} for its next page, "
                f"which is not a host of {host_of(self._cloud.api)}; the token was not "
                "sent there.",
                hint="Check tenant.cloud and tenant.api_url.",
            )
        return f"{url}?{urlencode(params, quote_via=quote)}" if params else url

    def _budget_of(self, url: str) -> Budget | None:
        base = urlsplit(self._cloud.api).path
        return self._budgets.get(urlsplit(url).path.removeprefix(base).lower())

    def _next_wait(self, error: Exception) -> bool | float:
        """Whether ``error`` is worth another attempt, and when: what stamina asks."""
        if not isinstance(error, RetriableError) or isinstance(error, _FOR_EVER):
            return False
        if error.wait is None:
            return True
        return min(error.wait, self.retry.longest_wait) if self.retry.wait else 0.0

    async def _ask(self, url: str, budget: Budget | None, call: _Call, *, give_up: bool) -> Answer:
        token = await self.tokens.token()
        response = await self._send(url, token, call)
        if response.status_code == 401:
            self.tokens.invalidate(token)
            response = await self._send(url, await self.tokens.token(), call)
        status = response.status_code
        if status in call.empty_on:
            return _answer(response, b"")
        if status == 200 and is_json(response):
            return _answer(response, response.content)
        error = error_for(response, host_of(url))
        if call.judge is not None:
            error = call.judge(status, error) or error
        if give_up and status == 500:
            raise ExpandFailedError(str(error))
        if isinstance(error, DefenderUnavailableError):
            error.wait = retry_after(response)
            if budget is not None and status == 429 and error.wait:
                budget.rest(min(error.wait, self.retry.longest_wait))
        raise error

    async def _send(self, url: str, token: Token, call: _Call) -> httpx.Response:
        self._calls[call.stream] += 1
        headers = {"Authorization": f"Bearer {token.value.get_secret_value()}"}
        try:
            async with asyncio.timeout(self.retry.total_seconds) as limit:
                if call.body is None:
                    request = self._http.build_request("GET", url, headers=headers)
                else:
                    headers["Content-Type"] = "application/json"
                    request = self._http.build_request(
                        "POST", url, content=call.body, headers=headers, timeout=_QUERY_SECONDS
                    )
                if self._room is None:
                    return await self._http.send(request)
                return await self._read(await self._http.send(request, stream=True), limit)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            problem: AquilaError = unreachable(error, host_of(url))
            if call.judge is not None and isinstance(error, (httpx.ReadTimeout, TimeoutError)):
                problem = call.judge(408, problem) or problem
            raise problem from None

    async def _read(self, response: httpx.Response, limit: asyncio.Timeout) -> httpx.Response:
        """``response`` with its body, of which the greater part is read when there is room.

        Waiting for that does not count against ``limit``: it is not the service that is slow.
        """
        parts, size = [], 0
        try:
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _SMALL and not self.holds_room and self._room is not None:
                    asked, until = time.monotonic(), limit.when()
                    limit.reschedule(None)
                    await self._room.enter()
                    limit.reschedule(until and until + time.monotonic() - asked)
        finally:
            await response.aclose()
        # It is unpacked already.
        kept = [(k, v) for k, v in response.headers.raw if k.lower() not in _OF_THE_BODY]
        return httpx.Response(
            response.status_code,
            headers=kept,
            content=b"".join(parts),
            extensions={"reason_phrase": response.reason_phrase.encode(errors="replace")},
        )


_OF_THE_BODY = (b"content-encoding", b"content-length", b"transfer-encoding")


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(
        status=response.status_code,
        body=body,
        server_time=ticks_of_http_date(response.headers.get("Date")),
        request_id=response.headers.get("x-ms-request-id") or response.headers.get("request-id"),
        retires=response.headers.get("Sunset"),
    )

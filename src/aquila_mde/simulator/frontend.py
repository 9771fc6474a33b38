"""What stands before every answer: its id and date, the log of requests, and the faults."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal
from uuid import uuid4

import msgspec
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aquila_mde.simulator.api import STORAGE, problem, storage_problem
from aquila_mde.simulator.clock import Clock, format_time
from aquila_mde.simulator.faults import Fault, FaultPlayer

CONTROL = "/_control"
_KEPT = 50_000
_PROXY_PAGE = (
    "<html><head><title>Sign in</title></head>"
    "<body><h1>Web gateway</h1><p>Please sign in to continue.</p></body></html>"
)


class LoggedRequest(msgspec.Struct):
    """One request that was answered, or was not."""

    at: str
    """The tenant's time."""
    kind: Literal["token", "file", "api"]
    method: str
    path: str
    query: str
    """As sent; empty for export files, whose query is a key."""
    request_id: str
    user_agent: str
    status: int = 0
    """0 until an answer is begun."""
    fault: str | None = None


class RequestLog:
    """The latest requests, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_KEPT)

    def add(self, request: LoggedRequest) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append(request)

    def all(self) -> list[LoggedRequest]:
        """What is remembered."""
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._requests.clear()


class Frontend:
    """The outermost ASGI application."""

    def __init__(
        self, app: ASGIApp, clock: Clock, faults: FaultPlayer, requests: RequestLog
    ) -> None:
        self._app = app
        self._clock = clock
        self._faults = faults
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        request_id = str(uuid4())
        scope["state"]["request_id"] = request_id
        headers = {
            "date": self._clock.http_date(),
            "request-id": request_id,
            "x-ms-request-id": request_id,
        }
        if path.startswith(CONTROL):
            await self._app(scope, receive, _with_headers(send, headers, lambda _: None))
            return
        kind = _kind(path)
        entry = LoggedRequest(
            format_time(self._clock.now()),
            kind,
            scope["method"],
            path,
            "" if kind == "file" else scope["query_string"].decode("latin-1"),
            request_id,
            dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1"),
        )
        self._requests.add(entry)

        def begun(status: int) -> None:
            entry.status = status

        send = _with_headers(send, headers, begun)
        fault = self._faults.take(path, kind)
        if fault is None:
            await self._app(scope, receive, send)
            return
        entry.fault = fault.what
        if fault.what in ("status", "html", "empty"):
            await _instead(fault, kind, request_id)(scope, receive, send)
            return
        await _spoil(fault, await _answer_of(self._app, scope, receive), scope, receive, send)


def _kind(path: str) -> Literal["token", "file", "api"]:
    if path.endswith("/oauth2/v2.0/token"):
        return "token"
    return "file" if path.startswith(STORAGE) else "api"


def _with_headers(send: Send, headers: dict[str, str], begun: Callable[[int], None]) -> Send:
    added = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((name, value) for name, value in added if name not in given),
            ]
            begun(message["status"])
        await send(message)

    return with_headers


def _instead(fault: Fault, kind: str, request_id: str) -> Response:
    if fault.what == "html":
        return HTMLResponse(_PROXY_PAGE)
    if fault.what == "empty":
        return Response(b"", 200, media_type="application/json")
    if fault.body is not None:
        answer = Response(fault.body, fault.status)
    elif kind == "file":
        answer = storage_problem("expired")
        answer.status_code = fault.status
    elif kind == "token":
        content = msgspec.json.encode({"error": "temporarily_unavailable", "error_codes": [90033]})
        answer = Response(content, fault.status, media_type="application/json")
    else:
        answer = problem(fault.status, _CODES.get(fault.status, "BadRequest"), "", request_id)
    for name, value in fault.headers.items():
        answer.headers[name] = value
    return answer


_CODES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "InternalServerError",
    503: "InternalServerError",
    504: "InternalServerError",
}


async def _answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    start: Message = {}
    body = bytearray()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, collect)
    return start, bytes(body)


async def _spoil(
    fault: Fault, answer: tuple[Message, bytes], scope: Scope, receive: Receive, send: Send
) -> None:
    start, body = answer
    half = body[: len(body) // 2]
    if fault.what == "truncated":
        start["headers"] = [
            (name, str(len(half)).encode() if name == b"content-length" else value)
            for name, value in start["headers"]
        ]
        await send(start)
        await send({"type": "http.response.body", "body": half})
        return
    await send(start)
    await send({"type": "http.response.body", "body": half, "more_body": True})
    if fault.what == "slow":
        with contextlib.suppress(TimeoutError):
            # Whoever hangs up need not be waited for.
            async with asyncio.timeout(fault.seconds):
                await _gone(receive)
        await send({"type": "http.response.body", "body": body[len(half) :]})
        return
    transport: Any = scope["state"]["transport"]
    if fault.what == "reset":
        transport.abort()
    else:
        transport.close()
    await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

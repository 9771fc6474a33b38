"""A small HTTP/1.1 server that costs next to nothing, so that it never is what is measured."""

from __future__ import annotations

import asyncio
import gzip
import signal
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

_BUFFER = 1 << 20
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked; of a bulk request the body is not kept, only its lines are counted."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    size: int
    lines: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: str = ""
    """Further header lines, each with its line end."""


Handler = Callable[[Request], Response]


class _Connection(asyncio.BufferedProtocol):
    """One connection; a request with a body is answered when all of it has come."""

    def __init__(self, handler: Handler, keep: bool) -> None:
        self._handler = handler
        self._keep = keep
        self._buffer = bytearray(_BUFFER)
        self._head = b""
        self._request: tuple[str, str, dict[str, str]] | None = None
        self._left = self._size = self._lines = 0
        self._body: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        start = 0
        while start < nbytes:
            start = self._body_part(start, nbytes) if self._request else self._begin(start, nbytes)

    def _begin(self, start: int, end: int) -> int:
        head = self._head + self._buffer[start:end]
        stop = head.find(b"\r\n\r\n")
        if stop < 0:
            self._head = head
            return end
        taken = stop + 4 - len(self._head)
        self._head = b""
        first, *lines = head[:stop].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self._request = (method, target, headers)
        self._size = self._left = int(headers.get("content-length", 0))
        self._lines = 0
        packed = "content-encoding" in headers
        counted = not (self._keep or packed) and target.partition("?")[0].endswith("_bulk")
        self._body = None if counted else []
        if headers.get("expect"):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._left:
            self._answer()
        return start + taken

    def _body_part(self, start: int, end: int) -> int:
        stop = min(end, start + self._left)
        self._lines += self._buffer.count(b"\n", start, stop)
        if self._body is not None:
            self._body.append(bytes(self._buffer[start:stop]))
        self._left -= stop - start
        if not self._left:
            self._answer()
        return stop

    def _answer(self) -> None:
        assert self._request is not None
        method, target, headers = self._request
        self._request = None
        body = b"".join(self._body or ())
        if "content-encoding" in headers:
            body = gzip.decompress(body)
            self._lines = body.count(b"\n")
        answer = self._handler(Request(method, target, headers, body, self._size, self._lines))
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
            f"content-type: {answer.kind}\r\ncontent-length: {len(answer.body)}\r\n"
            f"{answer.headers}\r\n"
        )
        self._transport.write(head.encode())
        if method != "HEAD":
            self._transport.write(answer.body)


def serve(
    handler: Handler,
    announce: dict[str, object],
    tls: ssl.SSLContext | None = None,
    *,
    keep: bool = False,
) -> None:
    """Answer until SIGTERM; one line of JSON on standard output says on which port.

    ``keep`` hands over the bodies of bulk requests, too.
    """
    asyncio.run(_serve(handler, announce, tls, keep))


async def _serve(
    handler: Handler, announce: dict[str, object], tls: ssl.SSLContext | None, keep: bool
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: _Connection(handler, keep), "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(msgspec.json.encode({"port": port, **announce}).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()

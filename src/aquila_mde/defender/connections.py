"""The connections to Microsoft: httpx above, aiohttp below, which takes answers apart in C.

httpx's own transport does that in Python, and an answer has megabytes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.request import getproxies

import aiohttp
import httpx
import yarl
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from aquila_mde.defender.transport import HEADERS, timeouts, tls_context

_BUFFER, _SMALL_BUFFER = 256 << 10, 32 << 10
"""Bytes of an answer that may wait to be read; after twice as many no more are taken in."""
_SENT_BY_HTTPX = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def http_client(ca_file: Path | None, *, sparing: bool = False) -> httpx.AsyncClient:
    """A client that trusts what :func:`tls_context` says and keeps connections open.

    A ``sparing`` one is one of many, and buffers less.

    Where the environment names a proxy it is httpx's own transport that finds the way, as it does
    when a token is asked for.
    """
    tls = tls_context(ca_file)
    proxied = not getproxies().keys().isdisjoint(("http", "https", "all"))
    return httpx.AsyncClient(
        transport=None
        if proxied
        else AiohttpTransport(tls, buffer=_SMALL_BUFFER if sparing else _BUFFER),
        verify=tls,
        timeout=timeouts(),
        headers=HEADERS,
    )


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Does what :class:`httpx.AsyncHTTPTransport` does, with the same errors.

    No text of an error holds the URL, since it may be a secret.
    """

    def __init__(self, tls: ssl.SSLContext, *, buffer: int = _BUFFER) -> None:
        self._tls = tls
        self._buffer = buffer
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer to ``request``, whose body is read as it comes, without decompression."""
        content = await request.aread()
        limits = request.extensions.get("timeout", {})
        url = request.url
        with _errors_of_httpx():
            answer = await self._opened().request(
                request.method,
                # As it is: whoever made a link may have encoded it in another way.
                yarl.URL(
                    f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode()}", encoded=True
                ),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                skip_auto_headers=_SENT_BY_HTTPX,
                data=content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=limits.get("connect"), sock_read=limits.get("read")
                ),
            )
        return httpx.Response(
            answer.status,
            headers=list(answer.raw_headers),
            stream=_Body(answer),
            extensions={"reason_phrase": (answer.reason or "").encode(errors="replace")},
        )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        # Not before the first request, since it belongs to the event loop that it is made in.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # How many calls there are at once is bounded above.
                connector=_Connector(ssl=self._tls, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=self._buffer,
                middlewares=(_once,),
            )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Has closed every connection when it is closed; aiohttp forgets those that it gives up."""

    def __init__(self, *, ssl: ssl.SSLContext, limit: int) -> None:
        super().__init__(ssl=ssl, limit=limit)
        self._open: dict[asyncio.Transport, asyncio.Future[None]] = {}

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - what aiohttp calls it
    ) -> Connection:
        """A connection for ``req``."""
        connection = await super().connect(req, traces, timeout)
        transport, protocol = connection.transport, connection.protocol
        if transport is not None and protocol is not None and transport not in self._open:
            ended = protocol.closed
            if ended is not None:
                self._open[transport] = ended
                ended.add_done_callback(partial(self._ended, transport))
        return connection

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close every connection."""
        await super().close(abort_ssl=abort_ssl)
        if self._open:
            for transport in self._open:
                _abort(transport)
            await asyncio.wait(self._open.values())

    def _ended(self, transport: asyncio.Transport, ended: asyncio.Future[None]) -> None:
        del self._open[transport]
        # Whoever uses the connection has been told; asyncio complains unless somebody looks.
        ended.exception()


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send ``request`` once: aiohttp would repeat it unasked, and nobody would count that."""
    with _errors_of_httpx():
        return await send(request)


class _Body(httpx.AsyncByteStream):
    """What comes behind the headers of an answer."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._answer.content.iter_any():
                yield part

    async def aclose(self) -> None:
        connection = self._answer.connection
        transport = connection.transport if connection is not None else None
        self._answer.close()
        if transport is not None:
            # Part of the answer is still to come, so there is no use in saying goodbye.
            _abort(transport)


def _abort(transport: asyncio.Transport) -> None:
    # A connection that was closed twice has nothing left to abort, and Python 3.11.2 says so by
    # an AttributeError.
    with suppress(AttributeError):
        transport.abort()


_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
)
"""Which error of httpx one of aiohttp is; the first that fits."""


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        # What is left are answers that are none, or end too early.
        kind = next((kind for own, kind in _ERRORS if isinstance(error, own)), None)
        raise (kind or httpx.RemoteProtocolError)(type(error).__name__) from _cause(error)


def _cause(error: Exception) -> Exception:
    """What aiohttp has wrapped, in classes that are errors of TLS without what those say."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error

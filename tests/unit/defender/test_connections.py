"""How connections are made, broken and closed, against servers that speak TLS on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import trustme

from aquila_mde.defender.connections import http_client

SECRET = "S3CR3T"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads the head of each request and then does what the test says."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.heads: list[bytes] = []
        self.ended = asyncio.Event()
        """Somebody who was talked to has gone."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            self.ended.set()


class Loopback:
    """Starts servers, and clients that trust them."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.tls)

    @asynccontextmanager
    async def server(
        self, talk: Talk, *, plain: bool = False
    ) -> AsyncIterator[tuple[Server, httpx.URL]]:
        server = Server(talk)
        tls = None if plain else self.tls
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        async with listening:
            yield server, httpx.URL(f"https://127.0.0.1:{port}/part-0.gz?sig={SECRET}")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        client = http_client(self.ca_file)
        yield client
        await client.aclose()


@pytest.fixture
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return Loopback(tmp_path)


def says(answer: bytes) -> Talk:
    """Sends ``answer`` and waits for the next request."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return talk


def says_and_goes(answer: bytes, *, reset: bool = False) -> Talk:
    """Sends ``answer`` and ends the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if reset:
            writer.transport.abort()
        else:
            writer.close()
            await writer.wait_closed()

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        says_and_goes(b""),
        says_and_goes(b"", reset=True),
        says_and_goes(b"HTTP/1.1 200 OK\r\nContent-Le"),
        says_and_goes(b"220 mail.example ready\r\n\r\n"),
        says_and_goes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
        says_and_goes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        says_and_goes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n"),
    ],
    ids=["gone", "reset", "half a head", "no HTTP", "short", "no last chunk", "no chunk"],
)
async def test_an_answer_that_breaks_off_is_an_error_of_httpx(
    loopback: Loopback, talk: Talk
) -> None:
    async with loopback.server(talk) as (server, url), loopback.client() as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as caught:
            await client.get(url)
        assert SECRET not in str(caught.value)
        # Each call is counted against a quota, so none is repeated where nobody sees it.
        assert len(server.heads) == 1


async def test_a_call_on_a_kept_connection_that_breaks_is_not_repeated(loopback: Loopback) -> None:
    answers = [
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        says_and_goes(b"", reset=True),
    ]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(reader, writer)

    async with loopback.server(talk) as (server, url), loopback.client() as client:
        assert (await client.get(url)).content == b"ok"
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.get(url)
        assert len(server.heads) == 2


async def test_a_request_arrives_as_it_was_made(loopback: Loopback) -> None:
    bodies = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(4))
        await says(b"HTTP/1.1 204 No Content\r\n\r\n")(reader, writer)

    async with loopback.server(talk) as (server, url), loopback.client() as client:
        link = f"https://u:p@{url.netloc.decode()}/a%2Fb%7e/%C3%A4?$x=a%20b%2bc&sig=%3d"
        answer = await client.post(link, content=b"body", headers={"X-Own": "1"})
    assert (answer.status_code, answer.reason_phrase) == (204, "No Content")
    assert bodies == [b"body"]
    line, *rest = server.heads[0].decode().split("\r\n")
    assert line == "POST /a%2Fb%7e/%C3%A4?$x=a%20b%2bc&sig=%3d HTTP/1.1"
    headers = [each.partition(":")[0].lower() for each in rest if each]
    # Each of them once, and none that httpx knows nothing of.
    assert sorted(headers) == sorted(each.lower() for each in answer.request.headers)
    assert "x-own" in headers


async def test_a_body_is_only_decompressed_where_it_is_asked_for(loopback: Loopback) -> None:
    packed = gzip.compress(b"content")
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with (
        loopback.server(says(head.encode() + packed)) as (_, url),
        loopback.client() as client,
    ):
        assert (await client.get(url)).content == b"content"
        async with client.stream("GET", url) as answer:
            assert b"".join([part async for part in answer.aiter_raw()]) == packed


async def test_a_redirect_is_an_answer(loopback: Loopback) -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with loopback.server(says(away)) as (server, url), loopback.client() as client:
        assert (await client.get(url)).headers["Location"] == "/elsewhere"
        assert len(server.heads) == 1


async def _wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)


async def test_silence_is_a_timeout(loopback: Loopback) -> None:
    async with loopback.server(_wait) as (_, url), loopback.client() as client:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await client.get(url, timeout=0.2)
        assert SECRET not in str(caught.value)


async def test_silence_within_a_body_is_a_timeout(loopback: Loopback) -> None:
    begun = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
    async with loopback.server(begun) as (_, url), loopback.client() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, timeout=0.2)


async def test_a_host_that_never_says_hello_is_a_timeout_of_connecting(loopback: Loopback) -> None:
    async with loopback.server(_wait, plain=True) as (_, url), loopback.client() as client:
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await client.get(url, timeout=httpx.Timeout(30, connect=0.2))
        assert SECRET not in str(caught.value)


async def test_nothing_but_http_is_spoken(loopback: Loopback) -> None:
    async with loopback.client() as client:
        for link in (f"ftp://127.0.0.1/?sig={SECRET}", f"https:///?sig={SECRET}"):
            with pytest.raises(httpx.UnsupportedProtocol) as caught:
                await client.get(link)
            assert SECRET not in str(caught.value)


def _open_to(url: httpx.URL) -> int:
    """How many connections of this process lead there."""
    connections = psutil.Process().net_connections("tcp")
    return sum(1 for each in connections if each.raddr and each.raddr.port == url.port)


async def test_what_is_left_in_the_middle_is_closed(loopback: Loopback) -> None:
    begun = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
    async with loopback.server(begun) as (server, url), loopback.client() as client:
        async with client.stream("GET", url) as answer:
            assert answer.status_code == 200
            assert _open_to(url) == 1
        await server.ended.wait()


async def test_no_connection_is_open_when_the_client_is_closed(loopback: Loopback) -> None:
    answers = [says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), _wait, _wait]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(reader, writer)

    async with loopback.server(talk) as (server, url):
        async with loopback.client() as client:
            await client.get(url)
            with pytest.raises(httpx.ReadTimeout):
                await client.get(url, timeout=0.2)
            call = asyncio.create_task(client.get(url))
            while len(server.heads) < 3:
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        # Nothing is left to later turns of the event loop: there may be none.
        assert _open_to(url) == 0


@pytest.mark.parametrize(
    ("variable", "bypass", "used"),
    [
        ("HTTPS_PROXY", "", True),
        ("https_proxy", "", True),
        ("ALL_PROXY", "", True),
        ("HTTPS_PROXY", "other.example,127.0.0.1", False),
    ],
)
async def test_the_proxy_of_the_environment_is_used(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, variable: str, bypass: str, used: bool
) -> None:
    answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with (
        loopback.server(answer) as (server, url),
        loopback.server(tunnel, plain=True) as (
            proxy,
            at,
        ),
    ):
        monkeypatch.setenv(variable, f"http://user:word@127.0.0.1:{at.port}")
        monkeypatch.setenv("NO_PROXY", bypass)
        async with loopback.client() as client:
            if not used:
                assert (await client.get(url)).content == b"ok"
                assert proxy.heads == []
                return
            with pytest.raises(httpx.ProxyError, match="407") as caught:
                await client.get(url)
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{url.port} HTTP/1.1\r\n".encode())
    assert server.heads == []
    assert SECRET not in str(caught.value)

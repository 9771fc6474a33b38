"""A scripted Microsoft on loopback, served over TLS."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trustme
import uvicorn
from starlette.requests import Request
from tests.unit.defender.scripted_microsoft import Connect, Microsoft, make_client

from aquila_mde.defender.client import DefenderClient


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Microsoft]:
    folder = tmp_path_factory.mktemp("microsoft")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    ca_file, pem = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    microsoft = Microsoft(ca_file=ca_file)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await (await microsoft.answer(request))(scope, receive, send)

    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, lifespan="off", ws="none", log_level="error",
        ssl_certfile=str(pem), timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.up.wait(30)
    port = server.servers[0].sockets[0].getsockname()[1]
    microsoft.url = f"https://127.0.0.1:{port}"
    yield microsoft
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def microsoft(loopback: Microsoft) -> Microsoft:
    """The server, without what an earlier test told it."""
    fresh = Microsoft(url=loopback.url, ca_file=loopback.ca_file)
    loopback.__dict__.update(fresh.__dict__)
    return loopback


@pytest.fixture
async def connect(microsoft: Microsoft) -> AsyncIterator[Connect]:
    """Makes clients of the server, which are closed at the end of the test."""
    made: list[DefenderClient] = []

    def make(**options: Any) -> DefenderClient:
        made.append(make_client(microsoft, **options))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture
def client(connect: Connect) -> DefenderClient:
    """A client that never waits."""
    return connect()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of this thread, none of which takes any time."""
    noted: list[float] = []
    sleep, own = asyncio.sleep, threading.get_ident()

    async def note(seconds: float, *rest: Any) -> None:
        if threading.get_ident() != own:  # the server's
            await sleep(seconds, *rest)
            return
        if seconds:
            noted.append(seconds)
        await sleep(0, *rest)

    monkeypatch.setattr(asyncio, "sleep", note)
    return noted

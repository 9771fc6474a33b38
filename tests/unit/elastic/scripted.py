"""An HTTP server on loopback that answers as a test tells it to, and one that breaks an engine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web

from aquila_mde.settings import ElasticsearchSettings

INDEX = "logs-pack.alert-default"
CREATED = {"_index": f".ds-{INDEX}-000001", "status": 201}
GREETING = {
    "name": "node",
    "cluster_name": "scripted",
    "version": {"number": "9.2.0", "build_flavor": "default"},
    "tagline": "You Know, for Search",
}
OPENSEARCH = {
    "name": "node",
    "cluster_name": "scripted",
    "version": {"number": "3.8.0", "distribution": "opensearch"},
    "tagline": "The OpenSearch Project: https://opensearch.org/",
}


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Server:
    """Answers every request by ``answer``; ``None`` from it cuts the connection."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://localhost:{self.port}"

    @property
    def settings(self) -> ElasticsearchSettings:
        return ElasticsearchSettings(url=self.url)

    async def answer(self, seen: Seen) -> web.Response | None:
        raise NotImplementedError

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests to paths that begin with ``path``."""
        return [each for each in self.seen if each.method == method and each.path.startswith(path)]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "localhost", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(
            request.method,
            request.path.lstrip("/"),
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        self.seen.append(seen)
        answer = await self.answer(seen)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        # The same answer may be given several times, aiohttp's object is for once.
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


Answer = Callable[[Seen], Awaitable[web.Response | None]]


class Scripted(Server):
    """Greets as an engine, knows every template, and answers the rest from ``answers`` in turn."""

    def __init__(
        self,
        *answers: web.Response | None,
        greeting: Any = GREETING,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self.answers = list(answers)
        self.greeting = greeting

    async def answer(self, seen: Seen) -> web.Response | None:
        if seen.path == "" and self.greeting is not None:
            return json(self.greeting)
        if seen.path == "_cat/plugins":
            return json([])
        if seen.path == "_tasks":
            return json({"nodes": {}})
        if seen.method == "GET" and seen.path.startswith("_index_template/"):
            return json({"index_templates": [{}]})
        return self.answers.pop(0)


class Proxy(Server):
    """Stands in front of a real engine; ``faults`` decide on each bulk request in turn.

    A fault is a response to give instead, ``"before"`` (cut without passing it on), ``"after"``
    (pass it on and cut), ``"late"`` (pass it on after a while), a function that changes the
    engine's answer, or None to pass it on.
    """

    def __init__(self, engine_url: str, *faults: Any) -> None:
        super().__init__()
        self._engine_url = engine_url
        self.faults = list(faults)
        self.under_way = 0
        self.most_under_way = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._session.close()

    async def answer(self, seen: Seen) -> web.Response | None:
        bulk = seen.path.endswith("/_bulk")
        fault = self.faults.pop(0) if bulk and self.faults else None
        if isinstance(fault, web.Response):
            return fault
        if fault == "before":
            return None
        self.under_way += bulk
        self.most_under_way = max(self.most_under_way, self.under_way)
        if fault == "late":
            await asyncio.sleep(0.1)
        headers = {"content-type": seen.headers.get("content-type", "application/json")}
        async with self._session.request(
            seen.method,
            f"{self._engine_url}/{seen.path}",
            params=seen.query,
            data=seen.body or None,
            headers=headers if seen.body else {},
        ) as response:
            body = await response.read()
            kind = response.content_type
            status = response.status
        self.under_way -= bulk
        if fault == "after":
            return None
        if callable(fault):
            body = msgspec.json.encode(fault(msgspec.json.decode(body)))
        return web.Response(status=status, body=body, content_type=kind)


def json(body: Any, status: int = 200, **headers: str) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def refusal(status: int, kind: str, reason: str, **headers: str) -> web.Response:
    """An error answer of an engine."""
    error = {"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason}
    return json({"error": error, "status": status}, status, **headers)


class Refusing(Server):
    """Answers everything the same."""

    def __init__(self, answer: web.Response, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._answer = answer

    async def answer(self, seen: Seen) -> web.Response | None:
        return self._answer


def answered(*creates: dict[str, Any]) -> web.Response:
    """The answer to a bulk request, one of ``creates`` for each document."""
    return json({"errors": True, "items": [{"create": create} for create in creates]})

"""A TLS proxy in front of the engine that has users: it lets a key do what its role says.

Elasticsearch's security cannot run here. What each request needs is said in one table, as the pages
of its API say it; everything else is forbidden.
"""

from __future__ import annotations

import fnmatch
import re
import ssl
from collections.abc import Iterator
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web

_HOST = "127.0.0.1"
_BACKING = re.compile(r"^\.ds-(.+)-\d{6}$")
_NEEDS: list[tuple[str, str, str]] = [
    # method, path, privilege; the first group of the path is the index of an index privilege
    ("GET", r"", "cluster monitor"),
    ("GET", r"_cat/plugins", "cluster monitor"),
    ("GET", r"_cat/allocation", "cluster monitor"),
    ("GET", r"_cluster/settings", "cluster monitor"),
    ("GET", r"_tasks", "cluster monitor"),
    ("GET", r"_data_stream/([^/]+)", "index view_index_metadata"),
    ("POST", r"([^/]+)/_(?:mget|search|count)", "index read"),
    ("GET", r"([^/]+)/_(?:mget|search|count)", "index read"),
    ("GET", r"([^/]+)/_doc/[^/]+", "index read"),
    ("GET", r"([^/]+)/_settings/[^/]+", "index view_index_metadata"),
    ("POST", r"_search/scroll", "none"),
    ("DELETE", r"_search/scroll", "none"),
    ("POST", r"([^/]+)/_refresh", "index maintenance"),
    ("PUT", r"([^/_][^/]*)", "index create_index"),
    ("PUT", r"([^/]+)/_(?:doc|create)/[^/]+", "index index"),
    ("POST", r"([^/]+)/_(?:doc|create)/[^/]+", "index index"),
    ("DELETE", r"([^/]+)/_doc/[^/]+", "index delete"),
    ("POST", r"([^/]+)/_delete_by_query", "index delete"),
]
_OPERATIONS = {
    # Either of the two is enough.
    "create": ("index create_doc|index", "index auto_configure"),
    "index": ("index index",),
    "update": ("index index",),
    "delete": ("index delete",),
}


class KeyGuard:
    """An async context manager; ``used`` are the privileges that requests have needed."""

    def __init__(
        self, engine_url: str, tls: ssl.SSLContext, key: str, role: dict[str, Any]
    ) -> None:
        self._engine = engine_url
        self._tls = tls
        self._key = key
        self._role = role
        self.used: set[tuple[str, str]] = set()
        """A pattern of indices (or ``cluster``) and the privilege."""
        self.forbidden: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "localhost", 0, ssl_context=self._tls)
        await site.start()
        self.url = f"https://localhost:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("authorization") != f"ApiKey {self._key}":
            return _refusal(401, "unable to authenticate with provided credentials")
        body = await request.read()
        path = request.path.lstrip("/")
        what = f"{request.method} /{path}"
        for need in needs(request.method, path, body):
            if not self._allows(*need):
                self.forbidden.append(what)
                return _refusal(403, f"action [{what}] is unauthorized for API key, needs {need}")
        # A body that came as gzip has been unpacked by now.
        headers = {"content-type": request.content_type} if body else {}
        async with self._session.request(
            request.method,
            f"{self._engine}/{path}",
            params=list(request.query.items()),
            data=body or None,
            headers=headers,
        ) as answer:
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                content_type=answer.content_type,
            )

    def _allows(self, privilege: str, index: str) -> bool:
        scope, _, name = privilege.partition(" ")
        if scope == "none":
            return True
        if scope == "cluster":
            self.used.add(("cluster", name))
            return name in self._role["cluster"]
        allowed = False
        for part in self._role["indices"]:
            held = [one for one in name.split("|") if one in part["privileges"]]
            if held and any(fnmatch.fnmatchcase(index, pattern) for pattern in part["names"]):
                self.used |= {(pattern, held[0]) for pattern in part["names"]}
                allowed = True
        return allowed


def needs(method: str, path: str, body: bytes) -> Iterator[tuple[str, str]]:
    """Every privilege that a request needs, and the index that it needs it for."""
    if path.endswith("_bulk"):
        yield from _bulk_needs(path.removesuffix("_bulk").rstrip("/"), body)
        return
    for wanted, pattern, privilege in _NEEDS:
        found = re.fullmatch(pattern, path)
        if found and wanted == method:
            for index in (found[1] if found.groups() else "").split(","):
                yield privilege, _stream_of(index)
            return
    yield "index nobody_has_this", path


def _bulk_needs(index: str, body: bytes) -> Iterator[tuple[str, str]]:
    found = set()
    lines = iter(body.split(b"\n"))
    for line in lines:
        if not line:
            continue
        ((kind, target),) = msgspec.json.decode(line).items()
        if kind != "delete":
            next(lines)
        found |= {(need, _stream_of(target.get("_index", index))) for need in _OPERATIONS[kind]}
    # A data stream is made by its first document; any other index was installed.
    yield from sorted(
        (need, name)
        for need, name in found
        if name.startswith("logs-") or need != "index auto_configure"
    )


def _stream_of(index: str) -> str:
    """Privileges on a data stream hold for its backing indices."""
    backing = _BACKING.match(index)
    return backing[1] if backing else index


def _refusal(status: int, reason: str) -> web.Response:
    error = {"type": "security_exception", "reason": reason}
    body = msgspec.json.encode({"error": {"root_cause": [error], **error}, "status": status})
    return web.Response(status=status, body=body, content_type="application/json")

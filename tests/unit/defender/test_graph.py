"""Microsoft Graph: what is repeated, what is not, and what an error says to do."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.unit.defender.scripted_microsoft import Microsoft

from aquila_mde.defender.client import RetryPolicy
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    SignInError,
)
from aquila_mde.defender.graph import Graph, UnchangedError

TOKEN = "eyJhbGciOiJub25lIn0.the-operators-token.x"


def refused(status: int, code: str = "Request_BadRequest", **headers: str) -> Response:
    body = {"error": {"code": code, "message": "Because.", "innerError": {}}}
    return JSONResponse(body, status, headers={"request-id": "the-request", **headers})


@pytest.fixture
async def graph(microsoft: Microsoft) -> AsyncIterator[Graph]:
    cloud = resolve_cloud("commercial", sign_in=microsoft.url, graph=microsoft.url)
    policy = RetryPolicy(attempts=4, wait=False)
    async with Graph(SecretStr(TOKEN), cloud, ca_file=microsoft.ca_file, retry=policy) as graph:
        yield graph


async def test_a_call_carries_the_token_and_the_query(graph: Graph, microsoft: Microsoft) -> None:
    microsoft.script("/v1.0/applications", JSONResponse({"value": [{"id": "1"}]}))
    found = await graph.items("/applications", {"$filter": "displayName eq 'a b+c'"})
    assert found == [{"id": "1"}]
    (call,) = microsoft.calls
    assert call.headers["Authorization"] == f"Bearer {TOKEN}"
    assert call.query_params["$filter"] == "displayName eq 'a b+c'"


async def test_a_collection_is_read_to_its_end(graph: Graph, microsoft: Microsoft) -> None:
    link = f"{microsoft.url}/v1.0/applications?$skiptoken=x"
    microsoft.script(
        "/v1.0/applications",
        JSONResponse({"value": [{"id": "1"}], "@odata.nextLink": link}),
        JSONResponse({"value": [{"id": "2"}]}),
    )
    assert await graph.items("/applications") == [{"id": "1"}, {"id": "2"}]


async def test_the_token_is_sent_nowhere_else(graph: Graph, microsoft: Microsoft) -> None:
    page = {"value": [], "@odata.nextLink": "https://graph.example.com/v1.0/applications"}
    microsoft.script("/v1.0/applications", JSONResponse(page))
    with pytest.raises(BadRequestError, match="names graph.example.com"):
        await graph.items("/applications")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_what_can_be_done_twice_is_repeated(
    graph: Graph, microsoft: Microsoft, method: str
) -> None:
    done = JSONResponse({"id": "1"}) if method == "GET" else Response(status_code=204)
    microsoft.script(
        "/v1.0/applications/1",
        refused(429, "TooManyRequests", **{"Retry-After": "1"}),
        refused(503, "ServiceUnavailable"),
        done,
    )
    if method == "GET":
        assert await graph.get("/applications/1") == {"id": "1"}
    elif method == "PATCH":
        await graph.patch("/applications/1", {"displayName": "x"})
    else:
        await graph.delete("/applications/1")
    assert len(microsoft.calls) == 3


async def test_what_creates_is_repeated_only_where_nothing_was_created(
    graph: Graph, microsoft: Microsoft
) -> None:
    busy = refused(429, "TooManyRequests")
    microsoft.script("/v1.0/applications", busy, busy, JSONResponse({"id": "1"}, 201))
    assert await graph.post("/applications", {}) == {"id": "1"}
    assert len(microsoft.calls) == 3
    microsoft.script("/v1.0/servicePrincipals", refused(503, "ServiceUnavailable"))
    with pytest.raises(DefenderUnavailableError) as raised:
        await graph.post("/servicePrincipals", {})
    assert "It is not known" in raised.value.hint
    assert len(microsoft.calls) == 4


async def test_what_is_gone_is_removed(graph: Graph, microsoft: Microsoft) -> None:
    microsoft.script("/v1.0/applications/1", refused(404, "Request_ResourceNotFound"))
    await graph.delete("/applications/1")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refused(401, "InvalidAuthenticationToken"), SignInError, "run the command again"),
        (refused(403, "Authorization_RequestDenied"), PermissionDeniedError, "must be active"),
        (refused(404, "Request_ResourceNotFound"), NotFoundError, "removed meanwhile"),
        (refused(400), BadRequestError, "refuses the call (Request_BadRequest): Because"),
        (refused(429, "TooManyRequests"), UnchangedError, "asks to slow down"),
        (Response("<html>", 200, media_type="text/html"), DefenderUnavailableError, "proxy"),
        (Response("{cut", 200, media_type="application/json"), DefenderUnavailableError, "proxy"),
        (Response('{"a":}', 200, media_type="application/json"), DefenderUnavailableError, "JSON"),
    ],
)
async def test_an_error_says_what_to_do(
    graph: Graph, microsoft: Microsoft, answer: Response, kind: type[Exception], said: str
) -> None:
    microsoft.script("/v1.0/me", answer)
    with pytest.raises(kind) as raised:
        await graph.get("/me")
    assert said in str(raised.value)
    assert TOKEN not in str(raised.value)


async def test_a_token_in_an_answer_is_not_shown(graph: Graph, microsoft: Microsoft) -> None:
    def echo(request: Request) -> Any:
        text = f"Bad header {request.headers['Authorization']}"
        return JSONResponse({"error": {"code": "Bad", "message": text}}, 400)

    microsoft.script("/v1.0/me", echo)
    with pytest.raises(BadRequestError) as raised:
        await graph.get("/me")
    assert TOKEN not in str(raised.value)


async def test_a_host_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    cloud = resolve_cloud("commercial", graph=f"https://127.0.0.1:{port}")
    policy = RetryPolicy(attempts=2, wait=False)
    async with Graph(SecretStr(TOKEN), cloud, retry=policy) as graph:
        with pytest.raises(UnchangedError, match="refuses the connection"):
            await graph.post("/applications", {})

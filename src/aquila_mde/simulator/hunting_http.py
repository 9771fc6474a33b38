"""Advanced hunting over HTTP, at Defender's own endpoint and at Microsoft Graph's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aquila_mde.simulator.hunting_tables import HuntingTables
from aquila_mde.simulator.kql.run import Query
from aquila_mde.simulator.kql.table import Table
from aquila_mde.simulator.kql.values import KqlError, Moment, plain
from aquila_mde.simulator.quotas import Quotas
from aquila_mde.simulator.refused import Refused, too_many
from aquila_mde.simulator.sign_in import SignIn
from aquila_mde.simulator.tenant import Tenant
from aquila_mde.streams.collect_spec import Endpoint

_JSON = "application/json; charset=utf-8"
_TIMED_OUT = "Query execution has timed out. Try to optimize your query."
_TOO_COSTLY = (
    "Query execution has exceeded the allowed limits (80DA0003): the query used too many "
    "resources. Optimize your query."
)
_TOO_LARGE = (
    "Query execution has exceeded the allowed result size. Optimize your query by limiting the "
    "number of results and try again."
)


@dataclass(frozen=True)
class Door:
    """One of the two endpoints."""

    endpoint: Endpoint
    graph: bool


class HuntingHttp:
    """Answers hunting queries out of a tenant."""

    def __init__(
        self,
        tenant: Tenant,
        sign_in: SignIn,
        quotas: Quotas,
        endpoint: Endpoint | None,
        graph: Endpoint | None,
    ) -> None:
        self.tables = HuntingTables(tenant)
        self._tenant, self._sign_in, self._quotas = tenant, sign_in, quotas
        self._doors = [
            Door(each, is_graph)
            for each, is_graph in ((endpoint, False), (graph, True))
            if each is not None
        ]
        for door in self._doors:
            quota = door.endpoint.quota
            quotas.declare(door.endpoint.path, quota.per_minute, quota.per_hour)

    def routes(self) -> list[Route]:
        """The routes of both endpoints, as far as the package knows them."""
        return [self._route(door) for door in self._doors]

    def _route(self, door: Door) -> Route:
        async def answer(request: Request) -> Response:
            try:
                query = self._allowed(request, await request.body(), door)
                return await asyncio.to_thread(self.answer, query, door)
            except Refused as refused:
                request_id = str(request.state.request_id)
                where: dict[str, Any] = {"target": request_id}
                if door.graph:
                    where = {"innerError": {"request-id": request_id}}
                body = {"error": {"code": refused.code, "message": refused.message, **where}}
                content = msgspec.json.encode(body)
                return Response(content, refused.status, refused.headers, media_type=_JSON)

        return Route(door.endpoint.path, answer, methods=["POST"])

    def _allowed(self, request: Request, body: bytes, door: Door) -> str:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        claims = self._sign_in.claims(token)
        audiences = self._sign_in.graph_resources if door.graph else self._sign_in.resources
        if claims is None or claims.audience not in audiences:
            code = "InvalidAuthenticationToken" if door.graph else "Unauthorized"
            raise Refused(401, code, "Access token is invalid.", {"WWW-Authenticate": "Bearer"})
        if door.endpoint.permission not in claims.roles:
            raise Refused(
                403,
                "Forbidden",
                "The application does not have any of the required application permissions "
                f"({door.endpoint.permission}) to access the resource.",
            )
        self._count(door.endpoint.path, claims.application)
        try:
            values = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise Refused(400, "BadRequest", "The request body is no JSON.") from error
        query = values.get("Query")
        if not isinstance(query, str) or not query.strip():
            raise Refused(400, "BadRequest", "The query is missing: Query.")
        return query

    def _count(self, path: str, application: str) -> None:
        exceeded = self._quotas.take(path, application)
        if exceeded is None:
            return
        wait, quota = exceeded
        message = f"You have exceeded the allowed number of queries ({quota}). Try again later."
        raise too_many(self._tenant, wait, message)

    def answer(self, text: str, door: Door) -> Response:
        """The answer to one query that may be asked."""
        found, read = self.run(text, graph=door.graph)
        quirks = self._tenant.quirks
        if quirks.hunting_times_out_above is not None and read > quirks.hunting_times_out_above:
            raise Refused(504, "GatewayTimeout", _TIMED_OUT)
        if quirks.hunting_refused_above is not None and read > quirks.hunting_refused_above:
            raise Refused(400, "BadRequest", _TOO_COSTLY)
        body = _encoded(found, quirks.hunting_row_limit, graph=door.graph)
        if len(body) > quirks.hunting_size_limit:
            raise Refused(400, "BadRequest", _TOO_LARGE)
        return Response(body, 200, media_type=_JSON)

    def run(self, text: str, *, graph: bool) -> tuple[Table, int]:
        """Every row of the answer, however many, and how many rows were looked at."""
        with self._tenant.lock:
            self._tenant.settle()
            query = Query(
                lambda name, since, until: self.tables.table(name, since, until, graph=graph),
                self._tenant.clock.now(),
            )
            try:
                return query.run(text), query.read
            except KqlError as error:
                raise Refused(400, "BadRequest", str(error)) from error
            except (TypeError, ValueError, AttributeError) as error:
                message = f"Semantic error: the query has a value of the wrong type ({error})."
                raise Refused(400, "BadRequest", message) from error


def _encoded(found: Table, limit: int, *, graph: bool) -> bytes:
    rows = [{name: _value(row.get(name)) for name in found.columns} for row in found.rows[:limit]]
    schema = [(name, _type(found, name)) for name in found.columns]
    if graph:
        described = [{"name": name, "type": kind} for name, kind in schema]
        return msgspec.json.encode({"schema": described, "results": rows})
    described = [{"Name": name, "Type": kind} for name, kind in schema]
    stats = {"ExecutionTime": 0.01, "resource_usage": {}, "dataset_statistics": []}
    return msgspec.json.encode({"Stats": stats, "Schema": described, "Results": rows})


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return plain(value)


def _type(found: Table, name: str) -> str:
    value = next((row[name] for row in found.rows if row.get(name) is not None), "")
    if isinstance(value, bool):
        return "SByte"
    if isinstance(value, int):
        return "Int64"
    if isinstance(value, float):
        return "Double"
    if isinstance(value, Moment):
        return "DateTime"
    return "Object" if isinstance(value, dict | list) else "String"

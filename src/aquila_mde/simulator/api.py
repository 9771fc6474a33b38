"""The HTTP face of the tenant: sign-in, the Defender endpoints, the storage of export files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from aquila_mde.simulator.changes import Changes, QueryRefused
from aquila_mde.simulator.changes import page as page_of_changes
from aquila_mde.simulator.clock import SECOND, format_time
from aquila_mde.simulator.collection import Collection
from aquila_mde.simulator.endpoints import Endpoint
from aquila_mde.simulator.export_files import LinkFault, VulnerabilityExport
from aquila_mde.simulator.odata import ODataError
from aquila_mde.simulator.query import page, parse_query
from aquila_mde.simulator.quotas import Quotas
from aquila_mde.simulator.refused import Refused, too_many
from aquila_mde.simulator.sign_in import SignIn, SignInRefused
from aquila_mde.simulator.tenant import Tenant

_JSON = "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8"
STORAGE = "/tvm-export/"
"""Where the paths of export files begin."""


class Api:
    """Answers requests out of a tenant."""

    def __init__(
        self,
        tenant: Tenant,
        sign_in: SignIn,
        quotas: Quotas,
        endpoints: Mapping[str, Endpoint],
        storage_url: str,
    ) -> None:
        self._tenant = tenant
        self._sign_in = sign_in
        self._quotas = quotas
        self._endpoints = endpoints
        self._storage_url = storage_url
        self.poisoned: set[str] = set()
        """Alerts whose evidence cannot be read: 500 for ever."""
        for endpoint in endpoints.values():
            quotas.declare(endpoint.path, endpoint.per_minute, endpoint.per_hour)
            quotas.declare(*endpoint.single_quota)

    def routes(self) -> list[Route]:
        """The routes of the simulated hosts, all on one port."""
        return [
            Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", self._discovery),
            Route("/{tenant}/discovery/v2.0/keys", self._keys),
            Route("/api/{rest:path}", self._api, methods=["GET"]),
            Route(STORAGE + "{rest:path}", self._file),
        ]

    async def _discovery(self, request: Request) -> Response:
        try:
            found = self._sign_in.discovery(_base(request), request.path_params["tenant"])
        except SignInRefused as refused:
            return self._sign_in_problem(refused, request)
        return _json(found)

    async def _keys(self, request: Request) -> Response:
        del request
        return _json(self._sign_in.keys())

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            given = self._sign_in.token(_base(request), request.path_params["tenant"], form)
        except SignInRefused as refused:
            return self._sign_in_problem(refused, request)
        return _json(given, headers={"Cache-Control": "no-store"})

    def _sign_in_problem(self, refused: SignInRefused, request: Request) -> Response:
        body = self._sign_in.problem(refused, request.headers.get("client-request-id", ""))
        return _json(body, refused.status)

    async def _api(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except Refused as refused:
            target = str(request.state.request_id)
            return problem(refused.status, refused.code, refused.message, target, refused.headers)

    def _answer(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        claims = self._sign_in.claims(token)
        if claims is None or claims.audience not in self._sign_in.resources:
            raise Refused(
                401,
                "Unauthorized",
                "Unauthorized (invalid or expired authorization header).",
                {"WWW-Authenticate": "Bearer"},
            )
        endpoint, key = self._find(request.url.path)
        wanted = endpoint.permission
        if not claims.roles & {wanted, wanted.replace(".Read.", ".ReadWrite.")}:
            raise Refused(
                403,
                "Forbidden",
                "The application does not have any of the required application permissions "
                f"({wanted}) to access the resource.",
            )
        self._count(endpoint.path if key is None else endpoint.single_quota[0], claims.application)
        with self._tenant.lock:
            self._tenant.settle()
            records = endpoint.records(self._tenant)
            if isinstance(records, VulnerabilityExport):
                return self._export(request, records)
            if isinstance(records, Changes):
                return self._changes(request, records)
            if key is None:
                return self._collection(request, records)
            return self._single(request, records, key)

    def _find(self, path: str) -> tuple[Endpoint, str | None]:
        path = path.rstrip("/")
        endpoint = self._endpoints.get(path.lower())
        if endpoint is not None:
            return endpoint, None
        parent, _, key = path.rpartition("/")
        endpoint = self._endpoints.get(parent.lower())
        if endpoint is None or not isinstance(endpoint.records(self._tenant), Collection):
            raise Refused(404, "NotFound", f"No resource was found at {path}.")
        return endpoint, key

    def _count(self, path: str, application: str) -> None:
        exceeded = self._quotas.take(path, application)
        if exceeded is None:
            return
        wait, quota = exceeded
        raise too_many(
            self._tenant,
            wait,
            f"API calls quota exceeded! Maximum allowed {quota} for tenant and application. "
            f"You can send requests again in {wait} seconds.",
        )

    def _collection(self, request: Request, records: Collection) -> Response:
        quirks = self._tenant.quirks
        try:
            query = parse_query(request.url.query, records.entity, quirks)
        except ODataError as error:
            message = f"The query specified in the URI is not valid. {error}"
            raise Refused(400, "ODataError", message) from error
        found = page(records, query, quirks)
        if query.expand:
            many = quirks.expand_fails_above
            heavy = many is not None and len(found.records) > many
            if heavy or any(record.id in self.poisoned for record in found.records):
                raise Refused(500, "InternalServerError", "")
        empty = not found.records and query.skip == 0 and query.top != 0
        if empty and records is self._tenant.machines and quirks.no_machines == "404":
            raise Refused(404, "ResourceNotFound", "No machines were found.")
        parts = [record.body if query.expand else record.lean for record in found.records]
        return self._page(request, records.entity.name, parts, found.next_query)

    def _changes(self, request: Request, changes: Changes) -> Response:
        now = self._tenant.clock.now()
        try:
            found = page_of_changes(changes, request.query_params, self._tenant.quirks, now)
        except QueryRefused as refused:
            raise Refused(400, refused.code, refused.message) from refused
        name = "Collection(microsoft.windowsDefenderATP.api.DeltaAssetVulnerability)"
        return self._page(request, name, found.rows, found.next_query)

    def _page(
        self, request: Request, name: str, parts: list[bytes], next_query: str | None
    ) -> Response:
        base, host = _base(request), self._tenant.quirks.next_link_host
        context = f"{base}/api/$metadata#{name}"
        body = b'{"@odata.context":' + msgspec.json.encode(context) + b',"value":['
        body += b",".join(parts) + b"]"
        if next_query is not None:
            link = f"{f'https://{host}' if host else base}{request.url.path}?{next_query}"
            body += b',"@odata.nextLink":' + msgspec.json.encode(link)
        return _odata(body + b"}")

    def _single(self, request: Request, records: Collection, key: str) -> Response:
        record = records.get(key)
        if record is None:
            raise Refused(404, "ResourceNotFound", f"Resource {key} was not found.")
        if key in self.poisoned and records is self._tenant.alerts:
            raise Refused(500, "InternalServerError", "")
        context = f"{_base(request)}/api/$metadata#{records.entity.name}/$entity"
        opening = b'{"@odata.context":' + msgspec.json.encode(context) + b","
        return _odata(opening + record.body[1:])

    def _export(self, request: Request, export: VulnerabilityExport) -> Response:
        text = request.query_params.get("sasValidHours", "1")
        if text not in ("1", "2", "3", "4", "5", "6"):
            raise Refused(400, "InvalidInput", f"Invalid input sasValidHours {text}: 1 to 6.")
        context = (
            f"{_base(request)}/api/$metadata#microsoft.windowsDefenderATP.api.ExportFilesResponse"
        )
        return _odata(
            msgspec.json.encode(
                {
                    "@odata.context": context,
                    "exportFiles": export.links(self._storage_url, self._tenant.clock, int(text)),
                    "generatedTime": format_time(export.current.generated // SECOND * SECOND),
                }
            )
        )

    async def _file(self, request: Request) -> Response:
        path = request.url.path
        if request.headers.get("authorization"):
            # A signed link and a token at once: the storage looks at the token only.
            return storage_problem("signature")
        faults: list[LinkFault] = []
        for export in self._exports():
            fault = export.check_link(path, request.url.query, self._tenant.clock)
            if fault is None:
                file = await asyncio.to_thread(export.render, path)
                if file is not None:
                    return FileResponse(file, media_type="application/octet-stream")
            faults.append(fault or "gone")
        # Every export has a key of its own: the one that knows the signature has the say.
        return storage_problem(next((f for f in faults if f != "signature"), "signature"))

    def _exports(self) -> list[VulnerabilityExport]:
        found = [endpoint.records(self._tenant) for endpoint in self._endpoints.values()]
        return [export for export in found if isinstance(export, VulnerabilityExport)]


def problem(
    status: int, code: str, message: str, target: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error in the body form of the Defender API."""
    body = {"error": {"code": code, "message": message, "target": target}}
    return _json(body, status, headers)


def storage_problem(fault: LinkFault) -> Response:
    """An error in the body form of the storage that holds export files."""
    status, code, message = {
        "expired": (
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Signature not valid in the specified "
            "time frame.",
        ),
        "signature": (
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization "
            "header is formed correctly including the signature.",
        ),
        "gone": (404, "BlobNotFound", "The specified blob does not exist."),
    }[fault]
    body = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return Response(body, status, {"x-ms-error-code": code}, media_type="application/xml")


def _base(request: Request) -> str:
    return f"https://{request.url.netloc}"


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = msgspec.json.encode(value)
    return Response(content, status, headers, media_type="application/json; charset=utf-8")


def _odata(body: bytes) -> Response:
    return Response(body, 200, {"Content-Type": _JSON, "OData-Version": "4.0"})

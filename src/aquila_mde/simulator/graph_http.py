"""Microsoft Graph over HTTP, and the two pages that a person opens in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from aquila_mde.simulator.graph_directory import Directory, GraphRefused
from aquila_mde.simulator.graph_operators import GRAPH, OPERATORS, Operators
from aquila_mde.simulator.sign_in import Claims, SignIn, SignInRefused

_FILTER = re.compile(r"(\w+) eq '((?:[^']|'')*)'")
_READ = frozenset({"Application.Read.All", "Application.ReadWrite.All"})
_WRITE = frozenset({"Application.ReadWrite.All"})
_CONSENT = frozenset({"AppRoleAssignment.ReadWrite.All"})
Values = dict[str, Any]


class GraphHttp:
    """Answers requests out of a directory."""

    def __init__(self, directory: Directory, operators: Operators, sign_in: SignIn) -> None:
        self._directory, self._operators, self._sign_in = directory, operators, sign_in

    def routes(self) -> list[Route]:
        """The routes of Graph, and of the sign-in that leads to it."""
        application, principal = "/v1.0/applications", "/v1.0/servicePrincipals"
        return [
            Route("/{tenant}/oauth2/v2.0/devicecode", self._device_code, methods=["POST"]),
            Route("/devicelogin", self._device_page, methods=["GET", "POST"]),
            Route("/{tenant}/adminconsent", self._consent_page, methods=["GET", "POST"]),
            self._route(application, {"GET": self._list, "POST": self._create}),
            self._route(application + "/{id}", {"GET": self._get, "PATCH": self._change}),
            self._route(application + "/{id}/addPassword", {"POST": self._add_password}),
            self._route(application + "/{id}/removePassword", {"POST": self._remove_password}),
            self._route(principal, {"GET": self._principals, "POST": self._create_principal}),
            self._route(
                principal + "/{id}/appRoleAssignments",
                {"GET": self._assignments, "POST": self._consent},
            ),
        ]

    def _route(
        self, path: str, methods: dict[str, Callable[[Request, Values], Values | None]]
    ) -> Route:
        async def answer(request: Request) -> Response:
            try:
                needed = _READ if request.method == "GET" else _WRITE
                if request.method == "POST" and path.endswith("/appRoleAssignments"):
                    needed = _CONSENT
                self._allow(request, needed)
                content = await request.body()
                try:
                    body = msgspec.json.decode(content, type=Values) if content else {}
                except msgspec.DecodeError as error:
                    raise GraphRefused(400, "BadRequest", "Unable to read JSON.") from error
                with self._directory.lock:
                    found = methods[request.method](request, body)
            except GraphRefused as refused:
                return _problem(refused, str(request.state.request_id))
            created = request.method == "POST" and not path.endswith("Password")
            if found is None:
                return Response(status_code=204)
            return _json(found, 201 if created else 200)

        return Route(path, answer, methods=list(methods))

    def _allow(self, request: Request, scopes: frozenset[str]) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        claims: Claims | None = self._sign_in.claims(token)
        if claims is None or claims.audience != GRAPH:
            raise GraphRefused(401, "InvalidAuthenticationToken", "Access token is invalid.")
        rights = OPERATORS[claims.operator]
        right = {_CONSENT: "consent", _WRITE: "register"}.get(scopes)
        if not claims.scopes & scopes or (right and right not in rights):
            raise GraphRefused(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges to complete the operation.",
            )

    def _list(self, request: Request, _: Values) -> Values:
        name, value = _filter(request)
        return _collection(self._directory.applications(name, value))

    def _get(self, request: Request, _: Values) -> Values:
        keys = "keyCredentials" in request.query_params.get("$select", "")
        return self._directory.application(request.path_params["id"], keys=keys)

    def _create(self, _: Request, body: Values) -> Values:
        return self._directory.create_application(body)

    def _change(self, request: Request, body: Values) -> None:
        self._directory.change_application(request.path_params["id"], body)

    def _add_password(self, request: Request, body: Values) -> Values:
        return self._directory.add_password(request.path_params["id"], body)

    def _remove_password(self, request: Request, body: Values) -> None:
        self._directory.remove_password(request.path_params["id"], str(body.get("keyId")))

    def _principals(self, request: Request, _: Values) -> Values:
        name, value = _filter(request)
        if name != "appId":
            raise GraphRefused(400, "Request_UnsupportedQuery", "Unsupported filter.")
        return _collection(self._directory.principals(value))

    def _create_principal(self, _: Request, body: Values) -> Values:
        return self._directory.create_principal(str(body.get("appId")))

    def _assignments(self, request: Request, _: Values) -> Values:
        return _collection(self._directory.assignments(request.path_params["id"]))

    def _consent(self, request: Request, body: Values) -> Values:
        return self._directory.consent(request.path_params["id"], body)

    async def _device_code(self, request: Request) -> Response:
        form = await _form(request)
        try:
            self._sign_in.discovery(_base(request), request.path_params["tenant"])
            return _json(self._operators.begin(_base(request), form))
        except SignInRefused as refused:
            return _json(self._sign_in.problem(refused, ""), refused.status)

    async def _device_page(self, request: Request) -> Response:
        if request.method == "GET":
            choices = "".join(f"<option>{escape(name)}</option>" for name in OPERATORS)
            return _page(
                '<input name="code" placeholder="Code" autofocus> as '
                f'<select name="operator">{choices}</select>'
                '<button name="answer" value="yes">Sign in</button>'
                '<button name="answer" value="no">Decline</button>'
            )
        form = await _form(request)
        try:
            if form.get("answer") == "no":
                self._operators.decline(form.get("code", ""))
            else:
                self._operators.approve(form.get("code", ""), form.get("operator", "admin"))
        except (KeyError, ValueError) as error:
            return _page(escape(str(error)), 400)
        return _page("That is all. You may close this window.")

    async def _consent_page(self, request: Request) -> Response:
        if request.method == "GET":
            return _page("Let the application read Defender? <button>Accept</button>")
        try:
            self._directory.consent_to_all(request.query_params.get("client_id"))
        except KeyError:
            return _page("There is no such application.", 400)
        return _page("AADSTS500113: No reply address is registered for the application.")


def _page(form: str, status: int = 200) -> Response:
    return HTMLResponse(
        f"<html><body><h1>Contoso (simulated)</h1><form method='post'>{form}</form></body></html>",
        status,
    )


def _filter(request: Request) -> tuple[str, str]:
    match = _FILTER.fullmatch(request.query_params.get("$filter", ""))
    if match is None:
        raise GraphRefused(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter.")
    return match[1], match[2].replace("''", "'")


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _collection(values: list[Values]) -> Values:
    return {"@odata.context": f"{GRAPH}/v1.0/$metadata", "value": values}


def _problem(refused: GraphRefused, request_id: str) -> Response:
    inner = {"request-id": request_id, "client-request-id": request_id}
    body = {"code": refused.code, "message": refused.message, "innerError": inner}
    return _json({"error": body}, refused.status)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")

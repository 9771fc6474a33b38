"""A scripted Microsoft: it signs in for real and answers whatever a test puts at a path."""

from __future__ import annotations

import inspect
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography import x509
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.clouds import Cloud, resolve_cloud

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
SECRET = "a~very.secret_value"
PATH = "/api/alerts"
_SIGNING_KEY = "k" * 32

Route = Callable[[Request], Any]
Connect = Callable[..., DefenderClient]


@dataclass
class Microsoft:
    """What the server does; a test changes it as it goes."""

    url: str = ""
    ca_file: Path = Path()
    routes: dict[str, Route] = field(default_factory=dict)
    """Path to what answers it: a function of the request (may be async), or a list of them."""
    sign_in: Route | None = None
    """Answers the token endpoint instead of the real check."""
    discovery: Route | None = None
    certificates: list[x509.Certificate] = field(default_factory=list)
    roles: list[str] = field(default_factory=lambda: ["Alert.Read.All"])
    lifetime: int = 3600
    tokens: set[str] = field(default_factory=set)
    calls: list[Request] = field(default_factory=list)
    token_calls: list[dict[str, str]] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return resolve_cloud("commercial", sign_in=self.url, api=self.url)

    def script(self, path: str, *answers: Any) -> None:
        """One answer for each call of ``path``; the last one stays."""
        left = list(answers)

        def next_answer(request: Request) -> Any:
            answer = left.pop(0) if len(left) > 1 else left[0]
            return answer(request) if callable(answer) and not _is_app(answer) else answer

        self.routes[path] = next_answer

    def paths(self) -> list[str]:
        return [call.url.path for call in self.calls]

    async def answer(self, request: Request) -> Any:
        path = request.url.path
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            return self._discovery(request) if self.discovery is None else self.discovery(request)
        if path == f"/{TENANT}/oauth2/v2.0/token":
            form = dict(parse_qsl((await request.body()).decode()))
            self.token_calls.append(form)
            return self._token(form) if self.sign_in is None else self.sign_in(request)
        self.calls.append(request)
        if path.startswith("/api/"):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.tokens:
                return error(401, "Unauthorized", "The token is not valid")
        route = self.routes.get(path)
        if route is None:
            return error(404, "ResourceNotFound", "No such resource")
        found = route(request)
        return await found if inspect.isawaitable(found) else found

    def _discovery(self, request: Request) -> Response:
        base = f"{self.url}/{TENANT}"
        return JSONResponse(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
            }
        )

    def _token(self, form: dict[str, str]) -> Response:
        assert form["grant_type"] == "client_credentials"
        assert form["scope"] == "https://api.securitycenter.microsoft.com/.default"
        if "client_assertion" in form:
            refused = self._check_assertion(form["client_assertion"])
            if refused is not None:
                return refused
        elif form.get("client_secret") != SECRET:
            return aadsts(7000215, "Invalid client secret provided.")
        claims = {
            "roles": self.roles,
            "exp": int(time.time()) + self.lifetime,
            "jti": str(uuid.uuid4()),
        }
        token = jwt.encode(claims, _SIGNING_KEY, algorithm="HS256")
        self.tokens.add(token)
        return JSONResponse(
            {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}
        )

    def _check_assertion(self, assertion: str) -> Response | None:
        for certificate in self.certificates:
            try:
                claims = jwt.decode(
                    assertion,
                    certificate.public_key(),
                    algorithms=["PS256"],
                    audience=f"{self.url}/{TENANT}/oauth2/v2.0/token",
                    issuer=CLIENT,
                )
            except jwt.InvalidSignatureError:
                continue
            self.assertions.append({"header": jwt.get_unverified_header(assertion), **claims})
            return None
        return aadsts(700027, "The certificate with identifier used to sign … is not registered.")


def _is_app(value: Any) -> bool:
    return isinstance(value, Response)


def error(status: int, code: str, message: str, **headers: str) -> Response:
    """An error as the Defender API words it."""
    body = {"error": {"code": code, "message": message, "target": "request-id-of-the-answer"}}
    return JSONResponse(body, status_code=status, headers=headers)


def aadsts(code: int, text: str, status: int = 401) -> Response:
    """A refusal as Entra words it."""
    body = {
        "error": "invalid_client",
        "error_description": f"AADSTS{code}: {text} Trace ID: t Correlation ID: c",
        "error_codes": [code],
        "trace_id": "trace-of-the-refusal",
    }
    return JSONResponse(body, status_code=status)


def rows(*values: Any, link: str | None = None, status: int = 200) -> Response:
    """A page of a collection."""
    body: dict[str, Any] = {"@odata.context": "…/$metadata#Alerts", "value": list(values)}
    if link:
        body["@odata.nextLink"] = link
    return Response(json.dumps(body), status, media_type="application/json; charset=utf-8")


def make_client(microsoft: Microsoft, **options: Any) -> DefenderClient:
    """A client of ``microsoft``; by default one that never waits."""
    credential = Credential(TENANT, CLIENT, secret=SecretStr(SECRET))
    options.setdefault("retry", RetryPolicy(wait=False))
    cloud = options.pop("cloud", microsoft.cloud)
    return DefenderClient(
        TokenSource(credential, cloud, ca_file=microsoft.ca_file),
        cloud,
        tenant_label="contoso",
        ca_file=microsoft.ca_file,
        **options,
    )


async def get_alerts(client: DefenderClient, **options: Any) -> Any:
    """One call for alerts."""
    return await client.get(PATH, stream="alert", **options)


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    """A body that ends with its connection."""
    for part in parts:
        yield part
    raise ConnectionResetError("the connection goes away")

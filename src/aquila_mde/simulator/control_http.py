"""The control over HTTP, for a tenant that runs in another process.

``GET /_control/truth[?stream=…]``, ``POST /_control/advance {"seconds": n}``, ``GET``, ``PUT`` and
``DELETE /_control/faults``, ``GET`` and ``DELETE /_control/requests``, and every other method of
:class:`~aquila_mde.simulator.control.Control` as ``POST /_control/call/<method>`` with its
arguments as a JSON object; times are given in seconds. Nobody signs in for these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aquila_mde.simulator.control import Control
from aquila_mde.simulator.faults import FaultPlan
from aquila_mde.simulator.frontend import CONTROL

_CALLABLE = (
    "add_alerts",
    "add_machines",
    "add_actions",
    "add_vulnerabilities",
    "upgrade_software",
    "update_alert",
    "update_machine",
    "update_action",
    "remove",
    "ids",
    "record",
    "poison",
    "regenerate_export",
    "delta_versions",
    "set_quirks",
    "set_quota",
    "exhaust_quota",
    "expire_secret",
    "new_secret",
    "remove_secrets",
    "revoke_tokens",
    "remove_role",
    "grant_role",
    "directory",
    "approve_sign_in",
    "decline_sign_in",
    "expect_operator",
    "give_consent",
)
_SPANS = ("visible_after", "valid_for", "late_by")


def control_routes(control: Control) -> list[Route]:
    """The routes under ``/_control``."""

    async def truth(request: Request) -> Response:
        return await _run(control.truth, stream=request.query_params.get("stream"))

    async def advance(request: Request) -> Response:
        arguments = await _arguments(request)

        def move(seconds: float) -> datetime:
            control.advance(timedelta(seconds=seconds))
            return control.now

        return await _run(move, **arguments)

    async def faults(request: Request) -> Response:
        if request.method == "PUT":
            body = await request.body()
            return await _run(lambda: control.set_faults(_plan(body)))
        if request.method == "DELETE":
            control.set_faults(())
        return await _run(lambda: [fault.to_json() for fault in control.faults_left])

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            control.clear_requests()
        return await _run(lambda: control.requests)

    async def call(request: Request) -> Response:
        name = request.path_params["method"]
        if name not in _CALLABLE:
            return _answer({"error": f"there is no {name}: {', '.join(_CALLABLE)}"}, 404)
        return await _run(getattr(control, name), **await _arguments(request))

    return [
        Route(f"{CONTROL}/truth", truth),
        Route(f"{CONTROL}/advance", advance, methods=["POST"]),
        Route(f"{CONTROL}/faults", faults, methods=["GET", "PUT", "DELETE"]),
        Route(f"{CONTROL}/requests", requests, methods=["GET", "DELETE"]),
        Route(f"{CONTROL}/call/{{method}}", call, methods=["POST"]),
    ]


async def _arguments(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        values = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError:
        values = None
    if not isinstance(values, dict):
        return {"arguments": "must be a JSON object"}
    return {
        name: timedelta(seconds=value) if name in _SPANS and value is not None else value
        for name, value in values.items()
    }


async def _run(method: Callable[..., Any], **arguments: Any) -> Response:
    try:
        # In a thread: some of these take long, and the tenant goes on answering.
        return _answer(await asyncio.to_thread(method, **arguments))
    except KeyError as error:
        return _answer({"error": f"not found: {error}"}, 404)
    except (TypeError, ValueError) as error:
        return _answer({"error": str(error)}, 400)


def _plan(body: bytes) -> FaultPlan:
    return FaultPlan.from_json(msgspec.json.decode(body))


def _answer(value: Any, status: int = 200) -> Response:
    content = msgspec.json.encode(value)
    headers: Mapping[str, str] = {"Content-Type": "application/json"}
    return Response(content, status, headers)

"""Signing an operator in by a code, against the simulated sign-in service."""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.defender.clouds import Cloud, resolve_cloud
from aquila_mde.defender.device_code import ANY_TENANT, DeviceCode, Operator, sign_in
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

TINY: dict[str, Any] = {"machines": 1, "alerts": 0, "actions": 0, "vulnerabilities": 0}
SCOPES = ("Application.Read.All", "Application.ReadWrite.All")


def cloud_of(server: SimulatorServer) -> Cloud:
    return resolve_cloud("commercial", sign_in=server.url, graph=server.url)


@pytest.fixture
def server(simulator: StartSimulator) -> SimulatorServer:
    return simulator(**TINY, quirks=Quirks(sign_in_interval=1))


async def begin(
    server: SimulatorServer, tenant: str = ANY_TENANT
) -> tuple[DeviceCode, asyncio.Task[Operator]]:
    """A sign-in that has shown its code."""
    shown: asyncio.Future[DeviceCode] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        sign_in(cloud_of(server), tenant, SCOPES, shown.set_result, ca_file=server.ca_file)
    )
    done, _ = await asyncio.wait({shown, running}, return_when=asyncio.FIRST_COMPLETED)
    if running in done:
        await running
    return shown.result(), running


@pytest.mark.parametrize("tenant", [ANY_TENANT, "contoso.onmicrosoft.com"])
async def test_an_operator_signs_in(server: SimulatorServer, tenant: str) -> None:
    code, running = await begin(server, tenant)
    assert (code.page, code.minutes) == (f"{server.url}/devicelogin", 15)
    server.control.approve_sign_in(code.code.lower(), "registrar")
    operator = await running
    assert operator.tenant_id == server.tenant_id
    assert operator.name == "registrar@contoso.onmicrosoft.com"
    assert operator.token.get_secret_value() not in repr(operator)
    claims = server.control._sign_in.claims(operator.token.get_secret_value())
    assert claims is not None
    assert (claims.operator, claims.scopes) == ("registrar", set(SCOPES))


async def test_a_sign_in_that_is_declined(server: SimulatorServer) -> None:
    code, running = await begin(server)
    server.control.decline_sign_in(code.code)
    with pytest.raises(SignInError, match="declined in the browser"):
        await running


async def test_a_code_that_is_too_old(server: SimulatorServer) -> None:
    _, running = await begin(server)
    server.control.advance(timedelta(minutes=16))
    with pytest.raises(SignInError, match="not used in time"):
        await running


async def test_a_tenant_that_is_not_there(server: SimulatorServer) -> None:
    with pytest.raises((SignInError, DefenderUnavailableError)) as raised:
        await begin(server, "22222222-2222-4222-8222-222222222222")
    assert "--tenant" in raised.value.hint or "tenant.id" in raised.value.hint


async def test_a_break_in_the_connection_does_not_cost_the_code(server: SimulatorServer) -> None:
    server.control.set_faults(
        [Fault("token", "status", status=503), Fault("token", "reset"), Fault("token", "html")]
    )
    code, running = await begin(server)
    while server.control.faults_left and not running.done():
        await asyncio.sleep(0.05)
    server.control.approve_sign_in(code.code)
    assert (await running).name.startswith("admin@")


async def test_a_service_that_stays_away(server: SimulatorServer) -> None:
    server.control.set_faults([Fault("token", "status", when="always", status=503)])
    _, running = await begin(server)
    with pytest.raises(DefenderUnavailableError, match="at the moment"):
        await running


async def test_a_host_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    cloud = resolve_cloud("commercial", sign_in=f"https://127.0.0.1:{port}")
    with pytest.raises(DefenderUnavailableError, match="refuses the connection"):
        await sign_in(cloud, ANY_TENANT, SCOPES, print)


async def test_who_cancels_leaves_no_thread_that_asks(server: SimulatorServer) -> None:
    _, running = await begin(server)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.get_running_loop().shutdown_default_executor()
    assert [t for t in threading.enumerate() if t.name.startswith("asyncio")] == []

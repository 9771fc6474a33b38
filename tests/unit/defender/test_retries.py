"""What is asked again, how often and how long apart; and what is said of a host that is away."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from tests.unit.defender.scripted_microsoft import (
    PATH,
    Connect,
    Microsoft,
    broken,
    error,
    get_alerts,
    rows,
)

from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.errors import (
    DefenderUnavailableError,
)
from aquila_mde.defender.transport import unreachable
from aquila_mde.errors import ExitCode


def _cut_off(request: Request) -> Response:
    return StreamingResponse(broken(b'{"value": ['), media_type="application/json")


class TestRetries:
    @pytest.mark.parametrize(
        "trouble",
        [
            Response(status_code=408),
            Response(status_code=429),
            Response(status_code=429, headers={"Retry-After": "3600"}),
            Response(status_code=500),
            Response(status_code=503, headers={"Retry-After": "soon"}),
            Response("<html>proxy</html>", media_type="text/html"),
            Response(status_code=200, media_type="application/json"),
            Response('{"value": [', media_type="application/json"),
            Response("[1, 2]", media_type="application/json"),
            Response(status_code=302, headers={"Location": "https://portal.example/"}),
            Response(
                b"no gzip", headers={"Content-Encoding": "gzip"}, media_type="application/json"
            ),
            _cut_off,
        ],
        ids=lambda trouble: getattr(trouble, "status_code", "cut off"),
    )
    async def test_what_may_pass_is_tried_again(
        self, microsoft: Microsoft, client: DefenderClient, trouble: Any
    ) -> None:
        microsoft.script(PATH, trouble, trouble, rows({"id": "1"}))
        assert b'"1"' in (await get_alerts(client)).body
        assert len(microsoft.calls) == 3

    async def test_attempts_are_bounded(self, microsoft: Microsoft, client: DefenderClient) -> None:
        microsoft.script(PATH, error(500, "InternalServerError", "Oops."))
        with pytest.raises(DefenderUnavailableError, match=r"HTTP 500 .*: Oops") as caught:
            await get_alerts(client)
        assert len(microsoft.calls) == client.retry.attempts == 6
        assert caught.value.stream == "alert"
        assert caught.value.exit_code is ExitCode.DEFENDER

    async def test_a_used_up_quota_says_when_to_come_back(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(429, "TooManyRequests", "Slow", **{"Retry-After": "3600"}))
        with pytest.raises(DefenderUnavailableError, match="429") as caught:
            await get_alerts(client)
        assert caught.value.wait == 3600
        assert "another program" in caught.value.hint

    @pytest.mark.parametrize(
        ("trouble", "message"),
        [
            (Response("<html/>", media_type="text/html"), "answered with text/html"),
            (Response("{", media_type="application/json"), "a cut-off body"),
            (Response(status_code=204), "answered with nothing"),
            (Response("{", headers={"Content-Type": ""}), "something else"),
        ],
    )
    async def test_what_came_instead_of_json_is_named(
        self, microsoft: Microsoft, client: DefenderClient, trouble: Response, message: str
    ) -> None:
        microsoft.script(PATH, trouble)
        with pytest.raises(DefenderUnavailableError, match=message) as caught:
            await get_alerts(client)
        assert "proxy" in caught.value.hint

    async def test_retry_after_as_a_date_is_told_by_the_services_clock(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        def in_a_minute(request: Request) -> Response:
            at = datetime.now(UTC) + timedelta(minutes=1)
            return Response(
                status_code=503, headers={"Retry-After": format_datetime(at, usegmt=True)}
            )

        microsoft.script(PATH, in_a_minute)
        with pytest.raises(DefenderUnavailableError) as caught:
            await get_alerts(client)
        assert caught.value.wait is not None
        assert 57 <= caught.value.wait <= 61

    async def test_waits_follow_retry_after_up_to_the_longest(
        self, microsoft: Microsoft, waits: list[float], connect: Connect
    ) -> None:
        client = connect(retry=RetryPolicy(longest_wait=30))
        microsoft.script(
            PATH,
            Response(status_code=503, headers={"Retry-After": "7"}),
            Response(status_code=503, headers={"Retry-After": "3600"}),
            Response(status_code=503),
            rows(),
        )
        await get_alerts(client)
        assert waits[:2] == [7, 30]
        assert 0 < waits[2] <= 30
        assert len(waits) == 3

    async def test_a_429_holds_back_everybody_at_that_endpoint(
        self,
        microsoft: Microsoft,
        waits: list[float],
        connect: Connect,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        client = connect(retry=RetryPolicy(longest_wait=5))
        client.budget(PATH, 100, 1000)
        client.budget(PATH, 1, 1)  # the first one counts
        rests: list[float] = []
        budget = client._budgets[PATH]
        monkeypatch.setattr(budget, "rest", rests.append)
        microsoft.script(PATH, Response(status_code=429, headers={"Retry-After": "60"}), rows())
        await get_alerts(client)
        assert rests == [5]
        assert waits == [5]

    async def test_every_attempt_counts_against_the_quota(
        self, microsoft: Microsoft, client: DefenderClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.budget("/api/Alerts", 100, 1000)
        taken: list[int] = []

        async def take() -> None:
            taken.append(1)

        monkeypatch.setattr(client._budgets[PATH], "take", take)
        microsoft.script(PATH, Response(status_code=503), rows())
        await get_alerts(client, params={"$top": "1"})
        await client.get(f"{microsoft.url}{PATH}?$skip=1", stream="alert")
        assert len(taken) == 3

    async def test_a_body_that_never_ends_is_given_up(
        self, microsoft: Microsoft, connect: Connect
    ) -> None:
        async def dribble() -> AsyncIterator[bytes]:
            yield b'{"value": ['
            await asyncio.Event().wait()

        microsoft.script(PATH, StreamingResponse(dribble(), media_type="application/json"))
        client = connect(retry=RetryPolicy(2, total_seconds=0.2, wait=False))
        with pytest.raises(DefenderUnavailableError, match="did not answer in time"):
            await get_alerts(client)


class TestUnreachable:
    async def test_an_untrusted_host_is_named(self, microsoft: Microsoft, connect: Connect) -> None:
        client = connect()
        untrusting = DefenderClient(
            client.tokens, microsoft.cloud, tenant_label="contoso", retry=RetryPolicy(wait=False)
        )
        with pytest.raises(DefenderUnavailableError, match=r"certificate of 127\.0\.0\.1"):
            await get_alerts(untrusting)
        await untrusting.aclose()

    async def test_a_host_that_is_not_there_is_named(
        self, microsoft: Microsoft, connect: Connect
    ) -> None:
        for api, message in [
            ("https://api.invalid", "api.invalid cannot be resolved"),
            ("https://127.0.0.1:1", "127.0.0.1:1 refuses the connection"),
        ]:
            cloud = resolve_cloud("commercial", sign_in=microsoft.url, api=api)
            client = connect(cloud=cloud)
            with pytest.raises(DefenderUnavailableError, match=message):
                await get_alerts(client)

    async def test_a_port_without_tls_is_named(
        self, microsoft: Microsoft, connect: Connect
    ) -> None:
        gone = asyncio.Event()

        async def speak_plainly(reader: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ready\r\n")
            await writer.drain()
            await reader.read()
            writer.close()
            await writer.wait_closed()
            gone.set()

        server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        cloud = resolve_cloud("commercial", sign_in=microsoft.url, api=f"https://127.0.0.1:{port}")
        client = connect(cloud=cloud, retry=RetryPolicy(1, wait=False))
        with pytest.raises(DefenderUnavailableError, match="does not speak TLS"):
            await get_alerts(client)
        await gone.wait()
        server.close()
        await server.wait_closed()

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (httpx.ConnectTimeout("t"), "No connection to h within 10 s"),
            (httpx.ReadTimeout("t"), "did not answer in time"),
            (httpx.ProxyError("407 for https://u:p@proxy"), "The proxy does not lead to h: 407"),
            (httpx.RemoteProtocolError("x"), "The connection to h broke off"),
        ],
    )
    def test_the_kind_of_trouble_is_told(self, error: Exception, message: str) -> None:
        found = unreachable(error, "h")
        assert message in found.message
        assert "u:p" not in found.message

    def test_a_cause_in_a_group_of_causes_is_found(self) -> None:
        group = ExceptionGroup("all addresses", [OSError("v6"), socket.gaierror(-2, "unknown")])
        group.__context__ = group.exceptions[0]
        outer = httpx.ConnectError("x")
        outer.__cause__ = group
        assert "cannot be resolved: unknown" in unreachable(outer, "h").message
        outer.__cause__ = ssl.SSLError()
        assert "handshake failed" in unreachable(outer, "h").message

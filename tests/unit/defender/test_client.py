from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from tests.unit.defender.scripted_microsoft import Connect, Microsoft, error, rows

import aquila_mde
from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    FileUnavailableError,
    ForeignLinkError,
    NotFoundError,
    PermissionDeniedError,
    SignInError,
)
from aquila_mde.defender.times import format_ticks
from aquila_mde.defender.transport import unreachable
from aquila_mde.errors import AquilaError, ExitCode

PATH = "/api/alerts"


async def _get(client: DefenderClient, **options: Any) -> Any:
    return await client.get(PATH, stream="alert", **options)


async def _read_file(client: DefenderClient, url: str) -> bytes:
    async with client.open_file(url) as content:
        return b"".join([part async for part in content])


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of this thread, none of which takes any time."""
    noted: list[float] = []
    sleep, own = asyncio.sleep, threading.get_ident()

    async def note(seconds: float, *rest: Any) -> None:
        if threading.get_ident() != own:  # the server's
            await sleep(seconds, *rest)
            return
        if seconds:
            noted.append(seconds)
        await sleep(0, *rest)

    monkeypatch.setattr(asyncio, "sleep", note)
    return noted


async def _broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError("the connection goes away")


def _cut_off(request: Request) -> Response:
    return StreamingResponse(_broken(b'{"value": ['), media_type="application/json")


class TestAnswers:
    async def test_an_answer_has_body_status_and_the_services_time(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows({"id": "1"}))
        answer = await _get(client)
        assert answer.status == 200
        assert b'"id": "1"' in answer.body
        assert answer.server_time is not None
        assert format_ticks(answer.server_time)[:10] == datetime.now(UTC).date().isoformat()
        assert microsoft.calls[0].headers["User-Agent"] == f"aquila-mde/{aquila_mde.__version__}"

    async def test_parameters_arrive_as_they_were_given(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        condition = "lastUpdateTime ge 2026-01-01T00:00:00.1234567Z and x eq 'a+b&c=%20'"
        await _get(client, params={"$filter": condition, "$top": "10"})
        (call,) = microsoft.calls
        assert dict(call.query_params) == {"$filter": condition, "$top": "10"}
        assert "+" not in call.url.query  # not every server takes + for a blank

    async def test_one_connection_serves_many_calls(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        for _ in range(3):
            await _get(client)
        assert len({call.client for call in microsoft.calls}) == 1
        assert (client.calls("alert"), client.calls("machine")) == (3, 0)
        assert len(microsoft.token_calls) == 1

    async def test_gzip_is_decoded(self, microsoft: Microsoft, client: DefenderClient) -> None:
        body = gzip.compress(b'{"value": []}')
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        microsoft.script(PATH, Response(body, headers=headers))
        assert (await _get(client)).body == b'{"value": []}'

    async def test_a_status_that_means_nothing_is_an_empty_answer(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(404, "ResourceNotFound", "nobody here"))
        answer = await _get(client, empty_on=(404,))
        assert (answer.status, answer.body) == (404, b"")
        with pytest.raises(NotFoundError, match="nobody here"):
            await _get(client)

    async def test_an_api_below_a_path_is_reached(
        self, microsoft: Microsoft, connect: Connect
    ) -> None:
        cloud = resolve_cloud("commercial", sign_in=microsoft.url, api=f"{microsoft.url}/api/mde/")
        client = connect(cloud=cloud)
        client.budget(PATH, 100, 1000)
        microsoft.script("/api/mde/api/alerts", rows())
        assert (await _get(client)).status == 200


class TestToken:
    async def test_a_refused_token_is_replaced_once(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        await _get(client)
        microsoft.tokens.clear()
        assert (await _get(client)).status == 200
        assert len(microsoft.token_calls) == 2

    async def test_many_calls_share_the_new_token(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        await _get(client)
        microsoft.tokens.clear()
        await asyncio.gather(*(_get(client) for _ in range(8)))
        assert len(microsoft.token_calls) == 2

    async def test_a_token_that_is_refused_again_is_an_error(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(401, "Unauthorized", "no"))
        with pytest.raises(SignInError) as caught:
            await _get(client)
        assert len(microsoft.calls) == 2
        assert "tenant.resource" in caught.value.hint
        assert caught.value.stream == "alert"

    async def test_a_refused_sign_in_is_not_repeated(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.sign_in = lambda _: Response('{"error": "x"}', 401, media_type="application/json")
        with pytest.raises(SignInError):
            await _get(client)
        assert len(microsoft.token_calls) == 1

    async def test_an_outage_of_the_sign_in_is_repeated(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        answers: list[Callable[[], None]] = []

        def once_down(request: Request) -> Response:
            microsoft.sign_in = None
            answers.append(lambda: None)
            return Response(status_code=503)

        microsoft.sign_in = once_down
        assert (await _get(client)).status == 200
        assert len(microsoft.token_calls) == 2


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "hint"),
        [
            ("Forbidden", "API permissions"),
            ("DisabledFeature", "licence"),
            ("DisallowedOperation", "does not allow"),
            ("SomethingNew", "API permissions"),
        ],
    )
    async def test_403_tells_permission_from_licence(
        self, microsoft: Microsoft, client: DefenderClient, code: str, hint: str
    ) -> None:
        microsoft.script(PATH, error(403, code, "Missing application roles."))
        with pytest.raises(PermissionDeniedError) as caught:
            await _get(client)
        assert caught.value.code == code
        assert caught.value.needed is None
        assert hint in caught.value.hint
        assert caught.value.exit_code is ExitCode.PERMISSION
        assert caught.value.request_id == "request-id-of-the-answer"
        assert len(microsoft.calls) == 1

    async def test_400_says_which(self, microsoft: Microsoft, client: DefenderClient) -> None:
        microsoft.script(PATH, error(400, "ODataError", "Invalid filter near Bearer abc.def.ghi."))
        with pytest.raises(BadRequestError, match="ODataError") as caught:
            await _get(client)
        assert caught.value.code == "ODataError"
        assert "Invalid filter" in caught.value.message
        assert "abc.def" not in caught.value.message
        assert (caught.value.tenant, caught.value.stream) == ("contoso", "alert")

    @pytest.mark.parametrize(
        "body", ["", "<html/>", '{"error": null}', '{"error": {"code": null}}']
    )
    async def test_an_error_without_a_reason_is_told_by_its_status(
        self, microsoft: Microsoft, client: DefenderClient, body: str
    ) -> None:
        microsoft.script(PATH, Response(body, 405))
        with pytest.raises(BadRequestError, match="HTTP 405 Method Not Allowed") as caught:
            await _get(client)
        assert caught.value.code == "405"

    @pytest.mark.parametrize(
        "link",
        ["https://evil.example/api/alerts", "http://127.0.0.1/api/alerts", "alerts?$skip=1", ""],
    )
    async def test_a_link_out_of_the_cloud_is_not_followed(
        self, microsoft: Microsoft, client: DefenderClient, link: str
    ) -> None:
        with pytest.raises(ForeignLinkError, match="token was not sent") as caught:
            await client.get(link, stream="alert")
        assert caught.value.stream == "alert"
        assert not microsoft.token_calls

    async def test_a_link_of_the_cloud_is_followed_as_it_is(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        await client.get(f"{microsoft.url}{PATH}?$skiptoken=a%2Bb%20c", stream="alert")
        assert microsoft.calls[0].url.query == "$skiptoken=a%2Bb%20c"


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
        assert b'"1"' in (await _get(client)).body
        assert len(microsoft.calls) == 3

    async def test_attempts_are_bounded(self, microsoft: Microsoft, client: DefenderClient) -> None:
        microsoft.script(PATH, error(500, "InternalServerError", "Oops."))
        with pytest.raises(DefenderUnavailableError, match=r"HTTP 500 .*: Oops") as caught:
            await _get(client)
        assert len(microsoft.calls) == client.retry.attempts == 6
        assert caught.value.stream == "alert"
        assert caught.value.exit_code is ExitCode.DEFENDER

    async def test_a_used_up_quota_says_when_to_come_back(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(429, "TooManyRequests", "Slow", **{"Retry-After": "3600"}))
        with pytest.raises(DefenderUnavailableError, match="429") as caught:
            await _get(client)
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
            await _get(client)
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
            await _get(client)
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
        await _get(client)
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
        await _get(client)
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
        await _get(client, params={"$top": "1"})
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
            await _get(client)


class TestUnreachable:
    async def test_an_untrusted_host_is_named(self, microsoft: Microsoft, connect: Connect) -> None:
        client = connect()
        untrusting = DefenderClient(
            client.tokens, microsoft.cloud, tenant_label="contoso", retry=RetryPolicy(wait=False)
        )
        with pytest.raises(DefenderUnavailableError, match=r"certificate of 127\.0\.0\.1"):
            await _get(untrusting)
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
                await _get(client)

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
            await _get(client)
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


class TestFiles:
    async def test_a_file_comes_without_token_and_as_it_is(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        headers = {"Content-Encoding": "gzip"}
        microsoft.script("/store/part-0.gz", Response(b"raw bytes", headers=headers))
        data = await _read_file(client, f"{microsoft.url}/store/part-0.gz?sig=S3CR3T")
        assert data == b"raw bytes"
        assert "Authorization" not in microsoft.calls[0].headers
        assert microsoft.calls[0].query_params["sig"] == "S3CR3T"

    @pytest.mark.parametrize(
        "answer",
        [
            Response("<Error>AuthenticationFailed</Error>", 403),
            lambda request: StreamingResponse(_broken(b"some")),
            lambda request: Response(b"short", headers={"Content-Length": "100"}),
        ],
        ids=["expired", "reset", "wrong length"],
    )
    async def test_no_error_and_no_log_shows_the_link(
        self,
        microsoft: Microsoft,
        client: DefenderClient,
        caplog: pytest.LogCaptureFixture,
        answer: Any,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        microsoft.script("/store/part-0.gz", answer)
        with pytest.raises(FileUnavailableError) as caught:
            await _read_file(client, f"{microsoft.url}/store/part-0.gz?sig=S3CR3T")
        assert "127.0.0.1" in caught.value.message
        assert "HTTP Request: GET" in caplog.text
        assert "S3CR3T" not in str(caught.value) + caplog.text
        cause = caught.value.__cause__ or caught.value.__context__
        assert cause is None or caught.value.__suppress_context__

    async def test_a_link_that_is_none_is_an_error_too(self, client: DefenderClient) -> None:
        for link in ("https://[bad/part?sig=S3CR3T", "ftp://host/part?sig=S3CR3T"):
            with pytest.raises(FileUnavailableError) as caught:
                await _read_file(client, link)
            assert "S3CR3T" not in str(caught.value)


async def test_errors_know_the_tenant_by_its_label(
    microsoft: Microsoft, client: DefenderClient
) -> None:
    microsoft.discovery = lambda _: Response(status_code=500)
    with pytest.raises(AquilaError) as caught:
        await _get(client)
    assert caught.value.tenant == "contoso"

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

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

import aquila_mde
from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.errors import (
    BadRequestError,
    FileUnavailableError,
    ForeignLinkError,
    NotFoundError,
    PermissionDeniedError,
    SignInError,
)
from aquila_mde.defender.times import format_ticks
from aquila_mde.errors import AquilaError, ExitCode


async def _read_file(client: DefenderClient, url: str) -> bytes:
    async with client.open_file(url) as content:
        return b"".join([part async for part in content])


class TestAnswers:
    async def test_an_answer_has_body_status_and_the_services_time(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows({"id": "1"}))
        answer = await get_alerts(client)
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
        await get_alerts(client, params={"$filter": condition, "$top": "10"})
        (call,) = microsoft.calls
        assert dict(call.query_params) == {"$filter": condition, "$top": "10"}
        assert "+" not in call.url.query  # not every server takes + for a blank

    async def test_one_connection_serves_many_calls(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        for _ in range(3):
            await get_alerts(client)
        assert len({call.client for call in microsoft.calls}) == 1
        assert (client.calls("alert"), client.calls("machine")) == (3, 0)
        assert len(microsoft.token_calls) == 1

    async def test_gzip_is_decoded(self, microsoft: Microsoft, client: DefenderClient) -> None:
        body = gzip.compress(b'{"value": []}')
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        microsoft.script(PATH, Response(body, headers=headers))
        assert (await get_alerts(client)).body == b'{"value": []}'

    async def test_a_status_that_means_nothing_is_an_empty_answer(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(404, "ResourceNotFound", "nobody here"))
        answer = await get_alerts(client, empty_on=(404,))
        assert (answer.status, answer.body) == (404, b"")
        with pytest.raises(NotFoundError, match="nobody here"):
            await get_alerts(client)

    async def test_an_api_below_a_path_is_reached(
        self, microsoft: Microsoft, connect: Connect
    ) -> None:
        cloud = resolve_cloud("commercial", sign_in=microsoft.url, api=f"{microsoft.url}/api/mde/")
        client = connect(cloud=cloud)
        client.budget(PATH, 100, 1000)
        microsoft.script("/api/mde/api/alerts", rows())
        assert (await get_alerts(client)).status == 200


class TestToken:
    async def test_a_refused_token_is_replaced_once(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        await get_alerts(client)
        microsoft.tokens.clear()
        assert (await get_alerts(client)).status == 200
        assert len(microsoft.token_calls) == 2

    async def test_many_calls_share_the_new_token(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, rows())
        await get_alerts(client)
        microsoft.tokens.clear()
        await asyncio.gather(*(get_alerts(client) for _ in range(8)))
        assert len(microsoft.token_calls) == 2

    async def test_a_token_that_is_refused_again_is_an_error(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(401, "Unauthorized", "no"))
        with pytest.raises(SignInError) as caught:
            await get_alerts(client)
        assert len(microsoft.calls) == 2
        assert "tenant.resource" in caught.value.hint
        assert caught.value.stream == "alert"

    async def test_a_refused_sign_in_is_not_repeated(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.sign_in = lambda _: Response('{"error": "x"}', 401, media_type="application/json")
        with pytest.raises(SignInError):
            await get_alerts(client)
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
        assert (await get_alerts(client)).status == 200
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
            await get_alerts(client)
        assert caught.value.code == code
        assert caught.value.needed is None
        assert hint in caught.value.hint
        assert caught.value.exit_code is ExitCode.PERMISSION
        assert caught.value.request_id == "request-id-of-the-answer"
        assert len(microsoft.calls) == 1

    async def test_400_says_which(self, microsoft: Microsoft, client: DefenderClient) -> None:
        microsoft.script(PATH, error(400, "ODataError", "Invalid filter near Bearer abc.def.ghi."))
        with pytest.raises(BadRequestError, match="ODataError") as caught:
            await get_alerts(client)
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
            await get_alerts(client)
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
            lambda request: StreamingResponse(broken(b"some")),
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
        await get_alerts(client)
    assert caught.value.tenant == "contoso"

"""The connection to an engine, and the errors that a person reads when there is none."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from aiohttp import web
from pydantic import SecretStr
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import (
    GREETING,
    OPENSEARCH,
    Refusing,
    Scripted,
    Seen,
    Server,
    json,
    refusal,
)

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import (
    EngineAccessError,
    EngineRefusedError,
    EngineUnavailableError,
)
from aquila_mde.elastic.retry import RetryPolicy
from aquila_mde.errors import ExitCode
from aquila_mde.settings import ElasticsearchSettings


async def connected(server: Server, **settings: Any) -> Engine:
    return await Engine.connect(ElasticsearchSettings(url=server.url, **settings), retry=AT_ONCE)


async def test_the_real_engine_introduces_itself(engine: Engine) -> None:
    assert engine.info.flavour in ("elasticsearch", "opensearch")
    assert engine.info.version[0].isdigit()
    answer = await engine.request("GET", "_cluster/health")
    assert answer["cluster_name"] == engine.info.name


@pytest.mark.parametrize(
    ("greeting", "flavour"),
    [
        (GREETING, "elasticsearch"),
        (OPENSEARCH, "opensearch"),
        # Amazon's service can be told to look like the Elasticsearch it came from.
        (OPENSEARCH | {"version": {"number": "7.10.2"}}, "opensearch"),
    ],
)
async def test_the_flavour_is_told_from_the_greeting(
    greeting: dict[str, Any], flavour: str
) -> None:
    async with Scripted(greeting=greeting) as server, await connected(server) as engine:
        assert engine.info.flavour == flavour
        assert engine.info.version == greeting["version"]["number"]
        assert engine.info.name == "scripted"


async def test_the_plugins_of_opensearch_are_known() -> None:
    class WithPlugins(Scripted):
        async def answer(self, seen: Seen) -> web.Response | None:
            if seen.path == "_cat/plugins":
                return json([{"component": "opensearch-index-management", "version": "3.8"}])
            return await super().answer(seen)

    async with WithPlugins(greeting=OPENSEARCH) as server, await connected(server) as engine:
        assert engine.info.plugins == {"opensearch-index-management"}


async def test_a_user_who_may_not_list_plugins_still_connects() -> None:
    class Closed(Scripted):
        async def answer(self, seen: Seen) -> web.Response | None:
            if seen.path == "_cat/plugins":
                return refusal(403, "security_exception", "no permissions for [x] and User [y]")
            return await super().answer(seen)

    async with Closed(greeting=OPENSEARCH) as server, await connected(server) as engine:
        assert engine.info.plugins == frozenset()


async def test_an_engine_that_is_older_than_tested_is_told() -> None:
    old = GREETING | {"version": {"number": "8.11.1"}}
    with structlog.testing.capture_logs() as logs:
        async with Scripted(greeting=old) as server, await connected(server):
            pass
    assert [(line["version"], line["oldest"]) for line in logs] == [("8.11.1", "8.19")]


async def test_only_plain_media_types_are_sent() -> None:
    """Elasticsearch 8 and OpenSearch refuse the media types of version 9."""
    async with (
        Scripted(json({"a": 1}), json({"items": []})) as server,
        await connected(server) as engine,
    ):
        assert await engine.request("PUT", "x", {"b": 2}) == {"a": 1}
        await engine.client.search(index="x", query={"match_all": {}})
    for seen in server.seen:
        assert "vnd.elasticsearch" not in str(seen.headers)
        assert "accept-encoding" not in seen.headers
    assert server.seen[1].json == {"b": 2}
    assert server.seen[1].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"api_key": SecretStr("bW9udA==")}, "ApiKey bW9udA=="),
        ({"api_key": SecretStr("id:key")}, "ApiKey " + base64.b64encode(b"id:key").decode()),
        (
            {"username": "u", "password": SecretStr("geheim")},
            "Basic " + base64.b64encode(b"u:geheim").decode(),
        ),
    ],
)
async def test_every_request_is_signed(settings: dict[str, Any], header: str) -> None:
    async with (
        Scripted(json({}), json({})) as server,
        await connected(server, **settings) as engine,
    ):
        await engine.request("GET", "x")
        await engine.bulk("i", b"{}\n")
    assert [seen.headers["authorization"] for seen in server.seen] == [header] * 3


async def test_a_warning_of_the_engine_is_a_line_in_the_log_only() -> None:
    warned = json({}, warning='299 Elasticsearch-9 "old"')
    with structlog.testing.capture_logs() as logs:
        async with Scripted(warned) as server, await connected(server) as engine:
            await engine.request("GET", "x")
    assert [line["warning"] for line in logs] == ['299 Elasticsearch-9 "old"']


async def test_a_large_body_arrives_whole_over_tls(authority: trustme.CA, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    body = b'{"create":{}}\n' * 300_000
    async with (
        Scripted(json({"errors": False}), tls=context) as server,
        await connected(server, ca_file=ca_file) as engine,
    ):
        assert await engine.bulk("a b", body, params={"filter_path": "errors"})
    assert server.seen[1].body == body
    assert server.seen[1].path == "a b/_bulk"
    assert server.seen[1].query == {"filter_path": "errors"}
    assert server.seen[1].headers["content-type"] == "application/x-ndjson"


async def test_statuses_that_are_expected_are_answers() -> None:
    async with (
        Scripted(json({"x": 1}, 409), json({}, 404), json({}, 404)) as server,
        await connected(server) as engine,
    ):
        assert await engine.request("PUT", "x", {}, ok=(200, 409)) == {"x": 1}
        assert await engine.request("GET", "x", missing_ok=True) is None
        with pytest.raises(EngineRefusedError) as caught:
            await engine.request("GET", "x")
    assert caught.value.status == 404


async def test_a_refusal_is_told_in_the_engines_words() -> None:
    error = {
        "type": "illegal_argument_exception",
        "reason": "no",
        "caused_by": {"reason": "no", "caused_by": {"reason": "because", "caused_by": None}},
    }
    async with Scripted(json({"error": error}, 400)) as server, await connected(server) as engine:
        with pytest.raises(EngineRefusedError) as caught:
            await engine.request("PUT", "_index_template/x", {})
    assert caught.value.error_type == "illegal_argument_exception"
    assert caught.value.exit_code is ExitCode.ENGINE
    assert caught.value.message == (
        f"localhost:{server.port} answered 400 to PUT /_index_template/x: "
        "illegal_argument_exception: no: because"
    )


async def test_a_refusal_without_a_word_is_told_by_its_status() -> None:
    async with Scripted(json({}, 400)) as server, await connected(server) as engine:
        with pytest.raises(EngineRefusedError) as caught:
            await engine.request("PUT", "x", {})
    assert caught.value.message == f"localhost:{server.port} answered 400 to PUT /x"


async def test_an_overloaded_engine_is_asked_again() -> None:
    busy = refusal(429, "circuit_breaking_exception", "too much")
    async with (
        Scripted(busy, None, json({"a": 1})) as server,
        await connected(server) as engine,
    ):
        assert await engine.request("GET", "x") == {"a": 1}
    assert len(server.seen) == 4


async def test_the_attempts_are_bounded() -> None:
    async with (
        Scripted(*[json("busy", 503, retry_after="7")] * 3) as server,
        await connected(server) as engine,
    ):
        with pytest.raises(EngineUnavailableError, match="answered 503 to GET /x: busy") as caught:
            await engine.request("GET", "x")
    assert caught.value.wait == 7
    assert server.answers == []


async def test_what_must_not_be_done_twice_is_done_once() -> None:
    async with Scripted(None) as server, await connected(server) as engine:
        with pytest.raises(EngineUnavailableError):
            await engine.request("POST", "x/_rollover", repeat=False)
    assert len(server.asked("POST", "x")) == 1


@pytest.mark.parametrize(
    ("settings", "said", "hint"),
    [
        ({"api_key": SecretStr("geheim")}, "does not accept the API key", "ES_API_KEY"),
        (
            {"username": "u", "password": SecretStr("geheim")},
            "does not accept the user or password",
            "ES_PASSWORD",
        ),
        ({}, "wants a login", "ES_API_KEY"),
    ],
)
async def test_a_wrong_login_names_the_setting(
    settings: dict[str, Any], said: str, hint: str
) -> None:
    async with Refusing(refusal(401, "security_exception", "missing credentials")) as server:
        with pytest.raises(EngineAccessError) as caught:
            await connected(server, **settings)
    assert str(caught.value).startswith(f"localhost:{server.port} {said}")
    assert hint in caught.value.hint
    assert caught.value.exit_code is ExitCode.ENGINE_ACCESS
    assert "geheim" not in str(caught.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reason", "privilege", "hint"),
    [
        (
            "action [indices:admin/index_template/put] is unauthorized for API key id [k] of user "
            "[u], this action is granted by the cluster privileges "
            "[manage_index_templates,manage,all]",
            "manage_index_templates",
            "the cluster privilege manage_index_templates",
        ),
        (
            "action [indices:data/write/bulk[s]] is unauthorized for API key id [k], this action "
            "is granted by the index privileges [create_doc,create,all]",
            "create_doc",
            "the index privilege create_doc",
        ),
        (
            "no permissions for [cluster:admin/ingest/pipeline/put] and User [name=u, roles=[]]",
            "cluster:admin/ingest/pipeline/put",
            "the permission cluster:admin/ingest/pipeline/put",
        ),
        ("forbidden by the proxy", "", "the privilege for it"),
        ("", "", "the privilege for it"),
    ],
)
async def test_a_missing_privilege_is_named(reason: str, privilege: str, hint: str) -> None:
    async with (
        Scripted(refusal(403, "security_exception", reason)) as server,
        await connected(server) as engine,
    ):
        with pytest.raises(EngineAccessError) as caught:
            await engine.request("PUT", "_index_template/x", {})
    assert caught.value.privilege == privilege
    assert hint in caught.value.hint
    assert "does not allow PUT /_index_template/x" in caught.value.message


async def test_a_full_disk_is_told_as_such() -> None:
    reason = (
        "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, "
        "index has read-only-allow-delete block];"
    )
    async with (
        Scripted(*[refusal(429, "cluster_block_exception", reason)] * 3) as server,
        await connected(server) as engine,
    ):
        with pytest.raises(EngineUnavailableError, match="does not take writes") as caught:
            await engine.request("PUT", "x/_doc/1", {})
    assert "disk of the engine is full" in caught.value.hint


async def test_a_bulk_request_that_fails_is_named() -> None:
    async with (
        Scripted(None, json("busy", 503, retry_after="soon")) as server,
        await connected(server) as engine,
    ):
        with pytest.raises(EngineUnavailableError, match="broke") as caught:
            await engine.bulk("i", b"{}\n")
        assert "http" not in caught.value.message
        with pytest.raises(EngineUnavailableError, match="503 to POST /i/_bulk: busy") as caught:
            await engine.bulk("i", b"{}\n")
    assert caught.value.wait is None


async def test_a_connection_that_breaks_under_tls_has_its_own_hint(
    authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with (
        Scripted(None, tls=context) as server,
        await connected(server, ca_file=tmp_path / "ca.pem") as engine,
    ):
        with pytest.raises(EngineUnavailableError, match="broke") as caught:
            await engine.request("POST", "x", repeat=False)
    assert "log" in caught.value.hint


async def test_a_wait_the_engine_asks_for_is_kept_within_bounds() -> None:
    error = EngineUnavailableError("busy")
    error.wait = 100.0
    assert RetryPolicy(longest_wait=5)._backoff(error) == 5
    assert RetryPolicy(wait=False)._backoff(error) is True
    assert RetryPolicy()._backoff(ValueError()) is False

"""Something else than an engine, or nothing: each is told by what it is."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import Refusing, Scripted, Server, json

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import (
    EngineAccessError,
    EngineUnavailableError,
)
from aquila_mde.elastic.retry import RetryPolicy
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.settings import ElasticsearchSettings


async def connected(server: Server, **settings: Any) -> Engine:
    return await Engine.connect(ElasticsearchSettings(url=server.url, **settings), retry=AT_ONCE)


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (web.Response(status=404, text="<html>nothing</html>"), "it answers 404"),
        (web.Response(text="<!DOCTYPE html><title>Kibana</title>"), "answers: a web page"),
        (json({"status": "ok"}), "it answers"),
        (json(["x"]), "it answers"),
        (web.Response(text="{", content_type="application/json"), "not JSON"),
    ],
)
async def test_something_else_than_an_engine_is_recognised(
    answer: web.Response, finding: str
) -> None:
    async with Refusing(answer) as server:
        with pytest.raises(
            EngineAccessError, match="neither Elasticsearch nor OpenSearch"
        ) as caught:
            await connected(server)
    assert finding in caught.value.message
    assert "Kibana" in caught.value.hint


async def test_a_host_without_a_name_is_told() -> None:
    settings = ElasticsearchSettings(url="https://engine.invalid:9200")
    with pytest.raises(
        EngineUnavailableError, match=r"engine\.invalid:9200 is not known"
    ) as caught:
        await Engine.connect(settings, retry=RetryPolicy(attempts=1))
    assert "ES_URL" in caught.value.hint


async def test_a_port_where_nothing_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = ElasticsearchSettings(url=f"http://127.0.0.1:{port}")
    with pytest.raises(EngineUnavailableError, match="connection is refused") as caught:
        await Engine.connect(settings, retry=AT_ONCE)
    assert caught.value.exit_code is ExitCode.ENGINE


async def test_an_engine_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aquila_mde.elastic.client._REQUEST_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = ElasticsearchSettings(url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(EngineUnavailableError, match="did not answer in time"):
            await Engine.connect(settings, retry=RetryPolicy(attempts=1))


async def test_a_certificate_of_an_unknown_authority_is_told(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with Scripted(tls=context) as server:
        with pytest.raises(
            EngineAccessError, match=r"certificate of localhost:\d+ is not accepted"
        ) as caught:
            await connected(server)
    assert "ES_CA_FILE" in caught.value.hint


async def test_tls_to_a_plain_port_is_told() -> None:
    async with Scripted() as server:
        settings = ElasticsearchSettings(url=server.url.replace("http:", "https:"))
        with pytest.raises(EngineAccessError, match="No TLS connection") as caught:
            await Engine.connect(settings, retry=AT_ONCE)
    assert "http://" in caught.value.hint


async def test_plain_http_to_a_tls_port_is_told(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with Scripted(tls=context) as server:
        settings = ElasticsearchSettings(url=server.url.replace("https:", "http:"))
        with pytest.raises(EngineUnavailableError, match="broke") as caught:
            await Engine.connect(settings, retry=AT_ONCE)
    assert "https://" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), ("no certificate", "no certificate")]
)
async def test_a_ca_file_that_is_none_is_told(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = ElasticsearchSettings(url="https://localhost:1", ca_file=file)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        await Engine.connect(settings, retry=AT_ONCE)
    assert str(file) in caught.value.message


async def test_a_ca_file_without_tls_is_told(tmp_path: Path) -> None:
    settings = ElasticsearchSettings(url="http://localhost:1", ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match="http://"):
        await Engine.connect(settings, retry=AT_ONCE)

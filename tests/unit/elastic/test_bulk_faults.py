"""What goes wrong between the collector and the engine, and what must not come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import (
    CREATED,
    INDEX,
    Proxy,
    Scripted,
    Seen,
    answered,
    json,
    refusal,
)
from tests.unit.elastic.test_bulk import ids, item, results, url_of
from tests.unit.elastic.trees import Tree

from aquila_mde.elastic.bulk import BulkSink, Item, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import (
    EngineRefusedError,
    EngineUnavailableError,
)
from aquila_mde.settings import ElasticsearchSettings

BUSY = {"type": "es_rejected_execution_exception", "reason": "queue is full"}
Through = Callable[..., AbstractAsyncContextManager[tuple[BulkSink, Proxy]]]


@pytest.fixture
def through(engine: Engine) -> Through:
    """A sink behind a proxy with faults."""

    @asynccontextmanager
    async def behind(*faults: Any, **settings: Any) -> AsyncIterator[tuple[BulkSink, Proxy]]:
        async with (
            Proxy(await url_of(engine), *faults) as proxy,
            await Engine.connect(proxy.settings, retry=AT_ONCE) as connected,
        ):
            yield BulkSink(connected, retry=AT_ONCE, **settings), proxy

    return behind


def refuse(*places: int, status: int = 429) -> Callable[[Any], Any]:
    """Change an answer as if the engine had not taken the documents at ``places``."""

    def change(answer: Any) -> Any:
        answer["errors"] = True
        for place in places:
            answer["items"][place]["create"] = {"_index": "x", "status": status, "error": BUSY}
        return answer

    return change


async def test_only_the_documents_that_were_refused_are_sent_again(
    installed: Tree, through: Through
) -> None:
    async with through(refuse(1, 3), refuse(0, status=503)) as (sink, proxy):
        outcomes = await sink.send(installed.index, [item(name) for name in "abcde"])
    sent = [seen.body for seen in proxy.asked("POST", installed.index)]
    assert [body.count(b"create") for body in sent] == [5, 2, 1]
    assert b'"b"' in sent[1]
    assert b'"d"' in sent[1]
    # The proxy only played the refusal: the engine had the documents.
    exists, created = Result.EXISTS, Result.CREATED
    assert results(outcomes) == [created, exists, created, exists, created]


@pytest.mark.parametrize(
    "fault",
    [
        json({"error": BUSY}, 429),
        json({"error": BUSY}, 503),
        web.Response(status=502, text="<html>bad gateway</html>"),
        web.Response(text="<html>log in</html>"),
        json({"errors": False, "items": []}),
        "before",
        "after",
    ],
    ids=["429", "503", "502", "page", "too short", "cut before", "cut after"],
)
async def test_a_request_without_an_answer_is_repeated_and_writes_once(
    installed: Tree, engine: Engine, through: Through, fault: Any
) -> None:
    async with through(fault, fault) as (sink, _):
        outcomes = await sink.send(installed.index, [item("a"), item("b")])
    assert {outcome.result for outcome in outcomes} <= {Result.CREATED, Result.EXISTS}
    assert len(outcomes) == 2
    assert await ids(engine, installed) == ["a", "b"]


async def test_a_rollover_behind_a_lost_answer_makes_no_second_copy(
    installed: Tree, engine: Engine
) -> None:
    class RollsOver(Proxy):
        async def answer(self, seen: Seen) -> web.Response | None:
            answer = await super().answer(seen)
            if answer is None:
                await engine.request("POST", f"{installed.index}/_rollover")
            return answer

    async with (
        RollsOver(await url_of(engine), "after") as proxy,
        await Engine.connect(proxy.settings, retry=AT_ONCE) as connected,
    ):
        sink = BulkSink(connected, retry=AT_ONCE)
        outcomes = await sink.send(installed.index, [item("a"), item("b")])
    assert results(outcomes) == [Result.EXISTS] * 2
    assert await ids(engine, installed) == ["a", "b"]


async def test_an_engine_that_stays_away_is_an_error_and_nothing_is_delivered(
    installed: Tree, through: Through
) -> None:
    async with through(*["before"] * 9) as (sink, proxy):
        with pytest.raises(EngineUnavailableError):
            await sink.send(installed.index, [item("a")])
        assert len(proxy.asked("POST", installed.index)) == AT_ONCE.attempts
        proxy.faults.clear()
        assert results(await sink.send(installed.index, [item("a")])) == [Result.CREATED]


async def test_one_part_that_fails_ends_the_others(installed: Tree, through: Through) -> None:
    async with through(*["before"] * 99, max_documents=1, concurrency=1) as (sink, proxy):
        with pytest.raises(EngineUnavailableError):
            await sink.send(installed.index, [item(name) for name in "abcdef"])
        sent = len(proxy.asked("POST", installed.index))
        assert sent < 6 * AT_ONCE.attempts


async def test_documents_that_stay_refused_are_an_error(installed: Tree, through: Through) -> None:
    async with through(*[refuse(0)] * 3) as (sink, _):
        with pytest.raises(EngineUnavailableError, match="queue is full") as caught:
            await sink.send(installed.index, [item("a")])
    assert "answers 429" in caught.value.message


async def test_a_body_that_is_too_large_is_halved_until_it_fits(
    installed: Tree, engine: Engine
) -> None:
    class Narrow(Proxy):
        async def answer(self, seen: Seen) -> web.Response | None:
            if len(seen.body) > 200_000:
                return web.Response(status=413, text="<html>Request Entity Too Large</html>")
            return await super().answer(seen)

    def large(name: str, size: int = 60_000) -> Item:
        return item(name, text=f'"{"x" * size}"')

    async with (
        Narrow(await url_of(engine)) as proxy,
        await Engine.connect(proxy.settings, retry=AT_ONCE) as connected,
    ):
        sink = BulkSink(connected, retry=AT_ONCE)
        items = [large(str(number)) for number in range(8)] + [large("huge", 300_000)]
        outcomes = await sink.send(installed.index, items)
        assert results(outcomes) == [*[Result.CREATED] * 8, Result.DEAD]
        assert outcomes[-1].reason_type == "request_too_large"
        before = len(proxy.asked("POST", installed.index))
        await sink.send(installed.index, [large(f"n{number}") for number in range(8)])
        sent = proxy.asked("POST", installed.index)[before:]
        assert all(len(seen.body) <= 200_000 for seen in sent)


async def test_concurrency_is_bounded_over_all_calls(installed: Tree, engine: Engine) -> None:
    async with (
        Proxy(await url_of(engine)) as proxy,
        await Engine.connect(proxy.settings, retry=AT_ONCE) as connected,
    ):
        sink = BulkSink(connected, concurrency=3, max_documents=2)
        names = [[f"{call}-{number}" for number in range(10)] for call in range(4)]
        answers = await asyncio.gather(
            *(sink.send(installed.index, [item(name) for name in call]) for call in names)
        )
    assert [results(answer) for answer in answers] == [[Result.CREATED] * 10] * 4
    assert 2 <= proxy.most_under_way <= 3


def small(number: int) -> list[Item]:
    return [item(f"{number}-{place}") for place in range(number)]


async def test_more_is_sent_at_once_where_the_engine_is_far_away(
    installed: Tree, through: Through
) -> None:
    async with through(*["late"] * 200, max_documents=1) as (sink, proxy):
        outcomes = await sink.send(installed.index, small(200))
    assert results(outcomes) == [Result.CREATED] * 200
    assert proxy.most_under_way > 4


@pytest.mark.parametrize(
    "fault",
    [
        refusal(429, "circuit_breaking_exception", "Data too large"),
        refusal(503, "unavailable_shards_exception", "primary shard is not active"),
        refuse(0, status=429),
        refuse(0, status=503),
        "before",
        "after",
    ],
    ids=["429", "503", "429 of one", "503 of one", "cut", "lost"],
)
async def test_an_engine_that_cannot_follow_gets_less_at_once(
    installed: Tree, through: Through, fault: Any
) -> None:
    async with through(fault) as (sink, _):
        before = sink.concurrency.limit
        outcomes = await sink.send(installed.index, small(3))
        assert set(results(outcomes)) <= {Result.CREATED, Result.EXISTS}
        assert sink.concurrency.limit == before // 2


@pytest.mark.parametrize("status", [400, 500])
async def test_a_document_that_cannot_be_taken_does_not_slow_the_others_down(
    installed: Tree, through: Through, status: int
) -> None:
    async with through(*[refuse(0, status=status)] * 3) as (sink, _):
        before = sink.concurrency.limit
        await sink.send(installed.index, [item("a"), item("b")])
        assert sink.concurrency.limit == before


async def through_a_filter(compression: str, *statuses: int) -> list[Seen]:
    """What arrives of a large body behind something that gives ``statuses`` first."""
    answers = [refusal(status, "", "not here") for status in statuses]
    async with Scripted(*answers, answered(CREATED)) as server:
        settings = server.settings.model_copy(update={"compression": compression})
        async with await Engine.connect(settings, retry=AT_ONCE) as engine:
            sink = BulkSink(engine, retry=AT_ONCE)
            # As if its first bodies had gone plain, over a slow line.
            for _ in range(3):
                sink._compression.answered(False, 1 << 20, 1.0, b"")
            outcomes = await sink.send(INDEX, [item("a", text='"' + "x" * 100_000 + '"')])
        assert results(outcomes) == [Result.CREATED]
        return server.asked("POST", INDEX)


async def test_a_body_as_gzip_is_the_same_body(installed: Tree, engine: Engine) -> None:
    settings = ElasticsearchSettings(url=await url_of(engine), compression="always")
    async with await Engine.connect(settings, retry=AT_ONCE) as connected:
        outcomes = await BulkSink(connected).send(installed.index, small(20))
    assert results(outcomes) == [Result.CREATED] * 20
    assert await ids(engine, installed) == sorted(each.id for each in small(20))
    (plain,) = await through_a_filter("never")
    (packed,) = await through_a_filter("always")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 2_000
    assert packed.body == plain.body


@pytest.mark.parametrize("status", [400, 415])
async def test_what_takes_no_gzip_gets_the_body_as_it_is(status: int) -> None:
    packed, plain = await through_a_filter("auto", status)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.body == plain.body
    with pytest.raises(EngineRefusedError):
        await through_a_filter("always", status)

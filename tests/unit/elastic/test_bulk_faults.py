"""What goes wrong between the collector and the engine, and what must not come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import Proxy, Scripted, Seen, json, refusal
from tests.unit.elastic.test_bulk import ids, item, results, url_of
from tests.unit.elastic.trees import Tree

from aquila_mde.elastic.bulk import BulkSink, Item, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import (
    AssetsMissingError,
    EngineAccessError,
    EngineRefusedError,
    EngineUnavailableError,
)
from aquila_mde.settings import ElasticsearchSettings

INDEX = "logs-pack.alert-default"
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


async def scripted(*answers: web.Response | None, **kwargs: Any) -> list[Any]:
    async with (
        Scripted(*answers) as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        sink = BulkSink(engine, retry=AT_ONCE)
        return await sink.send(INDEX, [item("a"), item("b")])


def answered(*creates: dict[str, Any]) -> web.Response:
    return json({"errors": True, "items": [{"create": create} for create in creates]})


CREATED = {"_index": f".ds-{INDEX}-000001", "status": 201}


async def test_a_missing_privilege_is_no_dead_letter() -> None:
    error = {
        "type": "security_exception",
        "reason": "action [indices:data/write/bulk[s]] is unauthorized for API key id [k], this "
        "action is granted by the index privileges [create_doc,create,all]",
    }
    with pytest.raises(EngineAccessError) as caught:
        await scripted(answered(CREATED, {"_index": INDEX, "status": 403, "error": error}))
    assert caught.value.privilege == "create_doc"
    assert INDEX in caught.value.message


async def test_a_wrong_key_ends_the_call_at_once() -> None:
    with pytest.raises(EngineAccessError):
        await scripted(refusal(401, "security_exception", "no"))


async def test_an_index_that_may_not_be_made_is_told() -> None:
    error = {"type": "index_not_found_exception", "reason": "no such index"}
    with pytest.raises(AssetsMissingError, match="no such index"):
        await scripted(answered(CREATED, {"_index": INDEX, "status": 404, "error": error}))


async def test_another_refusal_of_the_whole_request_is_told() -> None:
    with pytest.raises(EngineRefusedError, match="answered 400"):
        await scripted(refusal(400, "illegal_argument_exception", "no"))


async def test_a_full_disk_is_no_dead_letter() -> None:
    reason = (
        "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, "
        "index has read-only-allow-delete block];"
    )
    error = {"type": "cluster_block_exception", "reason": reason}
    full = {"_index": INDEX, "status": 429, "error": error}
    with pytest.raises(EngineUnavailableError, match="flood-stage") as caught:
        await scripted(*[answered(full, full)] * 3)
    assert "disk of the engine is full" in caught.value.hint


async def test_a_document_in_the_failure_store_is_dead() -> None:
    """Elasticsearch 9 says 201 for a document that it puts aside."""
    aside = {"_index": f".fs-{INDEX}-000002", "status": 201}
    mixed = json({"errors": False, "items": [{"create": CREATED}, {"create": aside}]})
    assert results(await scripted(mixed)) == [Result.CREATED, Result.DEAD]
    both = json({"errors": False, "items": [{"create": aside}] * 2})
    outcomes = await scripted(both)
    assert results(outcomes) == [Result.DEAD] * 2
    assert outcomes[0].reason_type == "failure_store"


async def test_the_reasons_behind_a_reason_are_told() -> None:
    error = {
        "type": "document_parsing_exception",
        "reason": "failed to parse field [a]",
        "caused_by": {"type": "x", "reason": "it is no date"},
    }
    outcomes = await scripted(answered(CREATED, {"_index": "i", "status": 400, "error": error}))
    assert outcomes[1].reason == "failed to parse field [a]: it is no date"


async def test_what_seems_broken_is_asked_about_alone() -> None:
    error = {"type": "parse_exception", "reason": "Failed to parse content to map"}
    broken = {"_index": INDEX, "status": 400, "error": error}
    outcomes = await scripted(answered(CREATED, broken), answered(broken))
    assert results(outcomes) == [Result.CREATED, Result.DEAD]


STUMBLED = {
    "_index": INDEX,
    "status": 500,
    "error": {"type": "null_pointer_exception", "reason": "at Script.execute"},
}


async def test_a_document_at_which_the_engine_stumbles_every_time_is_dead() -> None:
    outcomes = await scripted(answered(CREATED, STUMBLED), *[answered(STUMBLED)] * 2)
    assert results(outcomes) == [Result.CREATED, Result.DEAD]
    assert (outcomes[1].status, outcomes[1].reason_type) == (500, "null_pointer_exception")


async def test_an_engine_that_stumbles_and_falls_is_an_error() -> None:
    with pytest.raises(EngineUnavailableError, match="broke"):
        await scripted(answered(CREATED, STUMBLED), answered(STUMBLED), None)
    busy = {"_index": INDEX, "status": 503, "error": BUSY}
    with pytest.raises(EngineUnavailableError):
        await scripted(*[answered(STUMBLED, busy)] * 3)


class WriteOnly(Scripted):
    """An engine and a key that may write documents and nothing else."""

    async def answer(self, seen: Seen) -> web.Response | None:
        if seen.path.startswith(("_index_template/", "_data_stream/")):
            return refusal(403, "security_exception", "no")
        return await super().answer(seen)


async def test_a_key_that_may_only_write_is_enough() -> None:
    done = json({"errors": False, "items": [{"create": CREATED}] * 2})
    async with (
        WriteOnly(None, done) as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        sink = BulkSink(engine, retry=AT_ONCE)
        assert results(await sink.send(INDEX, [item("a"), item("b")])) == [Result.CREATED] * 2


async def test_a_lazy_rollover_makes_the_write_index_an_older_one() -> None:
    stream = {"indices": [{"index_name": "i1"}, {"index_name": "i2"}], "rollover_on_write": True}
    found = json({"docs": [{"_id": "a", "found": True}]})
    none = json({"docs": [{"_id": "a", "found": False}]})
    async with (
        Scripted(json({"data_streams": [stream]}), none, found) as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        assert await BulkSink(engine).already_in(INDEX, ["a"]) == {"a"}
    assert [seen.path for seen in server.asked("POST", "i")] == ["i1/_mget", "i2/_mget"]


async def older_index_says(*errors: str) -> set[str]:
    """What is found where the older index first answers with ``errors``, each a type."""
    stream = {"indices": [{"index_name": "i1"}, {"index_name": "i2"}]}
    answers = [
        json({"docs": [{"_id": "a", "error": {"type": kind, "reason": "no shard"}}]})
        for kind in errors
    ]
    found = json({"docs": [{"_id": "a", "found": True}]})
    async with (
        Scripted(json({"data_streams": [stream]}), *answers, found) as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        return await BulkSink(engine).already_in(INDEX, ["a"])


NOT_STARTED = "no_shard_available_action_exception"


async def test_a_shard_that_is_about_to_start_is_waited_for() -> None:
    assert await older_index_says(NOT_STARTED, "illegal_index_shard_state_exception") == {"a"}


@pytest.mark.parametrize("errors", [[NOT_STARTED] * 3, ["index_closed_exception"]])
async def test_an_older_index_that_cannot_be_read_is_told(errors: list[str]) -> None:
    with pytest.raises(EngineUnavailableError, match="cannot read i1: no shard"):
        await older_index_says(*errors)

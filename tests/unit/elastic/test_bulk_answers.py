"""What an engine answers to a bulk request, and what the sink makes of each answer."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import CREATED, INDEX, Scripted, Seen, answered, json, refusal
from tests.unit.elastic.test_bulk import item, results

from aquila_mde.elastic.bulk import BulkSink, Item, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import (
    AssetsMissingError,
    EngineAccessError,
    EngineRefusedError,
    EngineUnavailableError,
)

BUSY = {"type": "es_rejected_execution_exception", "reason": "queue is full"}


def small(number: int) -> list[Item]:
    return [item(f"{number}-{place}") for place in range(number)]


async def scripted(*answers: web.Response | None, **kwargs: Any) -> list[Any]:
    async with (
        Scripted(*answers) as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        sink = BulkSink(engine, retry=AT_ONCE)
        return await sink.send(INDEX, [item("a"), item("b")])


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

"""Documents into a real data stream: one outcome for each, and no second copy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import Proxy
from tests.unit.elastic.trees import BASE_FIELDS, Tree

from aquila_mde.elastic.assets import install
from aquila_mde.elastic.bulk import BulkSink, Item, Outcome, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import AssetsMissingError, EngineUnavailableError


def item(name: str, **more: Any) -> Item:
    fields = "".join(f',"{key}":{value}' for key, value in more.items())
    return Item(name, b'{"@timestamp":"2026-01-01T00:00:00.000Z"%s}' % fields.encode())


def results(outcomes: list[Outcome]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


async def ids(engine: Engine, tree: Tree) -> list[str]:
    """The ids of every document of the data stream, one for each copy."""
    await engine.request("POST", f"{tree.index}/_refresh")
    answer = await engine.request("GET", f"{tree.index}/_search", {"size": 10_000})
    return sorted(hit["_id"] for hit in answer["hits"]["hits"])


@pytest.fixture
def sink(engine: Engine) -> BulkSink:
    return BulkSink(engine, retry=AT_ONCE)


async def test_every_document_is_answered_in_order(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    assert results(await sink.send(installed.index, [item("b"), item("a")])) == [Result.CREATED] * 2
    outcomes = await sink.send(installed.index, [item("c"), item("a"), item("c"), item("b")])
    assert results(outcomes) == [Result.CREATED, *[Result.EXISTS] * 3]
    assert {outcome.status for outcome in outcomes} == {201, 409}
    assert all((outcome.index or "").startswith(".ds-") for outcome in outcomes)
    assert await ids(engine, installed) == ["a", "b", "c"]


async def test_nothing_to_send_is_no_request(engine: Engine) -> None:
    assert await BulkSink(engine).send("logs-nowhere.at_all-default", []) == []


async def test_ids_and_sources_arrive_as_they_are(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    names = ['with "quotes"', "ümlaut/\\", "line\nbreak"]
    source = b'{"@timestamp":"2026-01-01T00:00:00.000Z",\n"text":"a\\nb"\n}'
    outcomes = await sink.send(installed.index, [Item(name, source) for name in names])
    assert results(outcomes) == [Result.CREATED] * 3
    assert await ids(engine, installed) == sorted(names)


async def test_a_call_is_cut_by_documents_and_by_bytes(installed: Tree, engine: Engine) -> None:
    small = [item(f"s{number}") for number in range(7)]
    large = [item(f"l{number}", text=f'"{"x" * 400}"') for number in range(3)]
    huge = [item("huge", text=f'"{"x" * 5000}"')]
    async with (
        Proxy(await url_of(engine)) as proxy,
        await Engine.connect(proxy.settings, retry=AT_ONCE) as through,
    ):
        sink = BulkSink(through, max_documents=3, max_bytes=1000, concurrency=2)
        outcomes = await sink.send(installed.index, [*small, *large, *huge])
    assert results(outcomes) == [Result.CREATED] * 11
    bodies = [seen.body for seen in proxy.asked("POST", installed.index)]
    assert sorted(body.count(b"create") for body in bodies) == [1, 2, 2, 3, 3]
    assert proxy.most_under_way == 2


async def url_of(engine: Engine) -> str:
    return f"http://{engine.place.host}"


async def test_what_the_engine_never_takes_is_dead_and_the_rest_is_not(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    outcomes = await sink.send(
        installed.index,
        [
            item("a"),
            item("object", event='"not an object"'),
            Item("untimed", b'{"text":"x"}'),
            item("b"),
        ],
    )
    created, dead = Result.CREATED, Result.DEAD
    assert results(outcomes) == [created, dead, dead, created]
    assert outcomes[1].status == 400
    assert outcomes[1].reason_type
    assert "event" in outcomes[1].reason
    assert "@timestamp" in outcomes[2].reason
    assert await ids(engine, installed) == ["a", "b"]


async def test_broken_json_takes_no_other_document_with_it(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    """OpenSearch refuses the whole batch of a pipeline for one document that is no JSON."""
    broken = Item("broken", b'{"@timestamp":"2026-01-01')
    outcomes = await sink.send(installed.index, [item("a"), item("b"), broken, item("c")])
    assert results(outcomes) == [Result.CREATED, Result.CREATED, Result.DEAD, Result.CREATED]
    assert outcomes[2].reason_type
    assert await ids(engine, installed) == ["a", "b", "c"]


async def test_older_backing_indices_are_looked_into(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    assert await sink.already_in(installed.index, ["a"]) == set()
    await sink.send(installed.index, [item("a"), item("b")])
    assert await sink.already_in(installed.index, ["a", "b"]) == set()
    await engine.request("POST", f"{installed.index}/_rollover")
    await sink.send(installed.index, [item("c")])
    assert await sink.already_in(installed.index, ["a", "b", "c", "d"]) == {"a", "b"}


async def test_a_backing_index_that_is_gone_holds_nothing(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    await sink.send(installed.index, [item("a")])
    await engine.request("POST", f"{installed.index}/_rollover")
    await sink.refresh_backing(installed.index)
    (stream,) = (await engine.request("GET", f"_data_stream/{installed.index}"))["data_streams"]
    await engine.request("DELETE", stream["indices"][0]["index_name"])
    assert await sink.already_in(installed.index, ["a"]) == set()


async def test_without_installation_nothing_is_sent(
    tree: Tree, engine: Engine, sink: BulkSink
) -> None:
    with pytest.raises(AssetsMissingError, match=f"no index template {tree.base}") as caught:
        await sink.send(tree.index, [item("a")])
    assert "aquila-mde install" in caught.value.hint
    answer = await engine.request("GET", f"_resolve/index/{tree.index}", missing_ok=True)
    assert not (answer or {}).get("indices")


async def test_a_pipeline_that_is_gone_is_no_dead_letter(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    await sink.send(installed.index, [item("a")])
    path = f"_ingest/pipeline/{installed.base}-0.1.0"
    settings = f"{installed.index}/_settings"
    await engine.request("PUT", settings, {"index.default_pipeline": f"{installed.base}-0.0.9"})
    with pytest.raises(AssetsMissingError, match=r"pipeline with id \[.*-0\.0\.9\]"):
        await sink.send(installed.index, [item("b")])
    assert await engine.request("GET", path)


async def test_a_plain_index_in_the_place_of_the_data_stream_is_told(
    tree: Tree, engine: Engine, sink: BulkSink
) -> None:
    """The template was removed while the collector ran."""
    sink._checked.add(tree.index)
    try:
        with pytest.raises(AssetsMissingError, match="is a plain index"):
            await sink.send(tree.index, [item("a")])
    finally:
        await engine.request("DELETE", tree.index)


async def test_a_write_block_is_waited_for_and_no_dead_letter(
    installed: Tree, engine: Engine, sink: BulkSink
) -> None:
    await sink.send(installed.index, [item("a")])
    settings = f"{installed.index}/_settings"
    await engine.request("PUT", settings, {"index.blocks.write": True})
    with pytest.raises(EngineUnavailableError, match="does not take writes") as caught:
        await sink.send(installed.index, [item("b")])
    assert "index.blocks.write" in caught.value.hint
    await engine.request("PUT", settings, {"index.blocks.write": None})
    assert results(await sink.send(installed.index, [item("b")])) == [Result.CREATED]


async def test_a_mapping_conflict_is_dead(tree: Tree, engine: Engine, sink: BulkSink) -> None:
    tree.fields(*BASE_FIELDS, {"name": "n", "type": "group", "fields": [{"name": "x"}]})
    await install(engine, tree.tree)
    outcomes = await sink.send(tree.index, [item("a", n="1"), item("b", n='{"x":"1"}')])
    assert results(outcomes) == [Result.DEAD, Result.CREATED]

"""Documents of a data stream are found, read and changed in whichever backing index they lie."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import Proxy
from tests.unit.elastic.test_bulk import ids, item, url_of
from tests.unit.elastic.trees import Tree

from aquila_mde.elastic.bulk import BulkSink
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineUnavailableError
from aquila_mde.elastic.lookup import existing, present
from aquila_mde.elastic.replace import Change, change
from aquila_mde.elastic.scan import Hit, refresh, scan


async def write(engine: Engine, tree: Tree, *names: str) -> None:
    await BulkSink(engine, retry=AT_ONCE).send(tree.index, [item(name) for name in names])


async def roll_over(engine: Engine, tree: Tree) -> None:
    await engine.request("POST", f"{tree.index}/_rollover")


async def hits(engine: Engine, tree: Tree, page: int = 100) -> dict[str, Hit]:
    await refresh(engine, tree.index)
    body = {"seq_no_primary_term": True}
    return {hit.id: hit async for part in scan(engine, tree.index, body, page=page) for hit in part}


def changed(hit: Hit, source: bytes | None = None) -> Change:
    return Change(hit.index, hit.id, hit.seq_no, hit.primary_term, source)


async def test_documents_are_found_in_every_backing_index(installed: Tree, engine: Engine) -> None:
    assert await existing(engine, installed.index, ["a"]) == set()
    await write(engine, installed, "a", "b")
    await roll_over(engine, installed)
    await write(engine, installed, "c")
    assert await existing(engine, installed.index, ["a", "b", "c", "d"]) == {"a", "b", "c"}
    assert await existing(engine, installed.index, []) == set()


async def test_a_scan_reads_every_page_and_leaves_nothing_open(
    installed: Tree, engine: Engine
) -> None:
    async def open_scrolls() -> int:
        answer: Any = await engine.request("GET", "_nodes/stats/indices/search")
        nodes = answer["nodes"].values()
        return sum(node["indices"]["search"]["scroll_current"] for node in nodes)

    before = await open_scrolls()
    names = [str(number) for number in range(10)]
    await write(engine, installed, *names)
    await roll_over(engine, installed)
    assert sorted(await hits(engine, installed, page=3)) == names
    assert await open_scrolls() == before
    assert [part async for part in scan(engine, "logs-nowhere.at_all-x", {}, page=3)] == []


async def test_a_change_is_made_once_and_only_on_what_was_read(
    installed: Tree, engine: Engine
) -> None:
    await write(engine, installed, "a", "b", "c")
    await roll_over(engine, installed)
    await write(engine, installed, "d")
    read = await hits(engine, installed)
    other = b'{"@timestamp":"2026-01-02T00:00:00.000Z"}'
    wanted = [changed(read["a"]), changed(read["b"], other), changed(read["d"])]
    assert await change(engine, wanted, retry=AT_ONCE) == 3
    assert await ids(engine, installed) == ["b", "c"]
    assert await change(engine, wanted, retry=AT_ONCE) == 0
    stale = changed(read["b"])
    assert await change(engine, [stale], retry=AT_ONCE) == 0
    assert (await hits(engine, installed))["b"].source["@timestamp"] == "2026-01-02T00:00:00.000Z"
    assert await change(engine, [], retry=AT_ONCE) == 0


async def test_a_change_whose_answer_is_lost_is_made_once(installed: Tree, engine: Engine) -> None:
    await write(engine, installed, "a", "b")
    read = await hits(engine, installed)
    async with (
        Proxy(await url_of(engine), "after", "before") as proxy,
        await Engine.connect(proxy.settings, retry=AT_ONCE) as through,
    ):
        await change(through, [changed(read["a"])], retry=AT_ONCE)
        proxy.faults = ["before"] * AT_ONCE.attempts
        with pytest.raises(EngineUnavailableError):
            await change(through, [changed(read["b"])], retry=AT_ONCE)
    assert await ids(engine, installed) == ["b"]


async def test_values_that_a_document_has(installed: Tree, engine: Engine) -> None:
    everything: dict[str, Any] = {"match_all": {}}
    assert await present(engine, "logs-no.where-x", "event.id", ["a"], where=everything) == set()
    await write(engine, installed, "a")
    await refresh(engine, installed.index)
    datasets = [installed.index.split("-")[1], "other"]
    found = await present(
        engine, installed.index, "data_stream.dataset", datasets, where=everything
    )
    assert found <= set(datasets)

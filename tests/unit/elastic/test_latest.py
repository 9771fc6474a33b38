"""The newest versions, kept by the collector, against a group-by over all there are."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.trees import BASE_FIELDS, LATEST_FIELDS, Tree

from aquila_mde.elastic import latest
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.bulk import BulkSink, Item, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import AssetsMissingError, EngineUnavailableError
from aquila_mde.elastic.latest import LatestIndex, LatestReport
from aquila_mde.elastic.package import read_package
from aquila_mde.elastic.replace import Change
from aquila_mde.elastic.scan import refresh, scan

Json = dict[str, Any]
NOW = datetime.now(UTC).replace(microsecond=0)
SMALL_PAGE = 7


@pytest.fixture
async def kept(tree: Tree, engine: Engine) -> Tree:
    """A tree with a transform, installed."""
    tree.fields(*BASE_FIELDS, *LATEST_FIELDS[1:3], {"name": "thing", "type": "keyword"})
    tree.transform()
    await install(engine, tree.tree)
    return tree


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "_PAGE", SMALL_PAGE)


def of(engine: Engine, tree: Tree, tenant: str = "one", namespace: str = "default") -> LatestIndex:
    package = read_package(tree.tree)
    (transform,) = package.transforms
    notes = package.latest_progress
    return LatestIndex(engine, transform, notes, tenant=tenant, namespace=namespace)


def version(thing: str, hours: float, tenant: str = "one", **more: Any) -> Json:
    """A version of ``thing`` that is so many hours old."""
    at = (NOW - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    return {"@timestamp": at, "thing": thing, "organization": {"id": tenant}, **more}


async def send(
    engine: Engine, tree: Tree, *versions: Json, namespace: str = "default", ago: float = 0
) -> None:
    """Index ``versions``; ``ago`` minutes pretend that they were ingested before."""
    index = f"{tree.base}-{namespace}"
    place = {"type": "logs", "dataset": f"{tree.name}.alert", "namespace": namespace}
    items = [
        Item(f"{random.getrandbits(64):x}", msgspec.json.encode({**one, "data_stream": place}))
        for one in versions
    ]
    outcomes = await BulkSink(engine, retry=AT_ONCE).send(index, items)
    assert {outcome.result for outcome in outcomes} == {Result.CREATED}, outcomes
    if ago:
        await refresh(engine, index)
        ingested = (datetime.now(UTC) - timedelta(minutes=ago)).isoformat()
        script = {"source": f"ctx._source.event.ingested = '{ingested}'"}
        body = {"query": {"terms": {"_id": [item.id for item in items]}}, "script": script}
        params = {"refresh": "true", "pipeline": "_none"}
        await engine.request("POST", f"{index}/_update_by_query", body, params=params)


async def documents(engine: Engine, index: str) -> list[Json]:
    await refresh(engine, index)
    return [hit.source async for hits in scan(engine, index, {}, page=1_000) for hit in hits]


async def states(engine: Engine, tree: Tree) -> dict[tuple[str, str, str], str]:
    """What the index of the newest versions says: the time of each thing."""
    found = await documents(engine, read_package(tree.tree).transforms[0].alias)
    times = {key_of(one): str(one["@timestamp"]) for one in found}
    assert len(times) == len(found), "a thing is there twice"
    return times


def key_of(source: Json) -> tuple[str, str, str]:
    return source["organization"]["id"], source["data_stream"]["namespace"], source["thing"]


async def grouped(engine: Engine, tree: Tree) -> dict[tuple[str, str, str], str]:
    """The same, worked out from all the versions there are."""
    newest: dict[tuple[str, str, str], str] = {}
    for one in await documents(engine, f"{tree.base}-*"):
        if "error" not in one:
            newest[key_of(one)] = max(newest.get(key_of(one), ""), one["@timestamp"])
    return newest


async def read_to(engine: Engine, tree: Tree) -> list[str | None]:
    notes = await documents(engine, read_package(tree.tree).latest_progress)
    return [note.get("read_to") for note in notes]


async def test_versions_in_any_order_come_to_the_newest_of_each_thing(
    kept: Tree, engine: Engine
) -> None:
    order = random.Random(8)
    ages = [(thing, age) for thing in range(20) for age in order.sample(range(1, 2_000), 5)]
    order.shuffle(ages)
    for start in range(0, len(ages), 25):
        part = ages[start : start + 25]
        await send(engine, kept, *(version(f"t{thing}", age) for thing, age in part))
        report = await of(engine, kept).update()
        assert report.refused == report.deleted == 0
        assert await states(engine, kept) == await grouped(engine, kept)
    assert len(await states(engine, kept)) == 20


async def test_tenants_and_namespaces_are_kept_apart(kept: Tree, engine: Engine) -> None:
    await send(engine, kept, version("t", 5), version("t", 3, "two"))
    await send(engine, kept, version("t", 1), namespace="other")
    report = await of(engine, kept).update()
    assert (report.read, report.written) == (1, 1)
    assert set(await states(engine, kept)) == {("one", "default", "t")}
    await of(engine, kept, "two").update()
    await of(engine, kept, namespace="other").update()
    assert await states(engine, kept) == await grouped(engine, kept)
    assert len(await states(engine, kept)) == 3
    await of(engine, kept, "two").rebuild()
    assert await states(engine, kept) == await grouped(engine, kept)


async def test_a_document_is_whole_and_one_that_failed_is_left_out(
    kept: Tree, engine: Engine
) -> None:
    failed = version("t", 1, error={"message": "x"})
    await send(engine, kept, version("t", 2, name="n", deep={"er": [1, 2]}), failed)
    await of(engine, kept).update()
    (document,) = await documents(engine, read_package(kept.tree).transforms[0].index)
    assert (document["name"], document["deep"]) == ("n", {"er": [1, 2]})
    assert document["event"]["kind"] == "alert"


async def test_only_what_is_new_is_read(kept: Tree, engine: Engine) -> None:
    assert await of(engine, kept).update() == LatestReport(of(engine, kept)._name)
    await send(engine, kept, *(version(f"t{n}", 1) for n in range(10)), ago=30)
    assert (await of(engine, kept).update()).read == 10
    (noted,) = await read_to(engine, kept)
    assert noted is not None
    assert (await of(engine, kept).update()).read == 0
    # What has just been ingested may not be all that a search finds yet, so it is read once more.
    await send(engine, kept, version("t0", 0.5))
    report = await of(engine, kept).update()
    assert (report.read, report.written) == (1, 1)
    report = await of(engine, kept).update()
    assert (report.read, report.written) == (1, 0)
    assert await read_to(engine, kept) == [noted]


async def test_a_document_that_is_completed_where_it_lies_is_taken_again(
    kept: Tree, engine: Engine
) -> None:
    await send(engine, kept, version("t", 1), ago=30)
    await of(engine, kept).update()
    await refresh(engine, kept.index)
    body = {"script": {"source": "ctx._source.name = 'late'"}}
    await engine.request("POST", f"{kept.index}/_update_by_query", body)
    assert (await of(engine, kept).update()).written == 1
    (document,) = await documents(engine, read_package(kept.tree).transforms[0].index)
    assert document["name"] == "late"


async def test_a_run_that_was_killed_goes_on_where_it_was(
    kept: Tree, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batch in range(5):
        versions = [version(f"t{n}", 100 - batch) for n in range(10)]
        await send(engine, kept, *versions, ago=60 - batch)
    original, calls = latest.change, 0

    async def killed(engine: Engine, changes: list[Change], **options: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return await original(engine, changes, **options)

    monkeypatch.setattr(latest, "change", killed)
    with pytest.raises(KeyboardInterrupt):
        await of(engine, kept).update()
    assert await states(engine, kept) != await grouped(engine, kept)
    monkeypatch.setattr(latest, "change", original)
    report = await of(engine, kept).update()
    assert 0 < report.read < 50
    assert await states(engine, kept) == await grouped(engine, kept)


async def test_what_nothing_was_heard_of_for_too_long_leaves(kept: Tree, engine: Engine) -> None:
    kept.transform(retention_policy={"time": {"field": "@timestamp", "max_age": "10d"}})
    mine = version("old", 11 * 24), version("old", 12 * 24), version("new", 9 * 24)
    await send(engine, kept, *mine, version("old", 11 * 24, "two"))
    kept.transform()
    await of(engine, kept, "two").update()
    kept.transform(retention_policy={"time": {"field": "@timestamp", "max_age": "10d"}})
    report = await of(engine, kept).update()
    assert report.deleted == 1
    # The other tenant has its own run.
    assert set(await states(engine, kept)) == {("one", "default", "new"), ("two", "default", "old")}
    assert (await of(engine, kept).update()).written == 1, "read once more, and gone again"
    assert (await of(engine, kept, "two").update()).deleted == 1


async def test_everything_can_be_read_once_more(
    kept: Tree, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest, "_DELETED_AT_ONCE", 4)
    await send(engine, kept, *(version(f"t{n}", age) for n in range(10) for age in (3, 2)), ago=9)
    await of(engine, kept).update()
    index = read_package(kept.tree).transforms[0].index
    await refresh(engine, index)
    change_all = {"script": {"source": "ctx._source['@timestamp'] = '2099-01-01T00:00:00Z'"}}
    await engine.request("POST", f"{index}/_update_by_query", change_all)
    await of(engine, kept).update()
    assert await states(engine, kept) != await grouped(engine, kept)
    await of(engine, kept).rebuild()
    assert await states(engine, kept) == await grouped(engine, kept)


async def test_an_index_that_was_made_anew_is_filled_from_the_beginning(
    kept: Tree, engine: Engine
) -> None:
    await send(engine, kept, version("t", 1), ago=30)
    await of(engine, kept).update()
    kept.transform({"name": "kind", "type": "long"}, version=2)
    await install(engine, kept.tree)
    assert await states(engine, kept) == {}
    assert (await of(engine, kept).update()).written == 1
    assert await states(engine, kept) == await grouped(engine, kept)


async def test_two_that_read_at_once_do_not_undo_each_other(
    kept: Tree, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(engine, kept, *(version(f"t{n}", 5) for n in range(10)), ago=30)
    original, met = latest.change, False

    async def slow(engine: Engine, changes: list[Change], **options: Any) -> int:
        nonlocal met
        if not met:
            met = True
            await send(engine, kept, *(version(f"t{n}", 4) for n in range(10)), ago=20)
            await of(engine, kept).update()
        return await original(engine, changes, **options)

    monkeypatch.setattr(latest, "change", slow)
    with pytest.raises(EngineUnavailableError, match="at the same time"):
        await of(engine, kept).update()
    assert await states(engine, kept) == await grouped(engine, kept)


async def test_a_document_that_does_not_fit_is_counted_and_the_others_come(
    kept: Tree, engine: Engine
) -> None:
    kept.transform({"name": "load.of", "type": "keyword"})
    report = await install(engine, kept.tree)
    assert f"index {read_package(kept.tree).transforms[0].index}" in report.updated
    await send(engine, kept, version("good", 1), version("bad", 1, load="heavy"), ago=30)
    done = await of(engine, kept).update()
    assert (done.written, done.refused) == (1, 1)
    assert set(await states(engine, kept)) == {("one", "default", "good")}


async def test_an_index_that_is_not_there_is_named(tree: Tree, engine: Engine) -> None:
    tree.transform()
    with pytest.raises(AssetsMissingError, match="alert_latest-v1") as raised:
        await of(engine, tree).update()
    assert "aquila-mde install" in raised.value.hint


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-01-02T03:04:05.1234567Z", datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        (1_000, datetime(1970, 1, 1, 0, 0, 1, 0, UTC)),
        ("yesterday", datetime.min.replace(tzinfo=UTC)),
        (None, datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_time_is_read_however_it_is_written(value: Any, time: datetime) -> None:
    assert latest._time(value) == time


def test_a_value_is_found_whichever_way_its_name_is_split() -> None:
    assert latest._at({"a": {"b": {"c": 1}}}, "a.b.c") == 1
    assert latest._at({"a.b": {"c": 1}}, "a.b.c") == 1
    assert latest._at({"a": {"b.c": 1}, "b": 2}, "a.b.c") == 1
    assert latest._at({"a": 1}, "a.b.c") is None

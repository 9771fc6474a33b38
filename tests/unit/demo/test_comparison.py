"""The comparison of tenant and index finds each kind of difference, and counts it exactly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from aquila_mde.demo import comparison
from aquila_mde.demo.comparison import Comparison, compare, count, example
from aquila_mde.elastic.client import Engine
from aquila_mde.settings import ElasticsearchSettings

FIRST, LATER = "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00.1234568Z"


@pytest.fixture
def client(engine_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=engine_url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    async with await Engine.connect(ElasticsearchSettings(url=engine_url)) as engine:
        yield engine


@pytest.fixture
def index(client: httpx.Client, namespace: str) -> Iterator[str]:
    """An index that counts event.kind and dead letters as the package's own does."""
    name = f"compared-{namespace}"
    keyword = {"type": "keyword"}
    client.put(
        f"/{name}",
        json={
            "mappings": {"properties": {"event.kind": keyword, "mde.dead_letter.stream": keyword}}
        },
    ).raise_for_status()
    yield name
    client.delete(f"/{name}").raise_for_status()


def put(client: httpx.Client, index: str, *documents: dict[str, object]) -> None:
    lines = "".join(f'{{"index":{{}}}}\n{json.dumps(document)}\n' for document in documents)
    answer = client.post(
        f"/{index}/_bulk",
        content=lines,
        params={"refresh": "true"},
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.raise_for_status().json()["errors"] is False


def document(name: str, time: str = FIRST, **more: str) -> dict[str, object]:
    return {"@timestamp": time, "event": {"id": name, **more}}


async def test_the_same_on_both_sides_is_perfect(
    engine: Engine, client: httpx.Client, index: str
) -> None:
    put(client, index, document("a"), document("a", LATER), document("b"))
    versions = [["a", FIRST], ["a", LATER], ["b", "2026-01-01T00:00:00.1234567"]]
    found = await compare(engine, "alert", index, "nowhere", versions)
    assert found == Comparison(3, 3, missing=0, duplicates=0, unknown=0, failed=0)
    assert found.perfect


async def test_seven_digits_count(engine: Engine, client: httpx.Client, index: str) -> None:
    put(client, index, document("a"))
    found = await compare(engine, "alert", index, "nowhere", [["a", LATER]])
    assert (found.missing, found.duplicates, found.unknown) == (1, 0, 1)
    assert not found.perfect


async def test_a_document_too_many_is_counted_whatever_its_time(
    engine: Engine, client: httpx.Client, index: str
) -> None:
    put(client, index, document("a"), document("a", LATER), document("a", LATER), document("b"))
    versions = [["a", "digest"], ["b", "digest"], ["c", "digest"], ["d", "digest"]]
    found = await compare(engine, "machine", index, "nowhere", versions)
    assert found == Comparison(4, 4, missing=2, duplicates=2, unknown=0, failed=0)


async def test_documents_without_a_name_or_a_time_are_unknown(
    engine: Engine, client: httpx.Client, index: str
) -> None:
    put(client, index, {"message": "?"}, {"event": {"id": "a"}})
    found = await compare(engine, "alert", index, "nowhere", [["a", FIRST]])
    assert (found.missing, found.unknown) == (1, 2)


async def test_what_failed_is_counted(engine: Engine, client: httpx.Client, index: str) -> None:
    letters = [{"mde": {"dead_letter": {"stream": name}}} for name in ("alert", "alert", "machine")]
    put(client, index, document("a", kind="pipeline_error"), *letters)
    found = await compare(engine, "alert", index, index, [["a", FIRST]])
    assert found.failed == 3
    assert not found.perfect


async def test_a_stream_without_an_index_has_nothing(engine: Engine, index: str) -> None:
    found = await compare(engine, "alert", "nowhere", index, [["a", FIRST]])
    assert found == Comparison(1, 0, missing=1, duplicates=0, unknown=0, failed=0)


async def test_every_page_is_counted(
    engine: Engine, client: httpx.Client, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_PAGE", 3)
    put(client, index, *(document(str(number)) for number in range(10)))
    found = await compare(engine, "alert", index, index, [[str(n), FIRST] for n in range(10)])
    assert found.perfect
    assert await count(engine, index) == found.indexed == 10


async def test_an_example_matches_where_it_can(
    engine: Engine, client: httpx.Client, index: str
) -> None:
    query = {"match": {"event.kind": "alert"}}
    assert await example(engine, index, query) is None
    put(client, index, document("a"))
    found = await example(engine, index, query)
    assert found is not None
    assert found["event"] == {"id": "a"}
    put(client, index, document("b", kind="alert"))
    found = await example(engine, index, query)
    assert found is not None
    assert found["event"] == {"id": "b", "kind": "alert"}

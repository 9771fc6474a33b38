"""Tenant to engine, against the same documents sent without a tenant, a join or a memory.

The collector's own documents are recorded first. Then, in turn and each into a new data stream:
the collector; the recorded bodies, as they are, over the best number of connections; and the
documents in them through the helpers of elasticsearch-py. All go through the real pipeline.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
from elasticsearch import AsyncElasticsearch, Elasticsearch
from elasticsearch.helpers import async_bulk, parallel_bulk

from aquila_mde.elastic.assets import install
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.dialect import PlainNode
from aquila_mde.engine import EmbeddedEngine
from aquila_mde.settings import ElasticsearchSettings
from aquila_mde.streams.tree import PackageTree
from tests.bench.collector_job import Job
from tests.bench.null_sink import Tell
from tests.bench.plain_node import PlainSyncNode
from tests.bench.processes import measure, settings, sink, tenant
from tests.bench.spread import rounded_to, spread

_INDEX = "logs-aquila_mde.vulnerability-default"
_CONNECTIONS = (1, 2, 3, 4, 6)
_HEAP = "1g"
Action = dict[str, Any]


def measure_all(data: Path, rows: int, repeats: int, tell: Tell) -> dict[str, Any]:
    """The two ratios over ``rows`` vulnerability rows: more than 1 means we are faster."""
    bodies = record(data, rows)
    documents = list(_documents(bodies))
    # The helpers shall not pay for a garbage collector that walks over what they are given.
    gc.freeze()
    tell(f"end to end: {len(documents):,} documents in {len(bodies)} bodies")
    with engine_of_bench() as url, tenant(data, most=rows) as at:
        asyncio.run(install_package(url))

        def collector() -> float:
            with tempfile.TemporaryDirectory() as folder:
                options = settings(at, url, Path(folder) / "state.sqlite3")
                # The machines are known, as they were when the documents were recorded.
                return measure(Job(options, ["vulnerability"], before=["machine"])).wall_s

        # The first one also makes the engine compile what it runs from then on.
        _clear(url)
        tell(f"end to end: {collector():.1f} s, which only warms up")
        connections, helper = _fastest(url, bodies, documents)
        tell(f"end to end: {connections} connections and {helper} are the fastest here")
        ways: dict[str, Callable[[], float]] = {
            "collector": collector,
            "prerendered": lambda: _timed(lambda: _send(url, bodies, connections)),
            "helpers": lambda: _timed(lambda: _HELPERS[helper](url, documents)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(repeats):
            # Each comes at each place in turn, so that a slow minute meets all of them.
            turn = number % len(ways)
            for name in [*ways, *ways][turn : turn + len(ways)]:
                _clear(url)
                seconds[name].append(ways[name]())
                _check(url, len(documents))
            said = ", ".join(f"{name} {runs[-1]:.1f} s" for name, runs in seconds.items())
            tell(f"end to end {number + 1}/{repeats}: {said}")
        _clear(url)
        engine = _version(url)
    gc.unfreeze()
    return {
        "ratio_prerendered": faster(seconds["prerendered"], seconds["collector"]),
        "ratio_helpers": faster(seconds["helpers"], seconds["collector"]),
        "documents_per_s": {
            name: spread([len(documents) / each for each in runs]) for name, runs in seconds.items()
        },
        "documents": len(documents),
        "bytes_per_document": rounded_to(sum(map(len, bodies)) / len(documents)),
        "connections": connections,
        "helper": helper,
        "engine": engine,
    }


def faster(theirs: list[float], ours: list[float]) -> dict[str, Any]:
    """How many times as fast we are, of the seconds that both took, repeat by repeat."""
    return spread([their / our for their, our in zip(theirs, ours, strict=True)])


def _fastest(url: str, bodies: list[bytes], documents: list[Action]) -> tuple[int, str]:
    """The number of connections and the helper that are the fastest with part of it."""
    some_bodies, some = bodies[: len(bodies) // 3 + 1], documents[: len(documents) // 3]

    def sent(number: int) -> float:
        _clear(url)
        return _timed(lambda: _send(url, some_bodies, number))

    def helped(name: str) -> float:
        _clear(url)
        return _timed(lambda: _HELPERS[name](url, some))

    return min(_CONNECTIONS, key=sent), min(_HELPERS, key=helped)


def record(data: Path, rows: int) -> list[bytes]:
    """The bulk bodies that the collector sends for the rows."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tenant(data, most=rows) as at,
        sink(Path(folder)) as engine,
    ):
        options = settings(at, engine.url, Path(folder) / "state.sqlite3")
        measure(Job(options, ["vulnerability"], before=["machine"]))
        return [file.read_bytes() for file in sorted(Path(folder).glob(f"{_INDEX}-*.ndjson"))]


def _documents(bodies: list[bytes]) -> Iterator[Action]:
    for body in bodies:
        lines = body.split(b"\n")
        for action, source in zip(lines[0::2], lines[1::2], strict=False):
            if source:
                told = msgspec.json.decode(action)["create"]
                yield {"_op_type": "create", "_index": _INDEX, **told} | {
                    "_source": msgspec.json.decode(source)
                }


class engine_of_bench:  # noqa: N801 - a context manager
    """The engine of ``AQUILA_TEST_ES_URL``, or the embedded one."""

    def __enter__(self) -> str:
        self._embedded: EmbeddedEngine | None = None
        if url := os.environ.get("AQUILA_TEST_ES_URL"):
            return url.rstrip("/")
        self._embedded = EmbeddedEngine(heap=os.environ.get("AQUILA_TEST_HEAP", _HEAP))
        return self._embedded.__enter__().url

    def __exit__(self, *_: object) -> None:
        if self._embedded is not None:
            self._embedded.stop()


async def install_package(url: str) -> None:
    """Install the package in the engine at ``url``."""
    async with await Engine.connect(ElasticsearchSettings(url=url)) as engine:
        await install(engine, PackageTree.default())


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _version(url: str) -> str:
    version = httpx.get(url, trust_env=False, timeout=60).json()["version"]
    name = "OpenSearch" if version.get("distribution") == "opensearch" else "Elasticsearch"
    return f"{name} {version['number']}"


def _clear(url: str) -> None:
    httpx.delete(f"{url}/_data_stream/logs-aquila_mde.*-default", trust_env=False, timeout=60)


def _check(url: str, expected: int) -> None:
    httpx.post(f"{url}/{_INDEX}/_refresh", trust_env=False, timeout=60)
    count = httpx.get(f"{url}/{_INDEX}/_count", trust_env=False, timeout=60).json()["count"]
    if count != expected:
        raise RuntimeError(f"{_INDEX} holds {count} documents, not {expected}")


def _send(url: str, bodies: list[bytes], connections: int) -> None:
    headers = {"content-type": "application/x-ndjson"}

    def send(share: list[bytes]) -> None:
        with httpx.Client(trust_env=False, timeout=120, headers=headers) as client:
            for body in share:
                answer = client.post(f"{url}/{_INDEX}/_bulk?filter_path=errors", content=body)
                if answer.json() != {"errors": False}:
                    raise RuntimeError(answer.text[:500])

    with ThreadPoolExecutor(connections) as pool:
        shares = [bodies[number::connections] for number in range(connections)]
        list(pool.map(send, shares))


def _async_bulk(url: str, documents: list[Action]) -> None:
    asyncio.run(_async_bulk_of(url, documents))


async def _async_bulk_of(url: str, documents: list[Action]) -> None:
    # The node is ours because elasticsearch-py does not speak to every engine by itself.
    async with AsyncElasticsearch(url, node_class=PlainNode, request_timeout=120) as client:
        working: Awaitable[Any] = async_bulk(client, iter(documents), chunk_size=1_000)
        await working


def _parallel_bulk(url: str, documents: list[Action]) -> None:
    with Elasticsearch(url, node_class=PlainSyncNode, request_timeout=120) as client:
        for ok, told in parallel_bulk(client, iter(documents), thread_count=4, chunk_size=1_000):
            if not ok:
                raise RuntimeError(str(told)[:500])


_HELPERS: dict[str, Callable[[str, list[Action]], None]] = {
    "async_bulk": _async_bulk,
    "parallel_bulk": _parallel_bulk,
}

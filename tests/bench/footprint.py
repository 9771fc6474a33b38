"""What a document of each stream weighs: as a record, on its way, and in the index.

The documents that the collector sends for a simulated tenant go through the real pipelines into
the data streams of the package. Each is merged into one segment; its size by ``_stats`` is then
what a document needs in the long run. Bytes do not depend on how fast the machine is.

And what one more tenant adds to the memory of a process that holds several.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree
from tests.bench.collector_job import Job
from tests.bench.end_to_end import engine_of_bench, install_package
from tests.bench.null_sink import Tell
from tests.bench.pipeline_documents import Document, sent_documents
from tests.bench.processes import measure, settings, sink, tenant
from tests.bench.results import machine
from tests.bench.spread import rounded_to, spread
from tests.bench.tenant import render

_NAMESPACE = "bench_footprint"
_AT_ONCE = 500


@dataclass(frozen=True)
class Things:
    """The tenant whose documents are weighed."""

    machines: int
    alerts: int
    actions: int
    vulnerabilities: int

    @classmethod
    def of(cls, vulnerabilities: int) -> Things:
        """So many vulnerabilities and, of what is larger and rarer, a quarter of it."""
        fewer = vulnerabilities // 4
        return cls(fewer, fewer, fewer, vulnerabilities)


def weigh(things: Things, tell: Tell) -> dict[str, Any]:
    """For each stream how many documents were weighed, and the bytes of one."""
    with engine_of_bench() as url, httpx.Client(base_url=url, trust_env=False, timeout=300) as http:
        tell(f"footprint: reading {things.vulnerabilities:,} vulnerabilities and the rest")
        documents = sent_documents(
            http,
            machines=things.machines,
            alerts=things.alerts,
            actions=things.actions,
            vulnerabilities=things.vulnerabilities,
            hunting=True,
        )
        asyncio.run(install_package(url))
        found = {}
        for stream in load_streams(PackageTree.default()):
            index = f"logs-{stream.dataset}-{_NAMESPACE}"
            found[stream.name] = _weighed(http, index, documents[stream.name])
            http.delete(f"/_data_stream/{index}").raise_for_status()
            said = ", ".join(f"{name} {value:,.0f}" for name, value in found[stream.name].items())
            tell(f"footprint: {stream.name}: {said}")
    return found


def _weighed(engine: httpx.Client, index: str, documents: Sequence[Document]) -> dict[str, Any]:
    sent = 0
    for body in _bodies(documents):
        sent += len(body)
        answer = engine.post(
            f"/{index}/_bulk?filter_path=errors,items.*.error",
            content=body,
            headers={"content-type": "application/x-ndjson"},
        )
        if answer.raise_for_status().json()["errors"]:
            raise RuntimeError(f"{index} refuses documents: {answer.text[:500]}")
    engine.post(f"/{index}/_forcemerge?max_num_segments=1").raise_for_status()
    engine.post(f"/{index}/_flush?force=true").raise_for_status()
    engine.post(f"/{index}/_refresh").raise_for_status()
    told = engine.get(f"/{index}/_stats/store,docs").raise_for_status().json()
    primaries = told["_all"]["primaries"]
    # Nested objects are documents of their own to _stats, not to _count.
    number = engine.get(f"/{index}/_count").raise_for_status().json()["count"]
    if number != len(documents):
        raise RuntimeError(f"{index} holds {number} documents, not {len(documents)}")
    records = sum(len(each["message"].encode()) for each in documents)
    return {
        "documents": number,
        "record_bytes": rounded_to(records / number),
        "sent_bytes": rounded_to(sent / number),
        "stored_bytes": rounded_to(primaries["store"]["size_in_bytes"] / number),
    }


def _bodies(documents: Sequence[Document]) -> Iterator[bytes]:
    for start in range(0, len(documents), _AT_ONCE):
        lines = (
            b'{"create":{}}\n%b\n' % json.dumps(each, separators=(",", ":")).encode()
            for each in documents[start : start + _AT_ONCE]
        )
        yield b"".join(lines)


def tenants_memory(tenants: Sequence[int], repeats: int, tell: Tell) -> dict[str, Any]:
    """Peak memory of one process in which so many small tenants were read, one after the other."""
    found: dict[int, list[float]] = {number: [] for number in tenants}
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as data:
        render(Path(data), machines=500, alerts=500, rows=_AT_ONCE, rows_per_file=_AT_ONCE)
        for repeat in range(repeats):
            for number, runs in found.items():
                with (
                    tenant(Path(data)) as at,
                    sink() as engine,
                    tempfile.TemporaryDirectory() as folder,
                ):
                    options = settings(at, engine.url, Path(folder) / "state.sqlite3")
                    runs.append(measure(Job(options, [], tenants=number)).memory_mb)
                tell(f"footprint {repeat + 1}/{repeats}: {number} tenants, {runs[-1]:.0f} MB")
    return {str(number): spread(runs) for number, runs in found.items()}


def measure_all(things: Things, tenants: Sequence[int], repeats: int, tell: Tell) -> dict[str, Any]:
    """What the section ``footprint`` puts into the results."""
    return {
        "streams": weigh(things, tell),
        "tenants_memory_mb": tenants_memory(tenants, repeats, tell),
        "processor": machine()["processor"],
    }

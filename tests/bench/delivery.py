"""What adapting to the engine is worth: ``python -m tests.bench.delivery``.

The same documents go through the real pipeline into a new data stream each time: with a fixed
number of requests at once and with one that adapts; as they are, as gzip, and as the collector
decides, on loopback and over slower lines. Their runs alternate. It writes
build/bench/delivery.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from aquila_mde.elastic.assets import install
from aquila_mde.elastic.bulk import BulkSink
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.concurrency import Concurrency
from aquila_mde.elastic.documents import Documents
from aquila_mde.engine import EmbeddedEngine
from aquila_mde.settings import ElasticsearchSettings
from aquila_mde.streams.tree import PackageTree
from tests.bench.end_to_end import record
from tests.bench.results import machine
from tests.bench.slow_line import slow_line
from tests.bench.spread import spread
from tests.bench.tenant import render

OUTPUT = Path("build/bench/delivery.json")
STREAM = "logs-aquila_mde.vulnerability"
_NAMESPACE = "bench_delivery"
_MBIT = 1e6 / 8
LINES: dict[str, dict[str, float]] = {
    "loopback": {},
    "100 Mbit/s, 10 ms": {"rate": 100 * _MBIT, "delay": 0.01},
    "20 Mbit/s, 20 ms": {"rate": 20 * _MBIT, "delay": 0.02},
}
_FIXED = (1, 2, 4, 8)


@dataclass(frozen=True)
class Size:
    """How much is measured; ``at_once`` are the documents of one request."""

    documents: int = 20_000
    at_once: int = 200
    repeats: int = 3


class _Fixed(Concurrency):
    """So many requests at once, whatever the engine answers."""

    def answered(self, size: int) -> None:
        pass

    def fall(self, slot: int) -> None:
        pass


def documents_of(rows: int) -> Documents:
    """What the collector sends for so many rows of the export."""
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as folder:
        data = Path(folder)
        render(data, machines=500, alerts=10, rows=rows, rows_per_file=10_000)
        body = record(data, rows)
    actions = [line for each in body for line in each.split(b"\n")[0::2] if line]
    return Documents([json.loads(line)["create"]["_id"] for line in actions], body)


def measure(url: str, documents: Documents, size: Size) -> dict[str, Any]:
    """Documents a second, and where the number of requests ended, of every way on every line."""
    asyncio.run(_install(url))
    _send(url, documents, size, compression="never", fixed=2)  # warms up
    _clear(url)
    found: dict[str, Any] = {}
    for name, line in LINES.items():
        with slow_line(url, **line) if line else nullcontext(url) as at:
            found[name] = _alternating(at, url, documents, size, with_fixed=not line)
    return {
        "documents": len(documents),
        "bytes_per_document": round(documents.size / len(documents)),
        "documents_per_request": size.at_once,
        "machine": machine(),
        "lines": found,
    }


def _alternating(
    at: str, url: str, documents: Documents, size: Size, *, with_fixed: bool
) -> dict[str, Any]:
    ways: dict[str, Callable[[], int]] = {}
    for number in _FIXED if with_fixed else ():
        ways[f"{number} at once"] = lambda number=number: _send(  # type: ignore[misc]
            at, documents, size, compression="never", fixed=number
        )
    for mode in ("never", "always", "auto"):
        ways[f"adapting, gzip {mode}"] = lambda mode=mode: _send(  # type: ignore[misc]
            at, documents, size, compression=mode
        )
    rates: dict[str, list[float]] = {name: [] for name in ways}
    ends: dict[str, list[int]] = {name: [] for name in ways}
    for repeat in range(size.repeats):
        turn = repeat % len(ways)
        for name in [*ways, *ways][turn : turn + len(ways)]:
            began = time.perf_counter()
            ends[name].append(ways[name]())
            rates[name].append(len(documents) / (time.perf_counter() - began))
            _clear(url)
    return {
        name: {"documents_per_s": spread(rates[name]), "at_once_at_the_end": ends[name]}
        for name in ways
    }


def _send(url: str, documents: Documents, size: Size, *, compression: Any, fixed: int = 0) -> int:
    return asyncio.run(_sent(url, documents, size, compression, fixed))


async def _sent(url: str, documents: Documents, size: Size, compression: Any, fixed: int) -> int:
    settings = ElasticsearchSettings(url=url, compression=compression)
    async with await Engine.connect(settings) as engine:
        sink = BulkSink(engine, max_documents=size.at_once)
        if fixed:
            sink.concurrency = _Fixed(fixed, most=fixed)
        outcomes = await sink.send(f"{STREAM}-{_NAMESPACE}", documents)
        if {outcome.status for outcome in outcomes} != {201}:
            raise RuntimeError("not every document was created")
        return sink.concurrency.limit


async def _install(url: str) -> None:
    async with await Engine.connect(ElasticsearchSettings(url=url)) as engine:
        await install(engine, PackageTree.default())
    _clear(url)


def _clear(url: str) -> None:
    httpx.delete(f"{url}/_data_stream/{STREAM}-{_NAMESPACE}", trust_env=False, timeout=60)


def main() -> None:
    """Measure, show, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=Size.documents)
    parser.add_argument("--repeats", type=int, default=Size.repeats)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args()
    size = replace(Size(), documents=given.documents, repeats=given.repeats)
    documents = documents_of(size.documents)
    with ExitStack() as opened:
        engine = opened.enter_context(EmbeddedEngine())
        figures = measure(engine.url, documents, size)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for line, ways in figures["lines"].items():
        for name, one in ways.items():
            rate = one["documents_per_s"]
            print(  # noqa: T201
                f"{line:18} {name:22} {rate['median']:8.0f}/s "
                f"({rate['min']:.0f} to {rate['max']:.0f}), at the end {one['at_once_at_the_end']}"
            )
    print(f"written: {given.output}")  # noqa: T201


if __name__ == "__main__":
    main()

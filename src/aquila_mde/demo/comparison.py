"""Tenant against index, version by version.

Both sides are reduced to keys that a document can show: the id of the record and, where a version
is told by a time, that time with all its seven digits. The keys are then counted one by one, so
the result is exact: nothing is estimated by an aggregation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aquila_mde.defender.times import parse_ticks
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.scan import LENIENT, scan

Key = tuple[str | int | None, ...]

_PAGE = 5_000
_TIMED = frozenset({"alert", "machine_action"})
"""Streams whose versions are told by a time, which the pipeline makes the document's own."""


@dataclass(frozen=True)
class Comparison:
    """What both sides hold of one stream."""

    tenant: int
    """Versions that the tenant holds."""
    indexed: int
    """Documents that a search finds."""
    missing: int
    """Versions of the tenant without a document."""
    duplicates: int
    """Documents of a version beyond the first."""
    unknown: int
    """Documents of no version that the tenant holds."""
    failed: int
    """Dead letters, and documents that the pipeline could not finish."""

    @property
    def perfect(self) -> bool:
        """Whether the index holds what the tenant holds, once."""
        return not (self.missing or self.duplicates or self.unknown or self.failed)


async def compare(
    engine: Engine, stream: str, index: str, dead_letters: str, versions: Iterable[Sequence[str]]
) -> Comparison:
    """Compare ``versions``, the tenant's version keys, with the documents of ``index``.

    ``dead_letters`` is the data stream of what the engine refused.
    """
    timed = stream in _TIMED
    held: Counter[Key] = Counter(_tenant_key(version, timed=timed) for version in versions)
    await engine.request("POST", f"{index},{dead_letters}/_refresh", params=LENIENT)
    found: Counter[Key] = Counter()
    body = {"_source": ["event.id", "@timestamp"] if timed else ["event.id"]}
    async for hits in scan(engine, index, body, page=_PAGE):
        for hit in hits:
            found[_index_key(hit.source, timed=timed)] += 1
    return Comparison(
        tenant=held.total(),
        indexed=await count(engine, index),
        missing=(held - found).total(),
        duplicates=sum(found[key] - held[key] for key in held if found[key] > held[key]),
        unknown=sum(number for key, number in found.items() if key not in held),
        failed=await count(engine, index, {"term": {"event.kind": "pipeline_error"}})
        + await count(engine, dead_letters, {"term": {"mde.dead_letter.stream": stream}}),
    )


async def count(engine: Engine, index: str, query: dict[str, Any] | None = None) -> int:
    """The exact number of documents that match."""
    body = {"size": 0, "track_total_hits": True, "query": query or {"match_all": {}}}
    answer = await engine.request("POST", f"{index}/_search", body, params=LENIENT)
    return int(answer["hits"]["total"]["value"])


async def example(engine: Engine, index: str, query: dict[str, Any]) -> dict[str, Any] | None:
    """One document of ``index``, rather one that matches ``query`` if any does."""
    anything: dict[str, Any] = {"match_all": {}}
    for wanted in (query, anything):
        answer = await engine.request(
            "POST", f"{index}/_search", {"size": 1, "query": wanted}, params=LENIENT
        )
        if hits := answer["hits"]["hits"]:
            source: dict[str, Any] = hits[0]["_source"]
            return source
    return None


def _tenant_key(version: Sequence[str], *, timed: bool) -> Key:
    return (version[0], _ticks(version[1])) if timed else (version[0],)


def _index_key(source: dict[str, Any], *, timed: bool) -> Key:
    name = source.get("event", {}).get("id")
    return (name, _ticks(source.get("@timestamp"))) if timed else (name,)


def _ticks(text: Any) -> int | None:
    try:
        return parse_ticks(str(text))
    except ValueError:
        return None

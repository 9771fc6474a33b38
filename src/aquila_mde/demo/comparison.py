"""Tenant against index, version by version.

Both sides are reduced to keys that a document can show: the id of the record and, where a version
is told by a time, that time with all its seven digits. The keys are then counted one by one, so
the result is exact: nothing is estimated by an aggregation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aquila_mde.defender.times import parse_ticks
from aquila_mde.elastic.client import Engine

Key = tuple[str | int | None, ...]

_PAGE = 5_000
_KEEP_ALIVE = "2m"
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
    await engine.request("POST", f"{index},{dead_letters}/_refresh", params=_LENIENT)
    found: Counter[Key] = Counter()
    async for source in scan(engine, index, ("event.id", "@timestamp") if timed else ("event.id",)):
        found[_index_key(source, timed=timed)] += 1
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
    answer = await engine.request("POST", f"{index}/_search", body, params=_LENIENT)
    return int(answer["hits"]["total"]["value"])


async def scan(engine: Engine, index: str, fields: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    """``fields`` of every document of ``index``, in no order, a page at a time."""
    body = {"size": _PAGE, "sort": ["_doc"], "_source": list(fields)}
    answer = await engine.request(
        "POST", f"{index}/_search", body, params={"scroll": _KEEP_ALIVE, **_LENIENT}
    )
    try:
        while hits := answer["hits"]["hits"]:
            for hit in hits:
                yield hit["_source"]
            answer = await engine.request(
                "POST",
                "_search/scroll",
                {"scroll": _KEEP_ALIVE, "scroll_id": answer["_scroll_id"]},
            )
    finally:
        if scroll := answer.get("_scroll_id"):
            await engine.request("DELETE", "_search/scroll", {"scroll_id": scroll}, missing_ok=True)


async def example(engine: Engine, index: str, query: dict[str, Any]) -> dict[str, Any] | None:
    """One document of ``index``, rather one that matches ``query`` if any does."""
    anything: dict[str, Any] = {"match_all": {}}
    for wanted in (query, anything):
        answer = await engine.request(
            "POST", f"{index}/_search", {"size": 1, "query": wanted}, params=_LENIENT
        )
        if hits := answer["hits"]["hits"]:
            source: dict[str, Any] = hits[0]["_source"]
            return source
    return None


_LENIENT = {"ignore_unavailable": "true", "allow_no_indices": "true"}


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

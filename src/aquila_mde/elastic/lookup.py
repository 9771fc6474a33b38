"""Which documents a data stream holds, whichever backing index they lie in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from aquila_mde.elastic.bulk_answer import Cause
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineUnavailableError

_IDS_A_REQUEST = 5_000
_VALUES_A_REQUEST = 1_000
_NOT_STARTED = ("no_shard_available_action_exception", "illegal_index_shard_state_exception")
"""How an engine says that a shard is about to start, as after a rollover."""


class _Found(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    found: bool = False
    error: Cause | None = None


async def backing_indices(engine: Engine, index: str) -> list[str]:
    """The backing indices of the data stream ``index``, oldest first; none when it is not there."""
    answer = await engine.request("GET", f"_data_stream/{index}", missing_ok=True)
    streams = (answer or {}).get("data_streams") or []
    return [each["index_name"] for stream in streams for each in stream["indices"]]


async def found_in(engine: Engine, backing: str, ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` that the backing index ``backing`` holds, searchable already or not."""
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_A_REQUEST):
        part = list(ids[start : start + _IDS_A_REQUEST])
        async for attempt in engine.retry.attempted():
            with attempt:
                documents = await _looked_up(engine, backing, part)
                for document in documents:
                    if document.error and document.error.type in _NOT_STARTED:
                        raise _unreadable(engine, backing, document.error)
        for document in documents:
            if document.found:
                found.add(document.id)
            elif document.error and document.error.type != "index_not_found_exception":
                raise _unreadable(engine, backing, document.error)
    return found


async def _looked_up(engine: Engine, backing: str, ids: list[str]) -> list[_Found]:
    answer = await engine.request(
        "POST",
        f"{backing}/_mget",
        {"ids": ids},
        params={"_source": "false", "filter_path": "docs._id,docs.found,docs.error"},
    )
    return msgspec.convert(answer["docs"], list[_Found])


def _unreadable(engine: Engine, backing: str, cause: Cause) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{engine.place.host} cannot read {backing}: {cause.text()}",
        hint="Open the index, or repair its shards; records that it holds would be written twice "
        "otherwise.",
    )


async def existing(engine: Engine, index: str, ids: Iterable[str]) -> set[str]:
    """Those of ``ids`` that the data stream ``index`` holds, in any backing index."""
    left = dict.fromkeys(ids)
    found: set[str] = set()
    if not left:
        return found
    # The newest first: that is where most of them are.
    for backing in reversed(await backing_indices(engine, index)):
        here = await found_in(engine, backing, list(left))
        found |= here
        left = dict.fromkeys(each for each in left if each not in here)
        if not left:
            break
    return found


async def present(
    engine: Engine, index: str, field: str, values: Iterable[str], *, where: dict[str, Any]
) -> set[str]:
    """Those of ``values`` that ``field`` has in a document of ``index`` that matches ``where``.

    Sees what a search sees: documents of the last second or so may not be among them.
    """
    wanted = list(dict.fromkeys(values))
    found: set[str] = set()
    for start in range(0, len(wanted), _VALUES_A_REQUEST):
        part = wanted[start : start + _VALUES_A_REQUEST]
        body = {
            "size": 0,
            "query": {"bool": {"filter": [{"terms": {field: part}}, where]}},
            "aggs": {"found": {"terms": {"field": field, "include": part, "size": len(part)}}},
        }
        answer = await engine.request(
            "POST",
            f"{index}/_search",
            body,
            params={"ignore_unavailable": "true", "allow_no_indices": "true"},
        )
        buckets = (answer.get("aggregations") or {}).get("found", {}).get("buckets", [])
        found |= {str(bucket["key"]) for bucket in buckets}
    return found

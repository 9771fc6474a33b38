"""Every document of a search, a page at a time, as it was when the search began."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError

LENIENT = {"ignore_unavailable": "true", "allow_no_indices": "true"}
"""A data stream that is not there yet holds nothing."""
_KEEP_ALIVE = "5m"


class Hit(msgspec.Struct):
    """One document, and where it lies."""

    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    source: dict[str, Any] = msgspec.field(name="_source", default_factory=dict)
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    primary_term: int = msgspec.field(name="_primary_term", default=0)


async def refresh(engine: Engine, index: str) -> None:
    """Let a search see what was written until now, where the login may ask for that."""
    try:
        await engine.request("POST", f"{index}/_refresh", params=LENIENT)
    except EngineAccessError:
        # Without the privilege a search is about a second behind.
        return


async def scan(
    engine: Engine, index: str, body: dict[str, Any], *, page: int
) -> AsyncIterator[list[Hit]]:
    """The hits of the search ``body`` in no order, up to ``page`` at once."""
    answer = await engine.request(
        "POST",
        f"{index}/_search",
        {"sort": ["_doc"], **body, "size": page},
        params={"scroll": _KEEP_ALIVE, **LENIENT},
    )
    try:
        while hits := answer["hits"]["hits"]:
            yield msgspec.convert(hits, list[Hit])
            answer = await engine.request(
                "POST",
                "_search/scroll",
                {"scroll": _KEEP_ALIVE, "scroll_id": answer["_scroll_id"]},
            )
    finally:
        if scroll := answer.get("_scroll_id"):
            await engine.request("DELETE", "_search/scroll", {"scroll_id": scroll}, missing_ok=True)

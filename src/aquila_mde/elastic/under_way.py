"""Bulk requests that an engine is still working on, whoever has sent them.

A request that came whole is worked off to its end, also when whoever sent it is gone. Until then a
document of it may not be there yet, and be written into an older backing index later on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError, EngineRefusedError

_BULK = "indices:data/write/bulk"
_ASKED = {"actions": _BULK, "detailed": "true"}
_PAUSE = 0.2
_MOST_SECONDS = 120.0
"""As long as an answer to a bulk request is waited for."""
_log = structlog.get_logger(__name__)


async def settled(engine: Engine, index: str) -> None:
    """Wait until the engine is done with the bulk requests for ``index`` that it has now.

    A login that may not see them (``monitor``) waits for nothing.
    """
    first = await _tasks(engine, index)
    left = first
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            while left:
                await asyncio.sleep(_PAUSE)
                left = first & await _tasks(engine, index)
    except TimeoutError:
        _log.warning("The engine still works on earlier requests", index=index, requests=len(left))


async def _tasks(engine: Engine, index: str) -> frozenset[str]:
    try:
        answer = await engine.request("GET", "_tasks", params=_ASKED)
    except (EngineAccessError, EngineRefusedError):
        return frozenset()
    found: dict[str, Any] = {}
    for node in (answer.get("nodes") or {}).values():
        found |= node.get("tasks") or {}
    return frozenset(name for name, task in found.items() if index in task.get("description", ""))

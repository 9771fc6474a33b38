"""The engine's side of a process: one connection pool, and one bound for all that waits for it."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self

from aquila_mde.collect.turns import Turns
from aquila_mde.elastic.bulk import RETRY as BULK_RETRY
from aquila_mde.elastic.bulk import BulkSink
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.retry import RetryPolicy as EngineRetry
from aquila_mde.settings import ElasticsearchSettings

QUEUED_BYTES = 32 << 20
"""Bytes of documents, of all tenants, that wait for the engine's answer."""


class Outlet:
    """What every tenant of a process delivers through. Made by :meth:`open`; a context manager.

    How many requests the engine bears is found out for all of them together, and the bytes that are
    on their way are shared out by turns: see :class:`~aquila_mde.collect.turns.Turns`.
    """

    def __init__(self, engine: Engine, *, retry_wait: bool) -> None:
        self.engine = engine
        self.sink = BulkSink(engine, retry=replace(BULK_RETRY, wait=retry_wait))
        self.queue = Turns(QUEUED_BYTES)

    @classmethod
    async def open(cls, settings: ElasticsearchSettings, *, retry_wait: bool = True) -> Self:
        """Connect to the engine. Raises the :class:`AquilaError` that says why not."""
        engine = await Engine.connect(settings, retry=EngineRetry(wait=retry_wait))
        return cls(engine, retry_wait=retry_wait)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.aclose()

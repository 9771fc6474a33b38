"""The engine's side of a process: one connection pool, and one bound for all that waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Self

from aquila_mde.collect.turns import Turns
from aquila_mde.elastic.bulk import RETRY as BULK_RETRY
from aquila_mde.elastic.bulk import BulkSink
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.retry import RetryPolicy as EngineRetry
from aquila_mde.settings import ElasticsearchSettings

_ROOM = 4
"""Large answers, and files, of all tenants that are read and delivered at the same time."""
QUEUED_BYTES = 32 << 20
"""Bytes of documents, of all tenants, that wait for the engine's answer."""


class Room:
    """A tenant's room for answers of megabytes. A task has one place or none.

    One tenant has one place at a time, so that one whose answers drip leaves the others to the
    rest. Whatever is small needs no place, so a poll that brings little never waits for one.
    """

    def __init__(self, places: Turns, owner: str) -> None:
        self._places = places
        self._owner = owner
        self._inside: set[asyncio.Task[object] | None] = set()

    @property
    def taken(self) -> bool:
        """Whether this task has a place."""
        return asyncio.current_task() in self._inside

    async def enter(self) -> None:
        """Wait for a place for this task, unless it has one."""
        if not self.taken:
            await self._places.take(self._owner)
            self._inside.add(asyncio.current_task())

    def leave(self) -> None:
        """Let go of the place of this task, if it has one."""
        if self.taken:
            self._inside.discard(asyncio.current_task())
            self._places.give(self._owner)


class Outlet:
    """What every tenant of a process delivers through. Made by :meth:`open`; a context manager.

    How many requests the engine bears is found out for all of them together, and the bytes that are
    on their way are shared out by turns: see :class:`~aquila_mde.collect.turns.Turns`.
    """

    def __init__(self, engine: Engine, *, retry_wait: bool, alone: bool) -> None:
        self.engine = engine
        self.sink = BulkSink(engine, retry=replace(BULK_RETRY, wait=retry_wait))
        self.queue = None if alone else Turns(QUEUED_BYTES)
        """What bounds the bytes on their way; None: each delivery has its own bound alone."""
        self._places = None if alone else Turns(_ROOM, share=1)

    @classmethod
    async def open(
        cls, settings: ElasticsearchSettings, *, retry_wait: bool = True, alone: bool = True
    ) -> Self:
        """Connect to the engine. Raises the :class:`AquilaError` that says why not.

        A tenant that is ``alone`` shares no memory with others, so nothing is bounded further.
        """
        engine = await Engine.connect(settings, retry=EngineRetry(wait=retry_wait))
        return cls(engine, retry_wait=retry_wait, alone=alone)

    def room(self, owner: str) -> Room | None:
        """The room that ``owner`` gets for what is large: one place of few, or all there is."""
        return None if self._places is None else Room(self._places, owner)

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

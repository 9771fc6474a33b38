"""Documents into a data stream: bulk requests with `create`, every item answered for.

A document counts as delivered only when the engine said so for that very document. What the
engine could not do now is tried again, alone; what it will never take is handed back as dead; and
a fault of the whole engine is an error, after which nothing of the call counts as delivered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from aquila_mde.elastic.bulk_answer import (
    FILTER_PATH,
    Outcome,
    Result,
    Verdict,
)
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.compression import Compression
from aquila_mde.elastic.concurrency import Concurrency
from aquila_mde.elastic.documents import Documents, Item
from aquila_mde.elastic.errors import (
    INSTALL_HINT,
    AssetsMissingError,
    EngineAccessError,
    EngineRefusedError,
    EngineUnavailableError,
)
from aquila_mde.elastic.lookup import found_in
from aquila_mde.elastic.retry import RetryPolicy
from aquila_mde.elastic.under_way import settled
from aquila_mde.errors import first_failure

__all__ = ["RETRY", "BulkSink", "Documents", "Item", "Outcome", "Result"]

_log = structlog.get_logger()
RETRY = RetryPolicy(attempts=10, total_seconds=300.0, longest_wait=30.0)
"""How long a bulk request is tried."""
_PARAMETERS = {"filter_path": FILTER_PATH}
_SMALLEST_BODY = 64 << 10
_FIRST_AT_ONCE, _MOST_AT_ONCE = 4, 8
"""Requests under way at the beginning, and later at most: the engine has connections for more."""


class _Part(msgspec.Struct):
    """Items of one request, by their place in the call.

    ``doubtful`` after a lost answer; ``suspects`` are what becomes of its items when the engine
    stumbles at them to the end.
    """

    places: list[int]
    size: int
    doubtful: bool = False
    suspects: dict[int, Outcome] = {}


class BulkSink:
    """Sends documents; ``concurrency`` bounds the requests under way over all calls.

    It begins with four of them; see :class:`~aquila_mde.elastic.concurrency.Concurrency`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_bytes: int = 4 << 20,
        max_documents: int = 2_000,
        concurrency: int = _MOST_AT_ONCE,
        retry: RetryPolicy = RETRY,
    ) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._max_documents = max_documents
        self._retry = retry
        self.concurrency = Concurrency(min(_FIRST_AT_ONCE, concurrency), most=concurrency)
        self._compression = Compression(engine.compression)
        self._checking = asyncio.Lock()
        self._checked: set[str] = set()
        self._backing: dict[str, list[str]] = {}
        self._written: dict[str, str] = {}

    async def send(self, index: str, items: Documents | Sequence[Item]) -> list[Outcome]:
        """What became of each of ``items``, in their order.

        Raises :class:`~aquila_mde.elastic.errors.EngineUnavailableError` after the bounds of the
        retry, :class:`~aquila_mde.elastic.errors.EngineAccessError` and
        :class:`~aquila_mde.elastic.errors.AssetsMissingError`; documents of the call may or may
        not be there then, and sending them again is safe.
        """
        if not len(items):
            return []
        documents = Documents.of(items)
        await self._check_installed(index)
        outcomes: list[Outcome | None] = [None] * len(documents)
        parts = list(self._parts(documents))
        if len(parts) == 1:
            await self._deliver(index, documents, parts[0], outcomes)
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    for part in parts:
                        group.create_task(self._deliver(index, documents, part, outcomes))
            except BaseExceptionGroup as failures:
                raise first_failure(failures) from None
        return [outcome for outcome in outcomes if outcome is not None]

    async def already_in(self, index: str, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that a backing index other than the one written to holds already.

        The engine itself guards the index that it writes to; after a rollover it no longer knows
        of the older ones. One request for each older backing index and 5,000 ids; none when there
        is no older one.
        """
        if index not in self._backing:
            await self.refresh_backing(index)
        found: set[str] = set()
        for backing in self._backing[index]:
            found |= await found_in(self._engine, backing, ids)
        return found

    async def refresh_backing(self, index: str) -> None:
        """Learn the backing indices of ``index`` anew, as at the beginning of a pass.

        What was sent earlier and is still being written is waited for.
        """
        await settled(self._engine, index)
        answer = await self._engine.request("GET", f"_data_stream/{index}", missing_ok=True)
        streams = (answer or {}).get("data_streams") or []
        names = [each["index_name"] for stream in streams for each in stream["indices"]]
        # A lazy rollover is waiting: the next document goes into an index that is not there yet.
        rolls_over = any(stream.get("rollover_on_write") for stream in streams)
        self._backing[index] = names if rolls_over else names[:-1]

    def _parts(self, documents: Documents) -> Iterator[_Part]:
        if documents.size <= self._max_bytes and len(documents) <= self._max_documents:
            yield _Part(list(range(len(documents))), documents.size)
            return
        places: list[int] = []
        size = 0
        for place in range(len(documents)):
            length = documents.length(place)
            if places and (size + length > self._max_bytes or len(places) >= self._max_documents):
                yield _Part(places, size)
                places, size = [], 0
            places.append(place)
            size += length
        yield _Part(places, size)

    async def _deliver(
        self, index: str, documents: Documents, part: _Part, outcomes: list[Outcome | None]
    ) -> None:
        """Settle every item of ``part`` in ``outcomes``."""
        waiting = [part]
        try:
            async for attempt in self._retry.attempted():
                with attempt:
                    await self._work_off(index, documents, waiting, outcomes)
        except EngineUnavailableError:
            suspects = {place: out for each in waiting for place, out in each.suspects.items()}
            if any(place not in suspects for each in waiting for place in each.places):
                raise
            for place, outcome in suspects.items():
                outcomes[place] = outcome

    async def _work_off(
        self,
        index: str,
        documents: Documents,
        waiting: list[_Part],
        outcomes: list[Outcome | None],
    ) -> None:
        """One round over ``waiting``, which holds afterwards what has to be tried again."""
        later: list[_Part] = []
        failure: EngineUnavailableError | None = None
        while waiting:
            part = waiting.pop()
            try:
                verdict = await self._request(index, documents, part, outcomes)
            except EngineUnavailableError as error:
                # The answer is lost: the engine may have taken the documents.
                later.append(_Part(part.places, part.size, doubtful=True))
                failure = error
                continue
            except EngineRefusedError as error:
                waiting += self._halves(part, error, outcomes)
                continue
            if verdict.failure is not None:
                failure = verdict.failure
                later.append(_Part(verdict.unsettled, part.size, suspects=verdict.suspects))
            elif verdict.unsettled:
                waiting += _halved(verdict.unsettled, part.size)
        waiting += later
        if failure is not None:
            raise failure

    async def _request(
        self,
        index: str,
        documents: Documents,
        part: _Part,
        outcomes: list[Outcome | None],
    ) -> Verdict:
        """Send ``part`` once."""
        places = part.places
        if part.doubtful:
            places = await self._without_delivered(index, documents, places, outcomes)
        verdict = Verdict(self._engine, index, together=len(places) > 1)
        if not places:
            return verdict
        body = documents.lines(places)
        size = sum(map(len, body))
        async with self.concurrency.slot() as slot:
            try:
                raw = await self._sent(index, body, size)
                verdict.settle(raw, places, outcomes)
            except EngineUnavailableError:
                self.concurrency.fall(slot)
                raise
            if verdict.overloaded:
                self.concurrency.fall(slot)
            else:
                self.concurrency.answered(size)
        if verdict.written is not None and verdict.written != self._written.get(index):
            # The data stream rolled over: what it was written to before is an older index now.
            self._written[index] = verdict.written
            self._backing.pop(index, None)
        return verdict

    async def _sent(self, index: str, body: list[bytes], size: int) -> bytes:
        """The answer to ``body`` of ``size`` bytes, which goes as gzip where that is worth it."""
        gzip = self._compression.wanted(size)
        began = time.monotonic()
        try:
            raw = await self._engine.bulk(index, body, params=_PARAMETERS, gzip=gzip)
        except EngineRefusedError as error:
            if not gzip or error.status not in (400, 415) or not self._compression.refused():
                raise
            return await self._engine.bulk(index, body, params=_PARAMETERS)
        self._compression.answered(gzip, size, time.monotonic() - began, raw)
        return raw

    async def _without_delivered(
        self, index: str, documents: Documents, places: list[int], outcomes: list[Outcome | None]
    ) -> list[int]:
        """Settle what a request with a lost answer wrote before the data stream rolled over."""
        try:
            await self.refresh_backing(index)
            there = await self.already_in(index, [documents.ids[place] for place in places])
        except EngineAccessError:
            # A key that may only write cannot look into older indices.
            return places
        for place in places:
            if documents.ids[place] in there:
                outcomes[place] = Outcome(Result.EXISTS, None, 409)
        return [place for place in places if outcomes[place] is None]

    def _halves(
        self,
        part: _Part,
        error: EngineRefusedError,
        outcomes: list[Outcome | None],
    ) -> list[_Part]:
        """What to send instead of a body that is too large."""
        if error.status != 413:
            raise error
        places = [place for place in part.places if outcomes[place] is None]
        if len(places) > 1:
            self._max_bytes = max(min(self._max_bytes, part.size // 2), _SMALLEST_BODY)
            _log.warning("Bulk body is too large, sending smaller ones", bytes=self._max_bytes)
            return _halved(places, part.size)
        place = places[0]
        outcomes[place] = Outcome(Result.DEAD, None, 413, "request_too_large", error.message)
        return []

    async def _check_installed(self, index: str) -> None:
        """Without the template the engine would make up an index from the first document."""
        async with self._checking:
            if index not in self._checked:
                await self._find_template(index)
                self._checked.add(index)

    async def _find_template(self, index: str) -> None:
        template = index.rpartition("-")[0]
        try:
            answer = await self._engine.request(
                "GET", f"_index_template/{template}", missing_ok=True
            )
        except EngineAccessError:
            # A key that may only write documents cannot look; the answers tell soon enough.
            return
        if not answer:
            raise AssetsMissingError(
                f"{self._engine.place.host} has no index template {template}", hint=INSTALL_HINT
            )


def _halved(places: list[int], size: int) -> list[_Part]:
    if len(places) == 1:
        return [_Part(places, size)]
    middle = len(places) // 2
    return [_Part(places[:middle], size // 2), _Part(places[middle:], size // 2)]

"""One pass over one stream: records in, batches out, and the checkpoint behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from aquila_mde.collect.dead_letter import DeadLetters, Refusal, unreadable
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.document import DocumentWriter
from aquila_mde.collect.identity import IdentityReader, PassContext, Version
from aquila_mde.collect.state import Batch, ExportMark, StreamStore
from aquila_mde.defender.times import Ticks
from aquila_mde.elastic.bulk import BulkSink, Item, Outcome, Result

_BATCH = 1_000
"""Records whose ids are looked up, sent and written down together."""

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Counts:
    """What became of the records of one pass."""

    records: int = 0
    created: int = 0
    existing: int = 0
    dead: int = 0


class StreamPass:
    """Delivers records of one stream and writes down what was delivered.

    ``careful`` is for a pass whose records may have been sent before without a note of it (an
    earlier run was killed, or the state is new): ids are then also looked for in the older backing
    indices of the data stream, where ``create`` alone would not notice them.
    """

    def __init__(
        self,
        *,
        stream: str,
        index: str,
        store: StreamStore,
        counts: Counts,
        reader: IdentityReader,
        writer: DocumentWriter,
        context: PassContext,
        sink: BulkSink,
        delivery: Delivery,
        dead_letters: DeadLetters,
        observed: datetime,
        careful: bool,
        by_content: bool,
        keep_ids: bool,
        open_values: frozenset[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.counts = counts
        self.writer = writer
        self.context = context
        self._stream = stream
        self._index = index
        self._store = store
        self._reader = reader
        self._sink = sink
        self._delivery = delivery
        self._dead_letters = dead_letters
        self._observed = observed
        self._careful = careful
        self._by_content = by_content
        self._keep_ids = keep_ids
        self._open_values = open_values
        self._progress = progress

    async def deliver(
        self,
        records: Sequence[msgspec.Raw | bytes],
        *,
        bad: Sequence[bytes] = (),
        position: Ticks | None = None,
        export: ExportMark | None = None,
    ) -> None:
        """Send what is new in ``records``; once all of it is answered, save the position.

        ``bad`` are lines that are no records at all. Returns when everything is on its way, which
        may be before it is answered.
        """
        for start in range(0, len(records), _BATCH):
            part = records[start : start + _BATCH]
            if start + _BATCH < len(records):
                await self._deliver_batch(part, (), Batch())
            else:
                await self._deliver_batch(part, bad, Batch(position=position, export=export))
        if not records and (bad or position is not None or export is not None):
            await self._deliver_batch((), bad, Batch(position=position, export=export))
        self.counts.records += len(records) + len(bad)
        if self._progress:
            self._progress(self._stream, self.counts.records)

    async def settled(self) -> None:
        """Wait until everything handed over is answered and written down."""
        await self._delivery.drain()

    async def _deliver_batch(
        self, records: Sequence[msgspec.Raw | bytes], bad: Sequence[bytes], batch: Batch
    ) -> None:
        refused = [unreadable(line) for line in bad]
        found: list[tuple[Version, bytes]] = []
        for record in records:
            raw = bytes(record)
            try:
                found.append((self._reader.read(raw, self.context), raw))
            except msgspec.DecodeError:
                refused.append(unreadable(raw))
        unknown = self._without_known(found)
        elsewhere = await self._in_older_indices(unknown)
        fresh = [pair for pair in unknown if pair[0].document_id not in elsewhere]
        self.counts.existing += len(found) - len(fresh)
        for version, _ in unknown:
            if version.document_id in elsewhere:
                self._note(version, batch)
        items = [Item(version.document_id, self.writer.write(raw)) for version, raw in fresh]

        async def settle(outcomes: list[Outcome]) -> None:
            await self._settle(fresh, outcomes, refused, batch)

        await self._delivery.submit(items, settle)

    def _without_known(self, found: list[tuple[Version, bytes]]) -> list[tuple[Version, bytes]]:
        if self._by_content:
            known = self._store.contents(version.entity for version, _ in found)
            return [
                (version, raw)
                for version, raw in found
                if known.get(version.entity) != (version.content, version.renewal)
            ]
        if self._keep_ids:
            sent = self._store.known(version.document_id for version, _ in found)
            return [pair for pair in found if pair[0].document_id not in sent]
        return found

    async def _in_older_indices(self, found: list[tuple[Version, bytes]]) -> set[str]:
        if not self._careful or not found:
            return set()
        ids = [version.document_id for version, _ in found]
        return await self._sink.already_in(self._index, ids)

    async def _settle(
        self,
        fresh: list[tuple[Version, bytes]],
        outcomes: list[Outcome],
        refused: list[Refusal],
        batch: Batch,
    ) -> None:
        for (version, raw), outcome in zip(fresh, outcomes, strict=True):
            if outcome.result is Result.CREATED:
                batch.created += 1
            elif outcome.result is Result.EXISTS:
                self.counts.existing += 1
            else:
                refused.append(
                    Refusal(
                        document_id=version.document_id,
                        original=raw,
                        status=outcome.status,
                        reason_type=outcome.reason_type,
                        reason=outcome.reason,
                    )
                )
            self._note(version, batch)
        if refused:
            await self._dead_letters.write(refused, observed=self._observed)
            batch.dead = len(refused)
        self._store.commit(batch)
        self.counts.created += batch.created
        self.counts.dead += batch.dead

    def _note(self, version: Version, batch: Batch) -> None:
        time = self.context.started if version.time is None else version.time
        if version.content is not None:
            batch.content.append((version.entity, version.content, version.renewal))
        elif self._keep_ids:
            batch.delivered.append((version.document_id, time))
        if self._open_values is not None:
            if version.status in self._open_values:
                batch.opened.append((version.entity, time))
            else:
                batch.closed.append(version.entity)

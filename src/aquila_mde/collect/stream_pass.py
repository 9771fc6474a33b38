"""One pass over one stream: records in, batches out, and the checkpoint behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from aquila_mde.collect.columns import ColumnReader
from aquila_mde.collect.dead_letter import DeadLetters, Refusal, unreadable
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.document import DocumentWriter
from aquila_mde.collect.identity import IdentityReader, PassContext, Version
from aquila_mde.collect.joins import Join, Joined, Joins
from aquila_mde.collect.state import Batch, ExportMark, StreamStore
from aquila_mde.defender.times import Ticks
from aquila_mde.elastic.bulk import BulkSink, Item, Outcome, Result

_BATCH = 2_000
"""Rows whose ids are looked up, sent and written down together."""
_BATCH_OF_RECORDS = 500
"""The same for records that are read one by one: they are larger."""
_TOGETHER = 250
"""Records whose columns are worked on at once: what they need stays in the processor's cache."""

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Counts:
    """What became of the records of one pass."""

    records: int = 0
    created: int = 0
    existing: int = 0
    dead: int = 0


class _Record(msgspec.Struct, frozen=True, gc=False):
    version: Version
    raw: bytes
    joined: Joined


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
        columns: ColumnReader | None = None,
        writer: DocumentWriter,
        context: PassContext,
        sink: BulkSink,
        delivery: Delivery,
        dead_letters: DeadLetters,
        observed: datetime,
        careful: bool,
        by_content: bool,
        keep_ids: bool,
        entity: str,
        joins: Joins,
        feeds: Sequence[Join] = (),
        open_values: frozenset[str] | None = None,
        again: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.counts = counts
        self.writer = writer
        self.context = context
        self._stream = stream
        self._index = index
        self._store = store
        self._reader = reader
        self._columns = columns
        self._sink = sink
        self._delivery = delivery
        self._dead_letters = dead_letters
        self._observed = observed
        self._careful = careful
        self._by_content = by_content
        self._keep_ids = keep_ids
        self._entity = entity
        self._joins = joins
        self._feeds = feeds
        self._open_values = open_values
        self._again = again
        self._progress = progress
        self._remembers = by_content or keep_ids or open_values is not None

    async def deliver(
        self,
        records: Sequence[msgspec.Raw | bytes],
        *,
        bad: Sequence[bytes] = (),
        position: Ticks | None = None,
        export: ExportMark | None = None,
        unexpanded: Sequence[str] = (),
    ) -> None:
        """Send what is new in ``records``; once all of it is answered, save the position.

        ``bad`` are lines that are no records at all; ``unexpanded`` is what the service could not
        give with these records, which their documents then say. Returns when everything is on its
        way, which may be before it is answered.
        """
        size = _BATCH_OF_RECORDS if self._columns is None else _BATCH
        for start in range(0, len(records), size):
            part = records[start : start + size]
            if start + size < len(records):
                await self._deliver_batch(part, (), Batch(), unexpanded)
            else:
                batch = Batch(position=position, export=export)
                await self._deliver_batch(part, bad, batch, unexpanded)
        if not records and (bad or position is not None or export is not None):
            await self._deliver_batch((), bad, Batch(position=position, export=export), ())
        self.counts.records += len(records) + len(bad)
        if self._progress:
            self._progress(self._stream, self.counts.records)

    async def settled(self) -> None:
        """Wait until everything handed over is answered and written down."""
        await self._delivery.drain()

    async def _deliver_batch(
        self,
        records: Sequence[msgspec.Raw | bytes],
        bad: Sequence[bytes],
        batch: Batch,
        unexpanded: Sequence[str],
    ) -> None:
        refused = [unreadable(line) for line in bad]
        found = self._identify(records, refused)
        unknown = found if self._again else self._without_known(found)
        elsewhere = await self._in_older_indices(unknown)
        fresh = [each for each in unknown if each.version.document_id not in elsewhere]
        self.counts.existing += len(found) - len(fresh)
        for each in unknown:
            if each.version.document_id in elsewhere:
                self._note(each.version, batch)
        also = (("unexpanded",), (msgspec.json.encode(unexpanded),)) if unexpanded else ((), ())
        items = [
            Item(
                each.version.document_id,
                self.writer.write(
                    each.raw, each.joined.names + also[0], each.joined.values + also[1]
                ),
            )
            for each in fresh
        ]

        async def settle(outcomes: list[Outcome]) -> None:
            await self._settle(fresh, items, outcomes, refused, batch)

        await self._delivery.submit(items, settle)

    def _identify(
        self, records: Sequence[msgspec.Raw | bytes], refused: list[Refusal]
    ) -> list[_Record]:
        if self._columns is None or self._feeds:
            return self._identify_each(records, refused)
        found: list[_Record] = []
        for start in range(0, len(records), _TOGETHER):
            part = records[start : start + _TOGETHER]
            columns = self._columns.read(part)
            if columns is None:
                found += self._identify_each(part, refused)
                continue
            joined = self._joins.find_by(columns.keys, self.context.started)
            told = list(zip(*[one.digests for one in joined], strict=True))
            versions = self._columns.versions(columns, self.context, told)
            found += map(_Record, versions, map(bytes, part), joined)
        return found

    def _identify_each(
        self, records: Sequence[msgspec.Raw | bytes], refused: list[Refusal]
    ) -> list[_Record]:
        read: list[tuple[bytes, dict[str, Any]]] = []
        for record in records:
            raw = bytes(record)
            try:
                read.append((raw, self._reader.values(raw)))
            except msgspec.DecodeError:
                refused.append(unreadable(raw))
        for feed in self._feeds:
            feed.learn((raw for raw, _ in read), self._entity)
        joined = self._joins.find([values for _, values in read], self.context.started)
        return [
            _Record(self._reader.version(raw, values, self.context, one.digests), raw, one)
            for (raw, values), one in zip(read, joined, strict=True)
        ]

    def _without_known(self, found: list[_Record]) -> list[_Record]:
        if self._by_content:
            known = self._store.contents(each.version.entity for each in found)
            return [
                each
                for each in found
                if known.get(each.version.entity) != (each.version.content, each.version.renewal)
            ]
        if self._keep_ids:
            sent = self._store.known(each.version.document_id for each in found)
            return [each for each in found if each.version.document_id not in sent]
        return found

    async def _in_older_indices(self, found: list[_Record]) -> set[str]:
        if not self._careful or not found:
            return set()
        ids = [each.version.document_id for each in found]
        return await self._sink.already_in(self._index, ids)

    async def _settle(
        self,
        fresh: list[_Record],
        items: list[Item],
        outcomes: list[Outcome],
        refused: list[Refusal],
        batch: Batch,
    ) -> None:
        existing = 0
        for each, item, outcome in zip(fresh, items, outcomes, strict=True):
            result = outcome.result
            if result is Result.CREATED:
                batch.created += 1
            elif result is Result.EXISTS:
                existing += 1
            else:
                refused.append(
                    Refusal(
                        document_id=item.id,
                        original=each.raw,
                        document=item.source,
                        status=outcome.status,
                        reason_type=outcome.reason_type,
                        reason=outcome.reason,
                    )
                )
            if each.joined.missing and (
                result is Result.CREATED or (self._careful and result is Result.EXISTS)
            ):
                batch.waiting += self._joins.waiting(item.id, item.source, each.joined)
            if self._remembers:
                self._note(each.version, batch)
        if refused:
            await self._dead_letters.write(refused, observed=self._observed)
            batch.dead = len(refused)
        self._store.commit(batch, now=self.context.started)
        self.counts.created += batch.created
        self.counts.existing += existing
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

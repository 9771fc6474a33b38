"""One pass over one stream: records in, batches out, and the checkpoint behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from aquila_mde.collect.columns import ColumnReader
from aquila_mde.collect.dead_letter import DeadLetters, Refusal, unreadable
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.document import DocumentWriter, original_of
from aquila_mde.collect.fresh import Fresh, Gathered
from aquila_mde.collect.identity import IdentityReader, PassContext, Version
from aquila_mde.collect.joins import Join, Joined, Joins
from aquila_mde.collect.state import Batch, ExportMark, StreamStore
from aquila_mde.collect.unknown import PropertyWatch
from aquila_mde.defender.export import ExportChunk, ExportPosition
from aquila_mde.defender.export_lines import split_lines
from aquila_mde.defender.times import Ticks
from aquila_mde.elastic.bulk import BulkSink, Documents, Item, Outcome, Result
from aquila_mde.streams.stream import Stream

_BATCH = 500
"""Records that are looked up, sent and written down together."""
_LINES = 1_000
"""Lines of an export that are, at least."""
_TOGETHER = 16
"""Records that become one piece of a body: one that has to be looked into is taken apart."""

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Counts:
    """What became of the records of one pass."""

    records: int = 0
    created: int = 0
    existing: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """The tenant that records are of, and where its documents go."""

    tenant_id: str
    namespace: str
    told: dict[str, str]
    """What its documents say of it: its id, where its portal is, its name if it has one."""


class _Read(msgspec.Struct, gc=False):
    """Records that were read, identified and joined."""

    records: Sequence[msgspec.Raw | bytes]
    versions: list[Version]
    joined: Joined


class StreamPass:
    """Delivers records of one stream and writes down what was delivered.

    ``careful`` is for a pass whose records may have been sent before without a note of it (an
    earlier run was killed, or the state is new): ids are then also looked for in the older backing
    indices of the data stream, where ``create`` alone would not notice them. ``observed`` is the
    time that documents have until their pipeline reads it from the record; now, if it is not given.
    ``watch`` looks at what the records hold.
    """

    def __init__(
        self,
        stream: Stream,
        owner: Owner,
        *,
        store: StreamStore,
        sink: BulkSink,
        delivery: Delivery,
        context: PassContext,
        time_field: str | None,
        counts: Counts,
        joins: Joins,
        careful: bool,
        feeds: Sequence[Join] = (),
        open_values: frozenset[str] | None = None,
        again: bool = False,
        progress: Progress | None = None,
        observed: datetime | None = None,
        watch: PropertyWatch | None = None,
    ) -> None:
        spec, self._observed = stream.collect, observed or datetime.now(UTC)
        self.counts = counts
        self.context = context
        self.writer = DocumentWriter(
            stream, owner.namespace, tenant=owner.told, observed=self._observed
        )
        self._stream = stream.name
        self._index = stream.index(owner.namespace)
        self._store = store
        self._reader = IdentityReader(spec, owner.tenant_id, time_field=time_field)
        self._columns = None if feeds else ColumnReader.of(spec, owner.tenant_id)
        self._sink = sink
        self._delivery = delivery
        self._dead_letters = DeadLetters(
            sink, stream=stream.name, tenant_id=owner.tenant_id, namespace=owner.namespace
        )
        self._careful = careful
        self._by_content = spec.identity.by_content
        # Of an export there are too many, and it does not come again line by line.
        self._keep_ids = spec.strategy != "export"
        self._entity = spec.identity.entity
        self._joins = joins
        self._watch = watch
        self._feeds = feeds
        self._open_values = open_values
        self._again = again
        self._progress = progress
        self._gathered = Gathered()
        self._remembers = self._by_content or self._keep_ids or open_values is not None
        self.remember_since: Ticks | None = None
        """Ids of older records are not written down: the end of the pass would forget them. Is
        there none, what goes on with the pass is ``careful``."""
        self._knew_any = self._keep_ids and store.knows_any()

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
        for start in range(0, len(records), _BATCH):
            part = records[start : start + _BATCH]
            if start + _BATCH < len(records):
                await self._deliver_batch(part, (), Batch(), unexpanded)
            else:
                batch = Batch(position=position, export=export)
                await self._deliver_batch(part, bad, batch, unexpanded)
        if not records and (bad or position is not None or export is not None):
            await self._deliver_batch((), bad, Batch(position=position, export=export), ())
        self._count(len(records) + len(bad))

    async def deliver_lines(self, chunk: ExportChunk) -> None:
        """Do with the lines of ``chunk`` what :meth:`deliver` does with records.

        They may wait for those of the next call, until :meth:`settled` is called.
        """
        if self._columns is not None and self._write_columns(self._columns, chunk):
            self._gathered.export = _mark(chunk.position)
            if len(self._gathered.ids) >= _LINES:
                await self._send_gathered()
            return
        await self._send_gathered()
        good, bad = split_lines(chunk.text)
        await self.deliver(good, bad=bad, export=_mark(chunk.position))

    async def settled(self) -> None:
        """Wait until everything handed over is answered and written down."""
        await self._send_gathered()
        await self._delivery.drain()

    def _count(self, records: int) -> None:
        self.counts.records += records
        if self._progress:
            self._progress(self._stream, self.counts.records)

    def _write_columns(self, reader: ColumnReader, chunk: ExportChunk) -> bool:
        """Gather the documents of the lines of ``chunk``, if these are all alike."""
        columns = reader.read(chunk.text)
        if columns is None:
            return False
        if self._watch is not None:
            self._watch.look_at_lines(chunk.text)
        count = len(columns.records)
        joined = self._joins.find_by(columns.keys, count, self.context.started)
        ids = reader.ids(columns, self.context, joined.digests)
        if ids is None:
            return False
        chunk.lines = count
        self._gathered.add(ids, self.writer.lines(ids, columns.records, joined.members), joined)
        self._count(count)
        return True

    async def _send_gathered(self) -> None:
        gathered, self._gathered = self._gathered, Gathered()
        if gathered.ids:
            await self._send(gathered.fresh(), [], Batch(export=gathered.export))

    async def _deliver_batch(
        self,
        records: Sequence[msgspec.Raw | bytes],
        bad: Sequence[bytes],
        batch: Batch,
        unexpanded: Sequence[str],
    ) -> None:
        if self._watch is not None:
            self._watch.look(records)
        refused = [unreadable(line) for line in bad]
        read = self._identify_each(records, refused)
        places = range(len(read.versions)) if self._again else self._unknown(read.versions)
        self.counts.existing += len(read.versions) - len(places)
        versions = [read.versions[place] for place in places]
        joined = read.joined.only(places)
        members = joined.members
        if unexpanded:
            told = b',"unexpanded":' + msgspec.json.encode(unexpanded)
            members = [*members, [told] * joined.count]
        ids = [version.document_id for version in versions]
        body, starts = [], range(0, len(ids), _TOGETHER)
        for start in starts:
            part = slice(start, start + _TOGETHER)
            records = [read.records[place] for place in places[part]]
            body.append(self.writer.records(ids[part], records, [each[part] for each in members]))
        fresh = Fresh(Documents(ids, body, starts), joined.missing, versions)
        await self._send(fresh, refused, batch)

    async def _send(self, fresh: Fresh, refused: list[Refusal], batch: Batch) -> None:
        elsewhere = await self._in_older_indices(fresh.documents.ids)
        if elsewhere:
            ids = fresh.documents.ids
            self._note([each for each in fresh.versions if each.document_id in elsewhere], batch)
            fresh = fresh.only([place for place, each in enumerate(ids) if each not in elsewhere])
            self.counts.existing += len(ids) - len(fresh.documents)

        async def settle(outcomes: list[Outcome]) -> None:
            await self._settle(fresh, outcomes, refused, batch)

        if len(fresh.documents):
            await self._store.safe(sending=True)
        await self._delivery.submit(fresh.documents, settle)

    def _identify_each(
        self, records: Sequence[msgspec.Raw | bytes], refused: list[Refusal]
    ) -> _Read:
        now = self.context.started
        columns = self._reader.columns(records)
        if columns is not None:
            self._learn(records)
            joined = self._joins.find_by(columns, len(records), now)
            return _Read(records, self._reader.versions(columns), joined)
        read: list[msgspec.Raw | bytes] = []
        values: list[dict[str, Any]] = []
        for record in records:
            try:
                values.append(self._reader.values(record))
            except msgspec.DecodeError:
                refused.append(unreadable(bytes(record)))
            else:
                read.append(record)
        self._learn(read)
        joined = self._joins.find(values, now)
        versions = [
            self._reader.version(record, each, self.context, found)
            for record, each, found in zip(read, values, joined.told(), strict=True)
        ]
        return _Read(read, versions, joined)

    def _learn(self, records: Sequence[msgspec.Raw | bytes]) -> None:
        for feed in self._feeds:
            feed.learn(records, self._entity)

    def _unknown(self, versions: list[Version]) -> Sequence[int]:
        """The places of those that were not delivered before, as far as is written down."""
        if self._by_content:
            contents = self._store.contents(each.entity for each in versions)
            return [
                place
                for place, each in enumerate(versions)
                if contents.get(each.entity) != (each.content, each.renewal)
            ]
        asked = versions if self._knew_any else self._remembered(versions)
        if self._keep_ids and asked:
            sent = self._store.known(each.document_id for each in asked)
            if sent:
                return [
                    place for place, each in enumerate(versions) if each.document_id not in sent
                ]
        return range(len(versions))

    def _remembered(self, versions: list[Version]) -> list[Version]:
        """Those whose ids are written down once they are delivered."""
        since = self.remember_since
        if since is None:
            return versions
        return [each for each in versions if each.time is None or each.time >= since]

    async def _in_older_indices(self, ids: list[str]) -> set[str]:
        if not self._careful or not ids:
            return set()
        return await self._sink.already_in(self._index, ids)

    async def _settle(
        self,
        fresh: Fresh,
        outcomes: list[Outcome],
        refused: list[Refusal],
        batch: Batch,
    ) -> None:
        documents, existing = fresh.documents, 0
        batch.created = len(outcomes)
        # As a rule all of them are the same.
        if outcomes and outcomes.count(outcomes[0]) == len(outcomes):
            results = {outcomes[0].result}
        else:
            results = {outcome.result for outcome in outcomes}
        if results != {Result.CREATED}:
            batch.created = 0
            for place, outcome in enumerate(outcomes):
                if outcome.result is Result.CREATED:
                    batch.created += 1
                elif outcome.result is Result.EXISTS:
                    existing += 1
                else:
                    refused.append(_refusal(documents[place], outcome))
        for place, missing in fresh.missing.items():
            result = outcomes[place].result
            sent = result is Result.CREATED or (self._careful and result is Result.EXISTS)
            if sent and self._joins.wait(missing):
                item = documents[place]
                batch.waiting += self._joins.waiting(item.id, item.source, missing)
        if self._remembers:
            self._note(fresh.versions, batch)
        if refused:
            await self._dead_letters.write(refused, observed=self._observed)
            batch.dead = len(refused)
        self._store.commit(batch, now=self.context.started)
        await self._store.safe(sending=False)
        self.counts.created += batch.created
        self.counts.existing += existing
        self.counts.dead += batch.dead

    def _note(self, versions: list[Version], batch: Batch) -> None:
        started = self.context.started
        if self._by_content:
            batch.content += [
                (each.entity, each.content, each.renewal)
                for each in versions
                if each.content is not None
            ]
        elif self._keep_ids:
            batch.delivered += [
                (each.document_id, started if each.time is None else each.time)
                for each in self._remembered(versions)
            ]
        if self._open_values is not None:
            for each in versions:
                if each.status in self._open_values:
                    batch.opened.append((each.entity, started if each.time is None else each.time))
                else:
                    batch.closed.append(each.entity)


def _mark(position: ExportPosition) -> ExportMark:
    return ExportMark(position.generated, position.file, position.line)


def _refusal(item: Item, outcome: Outcome) -> Refusal:
    return Refusal(
        document_id=item.id,
        original=original_of(item.source),
        document=item.source,
        status=outcome.status,
        reason_type=outcome.reason_type,
        reason=outcome.reason,
    )

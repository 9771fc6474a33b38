"""What a lost state is rebuilt from: how far each stream was collected, kept in the engine.

The newest record in the index does not say that everything before it is there: a collector that
was killed in the middle of a page has delivered some of it and not the rest. So a pass that
reached its end leaves a checkpoint in a data stream of its own, and only a checkpoint is believed.

Of an export stream it holds where its changes go on. A new state takes a full export all the same,
but the changes before it, which alone tell what was fixed, are read from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import structlog

from aquila_mde.collect.delta import go_on_from
from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.incremental import followed_values, forget_before
from aquila_mde.collect.note import leave, note
from aquila_mde.collect.sides import Sides
from aquila_mde.collect.state import Batch, StreamStore
from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks, ticks_of
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.scan import LENIENT, Hit, scan
from aquila_mde.streams.indexed import indexed_field
from aquila_mde.streams.latest import TENANT_FIELD
from aquila_mde.streams.stream import Stream

DATASET = "aquila_mde.checkpoint"
_PAGE = 5_000
_log = structlog.get_logger(__name__)


class Checkpoints:
    """The checkpoints of one stream of one tenant, and the ``store`` that they stand in for."""

    def __init__(
        self, sides: Sides, stream: Stream, store: StreamStore, *, name: str | None = None
    ) -> None:
        self._sides = sides
        self._stream = stream
        self._name = name or stream.name
        """What the checkpoints are those of: a part of the stream may have its own."""
        self._store = store
        self._index = f"logs-{DATASET}-{sides.namespace}"

    async def write(self, field: str | None) -> None:
        """Note that everything before the cursor, which follows ``field``, was delivered.

        Nothing depends on it while the state is there, so an engine that does not take it is told
        in the log and fails no pass. Streams that are told by their content need none.
        """
        cursor = self._store.read().cursor
        if cursor is None or field is None or self._stream.collect.identity.by_content:
            return
        await self._write(field, cursor)

    async def write_changes(self) -> None:
        """Note where the changes of an export stream go on, as :meth:`write` does it."""
        spec = self._stream.collect
        going_on = go_on_from(spec, self._store)
        if spec.delta is not None and going_on is not None:
            since, read_at = going_on
            await self._write(spec.delta.time_field, since, read_at=format_ticks(read_at))

    async def restore(self, field: str | None) -> None:
        """Rebuild a store that is new from what the engine holds, if that is possible.

        Afterwards the cursor stands at the newest checkpoint, and what later passes read again is
        known: the ids of the overlap, and the records that may still change. The pass that follows
        has to be careful all the same, since a search does not see the very latest documents.

        Streams that are told by their content are left as they are: of what was sent the index
        holds the fields, not the digest. Their first pass reads everything, and each record that
        it meets is indexed once more.
        """
        stream, store, spec = self._stream, self._store, self._stream.collect
        if spec.cursor is None or field is None or spec.identity.by_content or not store.is_new():
            return
        time = indexed_field(stream, field)
        newest = await self._newest(field)
        if time is None or newest is None:
            return
        cursor, _ = newest
        documents = self._documents(time)
        if not await documents.any_before(cursor):
            # Somebody deleted them to have them collected again.
            return
        reached = dataclasses.replace(store.read(), cursor=cursor, cursor_field=field)
        since = forget_before(spec, reached.cursor)
        ids = 0
        async for hits in documents.since(cursor if since is None else since):
            batch = Batch(delivered=[(hit.id, when) for hit, when in documents.timed(hits)])
            store.commit(batch)
            ids += len(batch.delivered)
        await self._restore_open(documents, cursor, field)
        # Last, so that a rebuilding that was cut off is done again.
        store.restore(cursor)
        self._tell(cursor, ids=ids)

    async def restore_changes(self) -> None:
        """Let the changes of a store that is new go on where the newest checkpoint says.

        The ids of those that come again are not looked for: without a cursor their next reading
        is careful, whenever it is, and so is every export.
        """
        delta = self._stream.collect.delta
        if delta is None or not self._store.is_new():
            return
        newest = await self._newest(delta.time_field)
        if newest is None:
            return
        since, read_at = newest
        if read_at is None or not await self._documents("@timestamp").any_before(since):
            return
        DeltaStore(self._store).restore(since, read_at)
        self._tell(since)

    async def _write(self, field: str, cursor: Ticks, **more: str) -> None:
        sides, name = self._sides, self._name
        said = {
            "stream": name,
            "tenant_id": sides.tenant_id,
            "field": field,
            "cursor": format_ticks(cursor),
            **more,
        }
        item = note(
            DATASET,
            sides.namespace,
            *(sides.tenant_id, name, field, cursor),
            at=datetime.now(UTC),
            event={"kind": "state"},
            more={"mde": {"checkpoint": said}},
        )
        if problem := await leave(sides.sink, DATASET, sides.namespace, [item]):
            _log.warning(
                "The checkpoint was not taken: were the state lost now, more would be read again",
                stream=name,
                reason=problem,
            )

    async def _newest(self, field: str) -> tuple[Ticks, Ticks | None] | None:
        """The newest cursor that follows ``field``, and when its reading began."""
        place = "mde.checkpoint"
        wanted = {
            "stream": self._name,
            "tenant_id": self._sides.tenant_id,
            "field": field,
        }
        filters = [{"term": {f"{place}.{key}": value}} for key, value in wanted.items()]
        answer = await self._sides.engine.request(
            "POST",
            f"{self._index}/_search",
            {
                "size": 1,
                "query": {"bool": {"filter": filters}},
                "sort": [{f"{place}.cursor": {"order": "desc", "unmapped_type": "date_nanos"}}],
            },
            params=LENIENT,
        )
        for hit in answer["hits"]["hits"]:
            source = hit["_source"]
            cursor = _ticks(_at(source, f"{place}.cursor"))
            return None if cursor is None else (cursor, _ticks(_at(source, f"{place}.read_at")))
        return None

    async def _restore_open(self, documents: _Documents, cursor: Ticks, field: str) -> None:
        """Remember the records that may still change although ``field`` does not tell."""
        stream, spec = self._stream, self._stream.collect
        otherwise = spec.cursor.otherwise if spec.cursor else None
        values = followed_values(spec, field)
        if otherwise is None or values is None:
            return
        status = indexed_field(stream, otherwise.open.field)
        entity = indexed_field(stream, spec.identity.entity)
        if status is None or entity is None:
            return
        since = cursor - ticks_of(otherwise.open.at_most)
        where = {"terms": {status: sorted(values)}}
        async for hits in documents.since(since, where, entity):
            # Of one that is final by now an older version is met; reading it once more closes it.
            opened = [
                (str(_at(hit.source, entity)), when)
                for hit, when in documents.timed(hits)
                if _at(hit.source, entity)
            ]
            self._store.commit(Batch(opened=opened))

    def _documents(self, field: str) -> _Documents:
        sides = self._sides
        return _Documents(sides.engine, sides.index(self._stream), sides.tenant_id, field)

    def _tell(self, cursor: Ticks, **more: int) -> None:
        _log.info(
            "The state is new, but this tenant was collected before: going on from there",
            stream=self._name,
            cursor=format_ticks(cursor),
            **more,
        )


class _Documents:
    """The documents of one tenant in one data stream, by the time in ``field``."""

    def __init__(self, engine: Engine, index: str, tenant_id: str, field: str) -> None:
        self._engine = engine
        self._index = index
        self._field = field
        # Alerts name their tenant themselves, and not always in small letters.
        self._tenant = {"term": {TENANT_FIELD: {"value": tenant_id, "case_insensitive": True}}}

    async def any_before(self, moment: Ticks) -> bool:
        """Whether there is any document whose time is up to ``moment``."""
        until = {"range": {self._field: {"lte": format_ticks(moment)}}}
        answer = await self._engine.request(
            "POST",
            f"{self._index}/_search",
            {
                "size": 0,
                "terminate_after": 1,
                "query": {"bool": {"filter": [self._tenant, until]}},
            },
            params=LENIENT,
        )
        return int(answer["hits"]["total"]["value"]) > 0

    async def since(
        self, moment: Ticks, where: dict[str, Any] | None = None, *fields: str
    ) -> AsyncIterator[list[Hit]]:
        """The documents from ``moment`` on that match ``where``, with their time and ``fields``."""
        since = {"range": {self._field: {"gte": format_ticks(moment)}}}
        filters = [self._tenant, since, *([where] if where else [])]
        body = {"query": {"bool": {"filter": filters}}, "_source": [self._field, *fields]}
        async for hits in scan(self._engine, self._index, body, page=_PAGE):
            yield hits

    def timed(self, hits: list[Hit]) -> list[tuple[Hit, Ticks]]:
        """Each of ``hits`` with its time."""
        found = [(hit, _ticks(_at(hit.source, self._field))) for hit in hits]
        return [(hit, when) for hit, when in found if when is not None]


def _at(source: dict[str, Any], path: str) -> Any:
    value: Any = source
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _ticks(value: Any) -> Ticks | None:
    try:
        return parse_ticks(value) if isinstance(value, str) else None
    except ValueError:
        return None

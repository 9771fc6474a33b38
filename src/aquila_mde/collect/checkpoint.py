"""What a lost state is rebuilt from: how far each stream was collected, kept in the engine.

The newest record in the index does not say that everything before it is there: a collector that
was killed in the middle of a page has delivered some of it and not the rest. So a pass that
reached its end leaves a checkpoint in a data stream of its own, and only a checkpoint is believed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from aquila_mde.collect.document import iso_milliseconds
from aquila_mde.collect.incremental import followed_values, forget_before, ticks_of
from aquila_mde.collect.state import Batch, StreamState, StreamStore
from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks
from aquila_mde.elastic.bulk import BulkSink, Item, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.scan import LENIENT, Hit, scan
from aquila_mde.errors import AquilaError
from aquila_mde.settings import TenantSettings
from aquila_mde.streams.indexed import TENANT_FIELD, indexed_field
from aquila_mde.streams.stream import Stream

DATASET = "aquila_mde.checkpoint"
_PAGE = 5_000
_log = structlog.get_logger(__name__)


class Checkpoints:
    """Writes the checkpoints of one tenant."""

    def __init__(self, sink: BulkSink, *, tenant_id: str, namespace: str) -> None:
        self._sink = sink
        self._tenant_id = tenant_id
        self._namespace = namespace

    async def write(self, stream: Stream, field: str | None, state: StreamState) -> None:
        """Note that everything of ``stream`` before the cursor of ``state`` was delivered.

        Nothing depends on it while the state is there, so an engine that does not take it is told
        in the log and fails no pass. Streams that are told by their content need none.
        """
        if state.cursor is None or field is None or stream.collect.identity.by_content:
            return
        place = f"{self._tenant_id}\0{stream.name}\0{field}\0{state.cursor}"
        document = {
            "@timestamp": iso_milliseconds(datetime.now(UTC)),
            "data_stream": {"type": "logs", "dataset": DATASET, "namespace": self._namespace},
            "event": {"module": "aquila_mde", "dataset": DATASET, "kind": "state"},
            "mde": {
                "checkpoint": {
                    "stream": stream.name,
                    "tenant_id": self._tenant_id,
                    "field": field,
                    "cursor": format_ticks(state.cursor),
                }
            },
        }
        item = Item(
            hashlib.blake2b(place.encode(), digest_size=16).hexdigest(),
            msgspec.json.encode(document),
        )
        try:
            (outcome,) = await self._sink.send(_index(self._namespace), [item])
            problem = outcome.reason if outcome.result is Result.DEAD else ""
        except AquilaError as error:
            problem = f"{error.message} {error.hint}"
        if problem:
            _log.warning(
                "The checkpoint was not taken: were the state lost now, more would be read again",
                stream=stream.name,
                reason=problem,
            )


async def restore(
    stream: Stream,
    store: StreamStore,
    engine: Engine,
    tenant: TenantSettings,
    *,
    field: str | None,
) -> bool:
    """Rebuild a ``store`` that is new from what the engine holds; whether that was possible.

    Afterwards the cursor stands at the newest checkpoint, and what later passes read again is
    known: the ids of the overlap, and the records that may still change. The pass that follows
    has to be careful all the same, since a search does not see the very latest documents.

    Streams that are told by their content are left as they are: of what was sent the index holds
    the fields, not the digest. Their first pass reads everything, and each record that it meets is
    indexed once more.
    """
    spec = stream.collect
    if spec.cursor is None or field is None or spec.identity.by_content or not store.is_new():
        return False
    time = indexed_field(stream, field)
    cursor = await _newest(engine, stream, tenant, field)
    if time is None or cursor is None:
        return False
    documents = _Documents(engine, stream.index(tenant.namespace), tenant.id, time)
    if not await documents.any_before(cursor):
        # Somebody deleted them to have them collected again.
        return False
    reached = dataclasses.replace(store.read(), cursor=cursor, cursor_field=field)
    since = forget_before(spec, reached)
    ids = 0
    async for hits in documents.since(cursor if since is None else since):
        batch = Batch(delivered=[(hit.id, when) for hit, when in documents.timed(hits)])
        store.commit(batch)
        ids += len(batch.delivered)
    await _restore_open(stream, store, documents, cursor, field)
    # Last, so that a rebuilding that was cut off is done again.
    store.restore(cursor)
    _log.info(
        "The state is new, but this tenant was collected before: going on from there",
        stream=stream.name,
        cursor=format_ticks(cursor),
        ids=ids,
    )
    return True


async def _restore_open(
    stream: Stream, store: StreamStore, documents: _Documents, cursor: Ticks, field: str
) -> None:
    """Remember the records that may still change although ``field`` does not tell."""
    spec = stream.collect
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
        store.commit(Batch(opened=opened))


async def _newest(
    engine: Engine, stream: Stream, tenant: TenantSettings, field: str
) -> Ticks | None:
    place = "mde.checkpoint"
    wanted = {"stream": stream.name, "tenant_id": tenant.id, "field": field}
    answer = await engine.request(
        "POST",
        f"{_index(tenant.namespace)}/_search",
        {
            "size": 1,
            "query": {
                "bool": {
                    "filter": [{"term": {f"{place}.{key}": value}} for key, value in wanted.items()]
                }
            },
            "sort": [{f"{place}.cursor": {"order": "desc", "unmapped_type": "date_nanos"}}],
        },
        params=LENIENT,
    )
    hits = answer["hits"]["hits"]
    return _ticks(_at(hits[0]["_source"], f"{place}.cursor")) if hits else None


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


def _index(namespace: str) -> str:
    return f"logs-{DATASET}-{namespace}"


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

"""Keeps the newest version of each thing in an index, where the engine has no such transforms.

Does what the ``transform.yml`` of the package says, for one tenant: what was ingested since the
last time is read in that order, page by page, and a document takes the place of an older version
of the same thing, never that of a newer one. So the order in which versions arrive does not matter,
reading something twice changes nothing, and a run that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.latest_progress import Mark, Progress
from aquila_mde.elastic.package import Json, Transform
from aquila_mde.elastic.replace import Change, change
from aquila_mde.elastic.scan import LENIENT, Hit, refresh, scan
from aquila_mde.streams.collect_spec import parse_duration
from aquila_mde.streams.latest import NAMESPACE_FIELD, TENANT_FIELD

_PAGE = 500
"""Documents in hand at once; an alert with its evidence has some 10 kB."""
_DELETED_AT_ONCE = 20_000
_TRIES = 3
"""How often a page is compared once more because somebody has changed documents meanwhile."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_STEP = timedelta(milliseconds=1)
"""What a ``date`` of the engine tells apart."""
_log = structlog.get_logger(__name__)

Order = tuple[datetime, datetime]
"""Which of two versions is newer: by the field that is sorted by, then by when it was ingested."""


@dataclass(slots=True)
class LatestReport:
    """What one run did for one transform."""

    name: str
    """The name that the index is read by."""
    read: int = 0
    """Documents that were new."""
    written: int = 0
    """Things that are new or have a newer version."""
    deleted: int = 0
    """Things of which nothing was heard for too long."""
    refused: int = 0
    """Documents that the engine does not take there."""


@dataclass(frozen=True, slots=True)
class _Version:
    order: Order
    source: Json


class LatestIndex:
    """The newest versions of the things of one tenant, as one transform says."""

    def __init__(
        self, engine: Engine, transform: Transform, notes: str, *, tenant: str, namespace: str
    ) -> None:
        """``notes`` is the index that says how far was read."""
        definition = transform.definition
        self.index = transform.index
        self.frequency = parse_duration(definition["frequency"])
        self._engine = engine
        self._name = transform.alias
        self._key: list[str] = definition["latest"]["unique_key"]
        self._sort: str = definition["latest"]["sort"]
        self._ingested: str = definition["sync"]["time"]["field"]
        self._delay: str = definition["sync"]["time"]["delay"]
        self._retention: Json = definition["retention_policy"]["time"]
        self._query: Json = definition["source"]["query"]
        self._source = _of_namespace(definition["source"]["index"], namespace)
        self._mine = [{"term": {TENANT_FIELD: tenant}}, {"term": {NAMESPACE_FIELD: namespace}}]
        self._progress = Progress(engine, notes, transform, tenant=tenant, namespace=namespace)

    async def update(self) -> LatestReport:
        """Read what is new, and delete what nothing was heard of for too long.

        Raises an :class:`~aquila_mde.errors.AquilaError` when the engine does not do its part;
        what was done until then is done.
        """
        return await self._update(await self._progress.read())

    async def rebuild(self) -> LatestReport:
        """Delete the things of the tenant and read everything once more."""
        await self._progress.read()
        mark = await self._progress.forget()
        await self._delete({"match_all": {}})
        return await self._update(mark)

    async def _update(self, mark: Mark) -> LatestReport:
        report = LatestReport(self._name)
        await refresh(self._engine, self._source)
        settled = await self._settled(mark, report)
        if report.read:
            await self._read(mark, settled, report)
        age = {"range": {self._retention["field"]: {"lt": f"now-{self._retention['max_age']}"}}}
        report.deleted = await self._delete(age)
        if report.written or report.deleted or report.refused:
            _log.info("Newest versions are up to date", **{**_shown(report), "index": self.index})
        return report

    def _new(self, mark: Mark) -> Json:
        found: list[Json] = [self._query, self._mine[0], {"exists": {"field": self._ingested}}]
        if mark.read_to is not None:
            found.append({"range": {self._ingested: {"gt": mark.read_to}}})
        return {"bool": {"filter": found}}

    async def _settled(self, mark: Mark, report: LatestReport) -> datetime | None:
        """Counts what is new; the newest time in it before which nothing can appear any more.

        The engine's own clock decides, which has set these times.
        """
        old = {"range": {self._ingested: {"lte": f"now-{self._delay}"}}}
        last = {"last": {"max": {"field": self._ingested}}}
        body = {
            "size": 0,
            "track_total_hits": True,
            "query": self._new(mark),
            "aggs": {"settled": {"filter": old, "aggs": last}},
        }
        path = f"{self._source}/_search"
        answer = await self._engine.request("POST", path, body, params=LENIENT)
        report.read = int(answer["hits"]["total"]["value"])
        found = answer.get("aggregations", {}).get("settled", {}).get("last", {}).get("value")
        return None if found is None else _from_milliseconds(found)

    async def _read(self, mark: Mark, settled: datetime | None, report: LatestReport) -> None:
        body = {"query": self._new(mark), "sort": [{self._ingested: "asc"}]}
        async for hits in scan(self._engine, self._source, body, page=_PAGE):
            await self._take(self._newest(hits), report)
            # Others may have been ingested in the same millisecond, and come with the next page.
            seen = _time(_at(hits[-1].source, self._ingested)) - _STEP
            mark = await self._note(mark, settled and min(settled, seen))
        await self._note(mark, settled)

    async def _note(self, mark: Mark, read_to: datetime | None) -> Mark:
        if read_to is None or (mark.read_to and read_to <= _time(mark.read_to)):
            return mark
        return await self._progress.write(mark, read_to.isoformat(timespec="milliseconds"))

    def _newest(self, hits: Iterable[Hit]) -> dict[str, _Version]:
        found: dict[str, _Version] = {}
        for hit in hits:
            each = _Version(self._order(hit.source), hit.source)
            name = self._id(hit.source)
            if name not in found or found[name].order < each.order:
                found[name] = each
        return found

    async def _take(self, versions: dict[str, _Version], report: LatestReport) -> None:
        """Give each of ``versions`` its place, unless a newer one has it."""
        left = versions
        for _ in range(_TRIES):
            changes = await self._changes(left)
            made = await change(self._engine, changes, retry=self._engine.retry)
            report.written += made
            if made == len(changes):
                return
            left = {each.id: left[each.id] for each in changes}
        refused = await self._changes(left)
        if refused:
            report.refused += len(refused)
            _log.warning(
                "The engine does not take documents for the newest versions",
                index=self.index,
                documents=len(refused),
            )

    async def _changes(self, versions: dict[str, _Version]) -> list[Change]:
        path = f"{self.index}/_mget"
        params = {"_source_includes": f"{self._sort},{self._ingested}"}
        answer = await self._engine.request("POST", path, {"ids": list(versions)}, params=params)
        held = {each["_id"]: each for each in answer["docs"] if each.get("found")}
        changes: list[Change] = []
        for name, version in versions.items():
            there = held.get(name)
            if there is not None and self._order(there["_source"]) >= version.order:
                continue
            seq_no, term = (there["_seq_no"], there["_primary_term"]) if there else (None, 0)
            source = msgspec.json.encode(version.source)
            changes.append(Change(self.index, name, seq_no, term, source))
        return changes

    async def _delete(self, query: Json) -> int:
        """Delete the tenant's things that match; how many there were."""
        body = {"query": {"bool": {"filter": [*self._mine, query]}}}
        params = {"conflicts": "proceed", "max_docs": str(_DELETED_AT_ONCE)}
        total = 0
        while True:
            await refresh(self._engine, self.index)
            answer = await self._engine.request(
                "POST", f"{self.index}/_delete_by_query", body, params=params
            )
            total += int(answer["deleted"])
            if answer["deleted"] < _DELETED_AT_ONCE:
                return total

    def _order(self, source: Json) -> Order:
        return _time(_at(source, self._sort)), _time(_at(source, self._ingested))

    def _id(self, source: Json) -> str:
        values = [_at(source, name) for name in self._key]
        return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:32]


def _of_namespace(patterns: str | list[str], namespace: str) -> str:
    """The data streams of ``namespace`` alone, which is all that a collector may read."""
    listed = [patterns] if isinstance(patterns, str) else patterns
    return ",".join(
        f"{pattern[:-1]}{namespace}" if pattern.endswith("-*") else pattern for pattern in listed
    )


def _at(source: Mapping[str, Any], name: str) -> Any:
    """The value of the field ``name``, whether its parts are objects or one dotted name."""
    return next(_found(source, name), None)


def _found(source: Any, name: str) -> Iterator[Any]:
    if not isinstance(source, Mapping):
        return
    if name in source:
        yield source[name]
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield from _found(source.get(".".join(parts[:length])), ".".join(parts[length:]))


def _time(value: Any) -> datetime:
    """A time as documents write it; what is none counts as long ago."""
    if isinstance(value, int | float):
        return _from_milliseconds(value)
    found = _LONG_AGO
    with suppress(ValueError):
        found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _from_milliseconds(value: float) -> datetime:
    return datetime.fromtimestamp(value / 1000, UTC)


def _shown(report: LatestReport) -> dict[str, int]:
    return {
        "read": report.read,
        "written": report.written,
        "deleted": report.deleted,
        "refused": report.refused,
    }

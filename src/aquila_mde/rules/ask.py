"""What a rule finds in an engine, without Kibana: for engines that have none, and for trials.

Each type asks as Kibana's detection engine does: ``query`` for the records, ``threshold`` for
groups by a composite aggregation with a cardinality, ``new_terms`` for values whose first record of
history and look-back together lies in the look-back. EQL and ES|QL are asked for by neither: the
conditions of a sequence or of a join are queries, and what belongs together is worked out here.

Time is that of the records (``@timestamp``), since one who tries a rule looks at what has
happened and not at when it was taken in. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aquila_mde.dashboards.filters import parse_filter
from aquila_mde.errors import AquilaError, ExitCode
from aquila_mde.rules.load import Rule
from aquila_mde.rules.spec import OF_RECORD, Join, NewTerms, Sequence, Threshold, length

Json = dict[str, Any]
Search = Callable[[str, Json], Awaitable[Json]]
"""Sends a body to ``<indices>/_search`` and gives the answer."""
_MOST = 10_000
"""Records of one step of a sequence that are looked at."""
_GROUPS = 1_000
"""Groups of one page of an aggregation."""


class TooManyRecordsError(AquilaError):
    """There are more records of one step of a sequence than one answer of an engine holds."""

    exit_code = ExitCode.SETTINGS


@dataclass(frozen=True)
class Finding:
    """One detection."""

    values: tuple[str, ...]
    """Of the fields by which its records belong together; of a ``query``, the id of the record."""
    at: int
    """When its last record was."""


async def find(rule: Rule, search: Search, until: int, last: timedelta | None = None) -> Findings:
    """What ``rule`` finds in its look-back before ``until``, or run after run in ``last``.

    What counts within the look-back is asked for once for each look-back in ``last``. The records
    at ``until`` are not looked at.
    """
    asker = _Asker(rule, search)
    whole = milliseconds(last) if last is not None else asker.look_back
    start = until - whole
    if rule.spec.type in ("threshold", "join"):
        found: list[Finding] = []
        while until > start:
            found += await asker.run(max(start, until - asker.look_back), until)
            until -= asker.look_back
        return Findings(found, len(found))
    if rule.spec.type == "query":
        return await asker.records(start, until)
    found = await asker.run(start, until)
    return Findings(found, len(found))


@dataclass(frozen=True)
class Findings:
    """What a rule has found."""

    listed: list[Finding]
    total: int
    """Also counts the records beyond the 10,000 that an engine lists of a ``query``."""


def milliseconds(span: timedelta) -> int:
    """``span`` in milliseconds."""
    return span // timedelta(milliseconds=1)


class _Asker:
    """Asks for one rule."""

    def __init__(self, rule: Rule, search: Search) -> None:
        self._rule, self._search = rule, search
        self._indices = ",".join(rule.indices)
        self.look_back = milliseconds(length(rule.spec.look_back))

    async def run(self, start: int, end: int) -> list[Finding]:
        spec = self._rule.spec
        if spec.threshold is not None:
            return await self._threshold(spec.threshold, start, end)
        if spec.new_terms is not None:
            return await self._new_terms(spec.new_terms, start, end)
        if spec.sequence is not None:
            return await self._sequence(spec.sequence, start, end)
        if spec.join is not None:
            return await self._join(spec.join, start, end)
        return (await self.records(start, end)).listed

    async def records(self, start: int, end: int) -> Findings:
        """The records that a ``query`` finds."""
        answer = await self._ask(
            str(self._rule.spec.query),
            (start, end),
            {"size": _MOST, "_source": ["event.id"], "sort": [{OF_RECORD: "asc"}]},
        )
        found = []
        for hit in answer["hits"]["hits"]:
            event = hit.get("_source", {}).get("event", {})
            found.append(Finding((str(event.get("id", hit["_id"])),), int(hit["sort"][0])))
        return Findings(found, int(answer["hits"]["total"]["value"]))

    async def _threshold(self, wanted: Threshold, start: int, end: int) -> list[Finding]:
        more = {}
        if wanted.cardinality is not None:
            more["different"] = {"cardinality": {"field": wanted.cardinality.field}}
        query = str(self._rule.spec.query)
        return [
            group.finding()
            for group in await self._groups(query, (start, end), wanted.field, more)
            if group.count >= wanted.value
            and (wanted.cardinality is None or group.different >= wanted.cardinality.value)
        ]

    async def _new_terms(self, wanted: NewTerms, start: int, end: int) -> list[Finding]:
        since = min(start, end - milliseconds(length(wanted.history)))
        query = str(self._rule.spec.query)
        groups = await self._groups(query, (since, end), wanted.field, {})
        return [Finding(group.values, group.first) for group in groups if group.first >= start]

    async def _join(self, wanted: Join, start: int, end: int) -> list[Finding]:
        sides: list[dict[tuple[str, ...], int]] = []
        for side in wanted.sides:
            fields = (*wanted.by, side.key)
            groups = await self._groups(side.query, (start, end), fields, {})
            sides.append({group.values: group.last for group in groups})
        shared = set(sides[0]).intersection(*sides[1:])
        return [Finding(values, max(side[values] for side in sides)) for values in sorted(shared)]

    async def _sequence(self, wanted: Sequence, start: int, end: int) -> list[Finding]:
        events: list[tuple[int, int, tuple[str, ...]]] = []
        for step, condition in enumerate(wanted.steps):
            answer = await self._ask(
                condition,
                (start, end),
                {
                    "size": _MOST,
                    "_source": False,
                    "fields": list(wanted.by),
                    "sort": [{OF_RECORD: "asc"}],
                },
            )
            if answer["hits"]["total"]["value"] > _MOST:
                raise TooManyRecordsError(
                    f"The rule {self._rule.name} has more than {_MOST:,} records of one step.",
                    hint="Look at a shorter time with --last.",
                )
            for hit in answer["hits"]["hits"]:
                values = [hit.get("fields", {}).get(field) for field in wanted.by]
                if all(values):
                    key = tuple(str(value[0]) for value in values if value)
                    # At the same time, a later step is not after an earlier one.
                    events.append((int(hit["sort"][0]), -step, key))
        span = milliseconds(length(wanted.maxspan))
        return list(_in_sequence(sorted(events), len(wanted.steps), span))

    async def _groups(
        self, query: str, window: tuple[int, int], fields: tuple[str, ...], more: Json
    ) -> list[_Group]:
        """Every group of records with the same values of ``fields``."""
        composite: Json = {
            "size": _GROUPS,
            "sources": [{str(n): {"terms": {"field": name}}} for n, name in enumerate(fields)],
        }
        times = {"first": {"min": {"field": OF_RECORD}}, "last": {"max": {"field": OF_RECORD}}}
        body = {"size": 0, "aggs": {"groups": {"composite": composite, "aggs": times | more}}}
        found: list[_Group] = []
        while True:
            answer = await self._ask(query, window, body)
            # Where there is no index there is no aggregation either.
            groups = answer.get("aggregations", {"groups": {"buckets": []}})["groups"]
            found += [_Group.of(bucket) for bucket in groups["buckets"]]
            if len(groups["buckets"]) < _GROUPS:
                return found
            composite["after"] = groups["after_key"]

    async def _ask(self, query: str, window: tuple[int, int], body: Json) -> Json:
        start, end = window
        times = {"gte": start, "lt": end, "format": "epoch_millis"}
        within = [parse_filter(query).query(), {"range": {OF_RECORD: times}}]
        whole = {"query": {"bool": {"filter": within}}, "track_total_hits": True, **body}
        return await self._search(self._indices, whole)


@dataclass(frozen=True)
class _Group:
    """The records with the same values of some fields."""

    values: tuple[str, ...]
    count: int
    first: int
    last: int
    different: int

    @classmethod
    def of(cls, bucket: Json) -> _Group:
        """From an answer of the engine."""
        return cls(
            tuple(str(value) for value in bucket["key"].values()),
            int(bucket["doc_count"]),
            int(bucket["first"]["value"]),
            int(bucket["last"]["value"]),
            int(bucket.get("different", {}).get("value", 0)),
        )

    def finding(self) -> Finding:
        return Finding(self.values, self.last)


def _in_sequence(
    events: list[tuple[int, int, tuple[str, ...]]], steps: int, span: int
) -> Iterator[Finding]:
    """The sequences among ``events``, as EQL tells them.

    Each event is its time, its step as a negative number, and the values by which it belongs to
    others. One that continues a sequence takes it on; of two that could begin one the later does.
    """
    begun: dict[tuple[tuple[str, ...], int], int] = {}
    for at, negative, key in events:
        step = -negative
        if step == 0:
            begun[key, 0] = at
            continue
        since = begun.get((key, step - 1))
        if since is None or at - since > span:
            continue
        del begun[key, step - 1]
        if step == steps - 1:
            yield Finding(key, at)
        else:
            begun[key, step] = since

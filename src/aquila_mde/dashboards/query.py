"""What a panel asks the engine, and the rows that its answer holds.

Only aggregations that Elasticsearch and OpenSearch have alike, in the way that Kibana's Lens asks
for the same panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aquila_mde.dashboards.filters import parse_filter
from aquila_mde.dashboards.load import dataset, searched
from aquila_mde.dashboards.spec import Metric, Panel, Split

Json = dict[str, Any]
Value = str | float | int | None
_EXACT_TO = 40_000
"""Distinct values that are counted exactly where a number stands alone. Kibana leaves the engine's
own limit of 3,000, and so it is below a split: each value takes memory for its own count."""
_PLAIN = {"unique": "cardinality", "average": "avg", "sum": "sum", "min": "min", "max": "max"}
_CALENDAR = ("w", "M", "y")


@dataclass(frozen=True)
class Row:
    """One line of the answer: a key for each split of the panel, a value for each metric."""

    keys: tuple[Value, ...]
    values: tuple[Value, ...]


def index_of(panel: Panel) -> str:
    """What is searched."""
    return searched(str(panel.stream), latest=panel.latest)


def conditions(stream: str, text: str | None, last: str | None) -> list[Json]:
    """What a record of ``stream`` must fulfil to be shown; without ``last``, at any time."""
    found: list[Json] = [{"term": {"data_stream.dataset": dataset(stream)}}]
    if last is not None:
        found.append({"range": {"@timestamp": {"gte": f"now-{last}"}}})
    if text is not None:
        found.append(parse_filter(text).query())
    return found


def search(panel: Panel, last: str, only: tuple[Json, ...] = ()) -> Json:
    """The body of the search for ``panel``, of records that also match ``only``."""
    within = conditions(str(panel.stream), panel.filter, None if panel.latest else last)
    aggregations = {f"m{number}": _metric(one) for number, one in enumerate(panel.metrics)}
    if not panel.splits() and panel.metrics[0].function == "unique":
        alone = aggregations["m0"].get("aggs", {}).get("v", aggregations["m0"])
        alone["cardinality"]["precision_threshold"] = _EXACT_TO
    for split in reversed(panel.splits()):
        order = panel.metrics[split.by]
        # Values are chosen by a number, which has to be there where they are chosen.
        aggregations = {f"m{split.by}": _metric(order), **aggregations}
        aggregations = {"s": {**_split(split, order), "aggs": aggregations}}
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": [*within, *only]}},
        "aggs": aggregations,
    }


def rows(panel: Panel, answer: Json) -> list[Row]:
    """The rows of an answer, in the order of the engine."""
    return list(_rows(panel, answer.get("aggregations") or {}, ()))


def _metric(metric: Metric) -> Json:
    within = _within(metric)
    if metric.function == "count":
        return {"filter": within or {"match_all": {}}}
    inner = _function(metric)
    return inner if within is None else {"filter": within, "aggs": {"v": inner}}


def _within(metric: Metric) -> Json | None:
    """The records that the number is of; ``None`` for all."""
    found = [parse_filter(metric.filter).query()] if metric.filter else []
    if metric.since is not None:
        found += [{"exists": {"field": name}} for name in (metric.field, metric.since)]
    return {"bool": {"filter": found}} if found else None


def seconds_between(earlier: str, later: str, last: str) -> str:
    """Painless that makes the seconds between two times; ``last`` says what becomes of them."""
    end, start = (f"doc['{name}'].value.toInstant().toEpochMilli()" for name in (later, earlier))
    return last.format(f"({end} - {start}) / 1000.0")


def _function(metric: Metric) -> Json:
    field = metric.field
    source: Json = {"field": field}
    if metric.since is not None:
        source = {"script": {"source": seconds_between(metric.since, str(field), "return {};")}}
    match metric.function:
        case "median":
            return {"percentiles": {**source, "percents": [50]}}
        case "last":
            newest = [{"@timestamp": {"order": "desc"}}]
            asked = {"size": 1, "sort": newest, "_source": False, "docvalue_fields": [field]}
            return {"top_hits": asked}
        case "unique":
            return {"cardinality": {"field": field}}
        case function:
            return {_PLAIN[function]: source}


def _split(split: Split, order: Metric) -> Json:
    if split.every is not None:
        kind = "calendar_interval" if split.every.endswith(_CALENDAR) else "fixed_interval"
        return {"date_histogram": {"field": split.field, kind: split.every, "min_doc_count": 0}}
    if split.ranges:
        named = [{"key": one.label, "from": one.start, "to": one.end} for one in split.ranges]
        return {"range": {"field": split.field, "ranges": named}}
    if split.order == "name":
        by: Json = {"_key": "asc"}
    else:
        direction = "desc" if split.order == "most" else "asc"
        by = {_path(f"m{split.by}", order): direction}
    return {"terms": {"field": split.field, "size": split.limit, "order": by}}


def _path(name: str, metric: Metric) -> str:
    below = f"{name}>v" if _within(metric) and metric.function != "count" else name
    return f"{below}.50" if metric.function == "median" else below


def _rows(panel: Panel, level: Json, keys: tuple[Value, ...]) -> Iterator[Row]:
    splits = panel.splits()
    if len(keys) == len(splits):
        values = (_value(one, level.get(f"m{number}")) for number, one in enumerate(panel.metrics))
        yield Row(keys, tuple(values))
        return
    for bucket in (level.get("s") or {}).get("buckets", ()):
        key = bucket["key"]
        if splits[len(keys)].every is None:
            key = bucket.get("key_as_string", key)
        yield from _rows(panel, bucket, (*keys, key))


def _value(metric: Metric, answer: Json | None) -> Value:
    if answer is None:  # there is no index
        return 0 if metric.function in ("count", "unique") else None
    if metric.function == "count":
        return int(answer["doc_count"])
    if _within(metric):
        answer = answer["v"]
    match metric.function:
        case "median":
            found: Value = answer["values"].get("50.0")
        case "last":
            hits = answer["hits"]["hits"]
            listed = hits[0].get("fields", {}).get(metric.field, []) if hits else []
            found = ", ".join(str(one) for one in listed) or None
        case _:
            found = answer["value"]
    return found

"""Columns of a Lens layer: what is counted, and what it is split by."""

from __future__ import annotations

from typing import Any

from aquila_mde.dashboards.load import Types
from aquila_mde.dashboards.query import seconds_between
from aquila_mde.dashboards.spec import Metric, Panel, Split

Json = dict[str, Any]
RECORDS = "___records___"
LAG = "aquila_mde.seconds_later"
"""The runtime field of a panel whose number is the time between two times."""
_OPERATIONS = {"unique": "unique_count", "last": "last_value"}
_FORMATS: dict[str, Json] = {
    "number": {"id": "number", "params": {"decimals": 0}},
    "score": {"id": "number", "params": {"decimals": 1}},
    "percent": {"id": "percent", "params": {"decimals": 1}},
    "duration": {
        "id": "duration",
        "params": {"decimals": 1, "fromUnit": "seconds", "toUnit": "humanizePrecise"},
    },
    "nanoseconds": {
        "id": "duration",
        "params": {"decimals": 1, "fromUnit": "nanoseconds", "toUnit": "humanizePrecise"},
    },
}
_KINDS = {
    "date": "date",
    "date_nanos": "date",
    "boolean": "boolean",
    "ip": "ip",
    "keyword": "string",
    "constant_keyword": "string",
    "version": "string",
}


def columns(panel: Panel, types: Types) -> Json:
    """The columns of ``panel`` by their ids: splits from the outermost on, then metrics."""
    known = types.get(str(panel.stream), {})
    found: Json = {}
    for number, split in enumerate(panel.splits()):
        found[split_id(number)] = _split(split, _kind(known.get(split.field)))
    for number, metric in enumerate(panel.metrics):
        found[metric_id(number)] = _metric(metric, known.get(metric.field or ""), panel)
    return found


def split_id(number: int) -> str:
    """The column of a split."""
    return f"split-{number}"


def metric_id(number: int) -> str:
    """The column of a metric."""
    return f"metric-{number}"


def kuery(text: str | None) -> Json:
    """A query in Kibana's language."""
    return {"language": "kuery", "query": text or ""}


def runtime_field(panel: Panel) -> Json | None:
    """The runtime field that a panel needs, for the data view that is made for it alone."""
    metric = next((one for one in panel.metrics if one.since is not None), None)
    if metric is None:
        return None
    earlier, later = str(metric.since), str(metric.field)
    guarded = seconds_between(earlier, later, "emit({});")
    there = " && ".join(f"doc['{name}'].size() > 0" for name in (earlier, later))
    return {LAG: {"type": "double", "script": {"source": f"if ({there}) {{ {guarded} }}"}}}


def _kind(kind: str | None) -> str:
    return _KINDS.get(kind or "", "number")


def _split(split: Split, kind: str) -> Json:
    column: Json = {
        "customLabel": True,
        "isBucketed": True,
        "label": split.title,
        "sourceField": split.field,
    }
    if split.every is not None:
        parameters: Json = {"dropPartials": False, "includeEmptyRows": True}
        parameters["interval"] = split.every
        return {
            **column,
            "dataType": "date",
            "operationType": "date_histogram",
            "params": parameters,
            "scale": "interval",
        }
    if split.ranges:
        listed = [{"from": one.start, "label": one.label, "to": one.end} for one in split.ranges]
        shown = {"id": "range", "params": {"replaceInfinity": True, "template": "arrow_right"}}
        return {
            **column,
            "dataType": "number",
            "operationType": "range",
            "params": {
                "maxBars": "auto",
                "parentFormat": shown,
                "ranges": listed,
                "type": "range",
            },
            "scale": "ordinal",
        }
    by_name = split.order == "name"
    order: Json = {"columnId": metric_id(split.by), "type": "column"}
    if by_name:
        order = {"fallback": False, "type": "alphabetical"}
    return {
        **column,
        "dataType": kind,
        "operationType": "terms",
        "params": {
            "exclude": [],
            "excludeIsRegex": False,
            "include": [],
            "includeIsRegex": False,
            "missingBucket": False,
            "orderBy": order,
            "orderDirection": "asc" if by_name or split.order == "least" else "desc",
            "otherBucket": False,
            "parentFormat": {"id": "terms"},
            "size": split.limit,
        },
        "scale": "ordinal",
    }


def _metric(metric: Metric, kind: str | None, panel: Panel) -> Json:
    # Lens shows the name of the number of a metric where other panels have their title.
    label = panel.title if panel.kind == "metric" else metric.title
    parameters: Json = {}
    shown = metric.format in ("date", "text") or metric.function == "last"
    if not shown:
        parameters["format"] = _FORMATS[metric.format]
    data_type, scale = "number", "ratio"
    if metric.function == "last":
        parameters |= {"showArrayValues": True, "sortField": "@timestamp"}
        data_type, scale = _kind(kind), "ordinal"
    elif metric.function in ("min", "max"):
        data_type = _kind(kind) if metric.since is None else "number"
    if metric.function in ("count", "unique", "sum"):
        parameters["emptyAsNull"] = False
    return {
        "customLabel": True,
        "dataType": data_type,
        **({"filter": kuery(metric.filter)} if metric.filter else {}),
        "isBucketed": False,
        "label": label,
        "operationType": _OPERATIONS.get(metric.function, metric.function),
        "params": parameters,
        "scale": scale,
        "sourceField": LAG if metric.since is not None else metric.field or RECORDS,
    }

"""One question of the hunting pack as a saved search (a Discover session), for Kibana 8.19 and 9.x.

A KQL question searches ``logs-*`` behind a filter on its dataset, as the dashboards do. Newest
versions, and what an ES|QL question reads, have a data view that is part of the object.
"""

from __future__ import annotations

import json
from typing import Any

from aquila_mde.build.kibana.dashboard import PREFIX
from aquila_mde.build.kibana.lens import VIEW, dataset_filter
from aquila_mde.dashboards.load import dataset
from aquila_mde.hunting_pack.load import PackQuery
from aquila_mde.hunting_pack.spec import Question

Json = dict[str, Any]
_META = "kibanaSavedObjectMeta.searchSourceJSON"
_INDEX = f"{_META}.index"
_FILTER = f"{_META}.filter[0].meta.index"


def saved_search(query: PackQuery) -> str:
    """``query`` as the JSON of one file of ``kibana/search/``."""
    spec = query.spec
    by_kql = spec.language == "kql"
    own_view = spec.latest or not by_kql
    source = _of_view(query) if own_view else _of_stream(spec)
    saved = {
        "attributes": {
            "columns": list(spec.columns),
            "description": spec.question,
            "grid": {},
            "hideChart": not by_kql,
            "isTextBasedQuery": not by_kql,
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": json.dumps(source, ensure_ascii=False, separators=(",", ":"))
            },
            "sort": [["@timestamp", "desc"]] if by_kql else [],
            **_time(spec),
            "title": f"{PREFIX} {spec.title}",
            "usesAdHocDataView": own_view,
        },
        "coreMigrationVersion": "8.8.0",
        "id": query.id,
        "references": [] if own_view else [_view(_INDEX), _view(_FILTER)],
        "type": "search",
        "typeMigrationVersion": "10.5.0",
    }
    return json.dumps(saved, indent=2, ensure_ascii=False) + "\n"


def _time(spec: Question) -> Json:
    """What is shown at first; newest versions are shown whatever time is chosen."""
    if spec.last is None:
        return {"timeRestore": False}
    return {"timeRange": {"from": f"now-{spec.last}", "to": "now"}, "timeRestore": True}


def _of_stream(spec: Question) -> Json:
    return {
        "filter": [dataset_filter([dataset(str(spec.stream))], {"indexRefName": _FILTER})],
        "indexRefName": _INDEX,
        "query": _query(spec),
    }


def _of_view(query: PackQuery) -> Json:
    view: Json = {
        "allowHidden": False,
        "allowNoIndex": False,
        "fieldFormats": {},
        "id": f"{query.id}-view",
        "name": query.index,
        "runtimeFieldMap": {},
        "sourceFilters": [],
        "title": query.index,
    }
    if query.spec.language == "esql":
        view |= {"timeFieldName": "@timestamp", "type": "esql"}
    return {"filter": [], "index": view, "query": _query(query.spec)}


def _query(spec: Question) -> Json:
    if spec.language == "esql":
        return {"esql": spec.query.strip()}
    return {"language": "kuery", "query": " ".join(spec.query.split())}


def _view(name: str) -> Json:
    return {"id": VIEW, "name": name, "type": "index-pattern"}

"""One question of the hunting pack as a saved search (a Discover session), for Kibana 8.19 and 9.x.

A KQL question searches ``logs-*`` behind a filter on its dataset, as the dashboards do. An ES|QL
question says itself what it reads; its data view is part of the object.
"""

from __future__ import annotations

import json
from typing import Any

from aquila_mde.build.kibana.dashboard import PREFIX
from aquila_mde.build.kibana.lens import VIEW, dataset_filter
from aquila_mde.dashboards.load import dataset
from aquila_mde.esql import read_query
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
    source = _kql(spec) if by_kql else _esql(spec)
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
            "timeRange": {"from": f"now-{spec.last}", "to": "now"},
            "timeRestore": True,
            "title": f"{PREFIX} {spec.title}",
            "usesAdHocDataView": not by_kql,
        },
        "coreMigrationVersion": "8.8.0",
        "id": query.id,
        "references": [_view(_INDEX), _view(_FILTER)] if by_kql else [],
        "type": "search",
        "typeMigrationVersion": "10.5.0",
    }
    return json.dumps(saved, indent=2, ensure_ascii=False) + "\n"


def _kql(spec: Question) -> Json:
    return {
        "filter": [dataset_filter([dataset(str(spec.stream))], {"indexRefName": _FILTER})],
        "indexRefName": _INDEX,
        "query": {"language": "kuery", "query": " ".join(spec.query.split())},
    }


def _esql(spec: Question) -> Json:
    pattern = read_query(spec.query).index
    return {
        "filter": [],
        "index": {
            "allowHidden": False,
            "allowNoIndex": False,
            "fieldFormats": {},
            "id": f"esql-{pattern}",
            "name": pattern,
            "runtimeFieldMap": {},
            "sourceFilters": [],
            "timeFieldName": "@timestamp",
            "title": pattern,
            "type": "esql",
        },
        "query": {"esql": spec.query.strip()},
    }


def _view(name: str) -> Json:
    return {"id": VIEW, "name": name, "type": "index-pattern"}

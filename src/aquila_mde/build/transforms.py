"""The transforms of the package: what keeps the newest version of each thing in an index.

Elasticsearch runs them itself. Where an engine has none, the collector does what the same files
say (``aquila_mde.elastic.latest``).
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Any

import yaml

from aquila_mde.build.mappings import Mapping
from aquila_mde.dashboards.load import misuse
from aquila_mde.streams.faults import Fault
from aquila_mde.streams.latest import NAMESPACE_FIELD, Latest, latest_alias

FREQUENCY = "5m"
DELAY = "60s"
"""How long a document may take from its ``event.ingested`` until a search finds it."""
INGESTED = "event.ingested"
_FAILED = "error.message"
"""Is there when the pipeline could not finish a document."""
_HEAD = (
    "# Built from data_stream/{stream}/mapping.yml; run `aquila-mde build` after a change there.\n"
)


def latest_faults(mapping: Mapping, types: MappingType[str, str]) -> list[Fault]:
    """What is wrong with the ``latest`` of a mapping whose fields have these ``types``."""
    latest = mapping.spec.latest
    if latest is None:
        return []
    used = [(("latest", "key", number), name, "values") for number, name in enumerate(latest.key)]
    used += [
        (("latest", "needs", number), name, "filter") for number, name in enumerate(latest.needs)
    ]
    faults = []
    for place, name, use in (
        *used,
        (("latest", "sort"), latest.sort, "time"),
        (("latest", "retention", "field"), latest.retention.field, "time"),
    ):
        if problem := misuse(name, use, types, mapping.stream):
            faults.append(mapping.source.fault(place, problem))
    return faults


def render_transform(mapping: Mapping, latest: Latest, fields: dict[str, str]) -> dict[str, str]:
    """``transform.yml``, ``manifest.yml`` and the field files by name.

    ``fields`` are the field files of the stream.
    """
    head = _HEAD.format(stream=mapping.stream)
    files = {
        "transform.yml": head + _dump(_definition(mapping, latest)),
        "manifest.yml": head + _dump(_manifest()),
    }
    for name, content in fields.items():
        files[f"fields/{name}"] = head + _dump(_of_one_index(yaml.safe_load(content)))
    return files


def _definition(mapping: Mapping, latest: Latest) -> dict[str, Any]:
    alias = latest_alias(mapping.dataset)
    needed = [{"exists": {"field": name}} for name in (*latest.needed, latest.sort)]
    return {
        "description": f"The newest version of each {mapping.stream.replace('_', ' ')}.",
        "source": {
            "index": [f"logs-{mapping.dataset}-*"],
            "query": {
                "bool": {"filter": needed, "must_not": [{"exists": {"field": _FAILED}}]},
            },
        },
        "dest": {
            "index": f"{alias}-v{latest.version}",
            "aliases": [{"alias": alias, "move_on_creation": True}],
        },
        "latest": {"unique_key": list(latest.unique_key), "sort": latest.sort},
        "frequency": FREQUENCY,
        "sync": {"time": {"field": INGESTED, "delay": DELAY}},
        "retention_policy": {
            "time": {"field": latest.retention.field, "max_age": latest.retention.after}
        },
        # Waits for the data streams that are not there yet, and never gives up.
        "settings": {"unattended": True},
        "_meta": {
            "managed": True,
            # Fleet makes a transform anew when this changes, and only then.
            "fleet_transform_version": f"{latest.version}.0.0",
            # Kibana's own user may not read the data streams of packages that it does not know.
            "run_as_kibana_system": False,
        },
    }


def _manifest() -> dict[str, Any]:
    strings = {
        "match_mapping_type": "string",
        "mapping": {"type": "keyword", "ignore_above": 1024},
    }
    return {
        "start": True,
        "destination_index_template": {
            "settings": {"index": {"codec": "best_compression"}},
            "mappings": {
                "date_detection": False,
                "dynamic_templates": [{"strings_as_keyword": strings}],
            },
        },
    }


def _of_one_index(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``fields`` of an index that holds every namespace, which no data stream does."""
    return [one | {"type": "keyword"} if one["name"] == NAMESPACE_FIELD else one for one in fields]


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)

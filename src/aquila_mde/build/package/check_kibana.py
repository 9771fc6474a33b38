"""Kibana objects: dashboards above all, whose data views and fields nobody else looks at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aquila_mde.build.package.check_panels import check_panels, runtime_fields
from aquila_mde.build.package.fields import declared, is_declared
from aquila_mde.build.package.findings import Finding, Found, Json
from aquila_mde.build.package.reading import (
    JsonSource,
    PackageFiles,
    found_at,
    mapping,
    members,
    part,
    texts,
)

_PREFIXED = ("dashboard", "visualization", "search", "map", "lens", "tag", "ml_module")
_NO_ECS_SUFFIX = ("dashboard", "visualization", "search", "map", "lens")
_FLEET_VIEWS = ("logs-*", "metrics-*")
"""The data views that Fleet makes itself."""
_WITHOUT_DATA = ("markdown", "search", "links", "image", "slo", "navigation")
_KEPT_VISUALIZATIONS = ("vega", "markdown", "input_control_vis")
_RECORDS = "___records___"


def check_kibana(package: PackageFiles) -> Found:
    """Every finding about the objects in kibana/."""
    manifest = mapping(package.yaml("manifest.yml"))
    known: dict[str, str] = {"_id": "keyword", "_index": "keyword", "event.ingested": "date"}
    for stream in package.streams():
        known |= declared(package, f"data_stream/{stream}/fields")
    for _, match in package.matching(r"elasticsearch/transform/([^/]+)/transform\.yml"):
        known |= declared(package, f"elasticsearch/transform/{match[1]}/fields")
    for path, match in package.matching(r"kibana/([^/]+)/([^/]+)\.json"):
        source = package.json(path)
        if source is None:
            continue
        yield from _names(source, str(manifest.get("name")), match[1], match[2])
        yield from _references(package, source)
        if match[1] == "dashboard":
            attributes = part(_decoded(source.values), "attributes")
            yield from _dashboard(source, attributes, known | runtime_fields(attributes))
            yield from check_panels(package, source, attributes)
        elif match[1] == "search":
            yield from _search(source, known)
    yield from _tags(package)


def _names(source: JsonSource, package: str, folder: str, stem: str) -> Found:
    if source.values.get("id") != stem:
        problem = f"the id is {source.values.get('id')} and the file is {stem}.json"
        yield Finding(source.file, source.line('"id"'), "kibana-id", problem)
    prefixed = folder in _PREFIXED or folder.startswith("osquery_")
    if prefixed and not stem.startswith(f"{package}-"):
        yield Finding(source.file, 1, "kibana-id", f"the name must begin with {package}-")
    if folder in _NO_ECS_SUFFIX and stem.endswith("-ecs"):
        yield Finding(source.file, 1, "kibana-id", "the name must not end in -ecs")


def _references(package: PackageFiles, source: JsonSource) -> Found:
    for _, reference in members(source.values.get("references")):
        kind, name = str(reference.get("type")), str(reference.get("id"))
        line = source.line(f'"{name}"')
        if kind == "index-pattern":
            there = name in _FLEET_VIEWS or f"kibana/index_pattern/{name}.json" in package.files
            if not there:
                problem = f"there is no data view {name}: use logs-* or bring it"
                yield Finding(source.file, line, "data-view", problem)
        elif f"kibana/{kind.replace('-', '_')}/{name}.json" not in package.files:
            yield Finding(source.file, line, "reference", f"there is no {kind} {name}")
        if source.file.startswith("kibana/dashboard/") and kind in ("lens", "map", "visualization"):
            problem = f"the {kind} {name} must be part of the dashboard, not referred to"
            yield Finding(source.file, line, "by-reference", problem)


def _dashboard(source: JsonSource, attributes: Json, known: dict[str, str]) -> Found:
    panels = [panel for _, panel in members(attributes.get("panelsJSON"))]
    search = part(attributes, "kibanaSavedObjectMeta", "searchSourceJSON")
    unfiltered = [panel for panel in panels if not _exempt(panel) and not _own_filter(panel)]
    if not search.get("filter") and (unfiltered or not panels):
        problem = "has no filter, so that it shows the data of other packages too"
        if part(search, "query").get("query"):
            problem = "has a query and no filter: the first thing that a user types replaces it"
        yield Finding(source.file, source.line("searchSourceJSON"), "dashboard-filter", problem)
    for panel in panels:
        visualization = part(panel, "embeddableConfig", "savedVis")
        kind = visualization.get("type")
        if panel.get("type") == "visualization" and kind not in (None, *_KEPT_VISUALIZATIONS):
            problem = f"has a visualization of the old kind {kind}; use Lens"
            yield Finding(source.file, source.line(str(kind)), "legacy-visualization", problem)
    for name in sorted(set(_used_fields(attributes))):
        if not is_declared(name, known):
            problem = f"uses the field {name}, which no data stream declares"
            yield Finding(source.file, source.line(name), "dashboard-field", problem)


def _search(source: JsonSource, known: dict[str, str]) -> Found:
    """A saved search has a filter or a data view of its own, and shows fields that exist."""
    attributes = part(_decoded(source.values), "attributes")
    search = part(attributes, "kibanaSavedObjectMeta", "searchSourceJSON")
    if not search.get("filter") and not part(search, "index"):
        problem = "has no filter, so that it shows the data of other packages too"
        yield Finding(source.file, source.line("searchSourceJSON"), "search-filter", problem)
    for name in sorted({*texts(attributes.get("columns")), *_used_fields(search)}):
        if not is_declared(name, known):
            problem = f"shows the field {name}, which no data stream declares"
            yield Finding(source.file, source.line(name), "search-field", problem)


def _exempt(panel: Json) -> bool:
    visualization = part(panel, "embeddableConfig", "savedVis")
    return panel.get("type") in _WITHOUT_DATA or visualization.get("type") == "markdown"


def _own_filter(panel: Json) -> bool:
    config = part(panel, "embeddableConfig")
    state = part(config, "attributes", "state")
    search = part(config, "savedVis", "data", "searchSource")
    return any(
        one.get("filters") or one.get("filter") or part(one, "query").get("query")
        for one in (config, state, search)
    )


def _used_fields(value: Any) -> Iterator[str]:
    """Fields of Lens columns, of filters and of controls."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("sourceField", "fieldName") and isinstance(one, str) and one != _RECORDS:
                yield one
            elif key == "meta" and isinstance(one, dict) and isinstance(one.get("key"), str):
                yield one["key"]
            else:
                yield from _used_fields(one)
    elif isinstance(value, list):
        for one in value:
            yield from _used_fields(one)


def _decoded(value: Any) -> Any:
    """``value`` with the JSON texts in it as values: Kibana stores several keys as text."""
    if isinstance(value, dict):
        return {key: _decoded(_load(key, one)) for key, one in value.items()}
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value


def _load(key: str, value: Any) -> Any:
    if key.endswith("JSON") and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value


def _tags(package: PackageFiles) -> Found:
    names: Counter[str] = Counter()
    for path, _ in package.matching(r"kibana/tag/[^/]+\.json"):
        source = package.json(path)
        if source is not None:
            name = str(part(source.values, "attributes").get("name"))
            names[name] += 1
            if names[name] > 1:
                yield Finding(path, source.line(name), "tag", f"the tag {name} is there twice")
    listed = package.yaml("kibana/tags.yml")
    for number, entry in members(listed.values if listed is not None else None):
        name = str(entry.get("text"))
        names[name] += 1
        if listed is not None and names[name] > 1:
            yield found_at(listed, (number,), "tag", f"the tag {name} is there twice")

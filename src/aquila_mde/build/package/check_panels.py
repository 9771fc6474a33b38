"""Panels of dashboards: whether what they refer to is there, and each field fits its use.

The validator looks at neither; Kibana shows an empty panel or an error instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aquila_mde.build.package.check_transforms import destinations
from aquila_mde.build.package.fields import declared, is_declared
from aquila_mde.build.package.findings import Finding, Found, Json
from aquila_mde.build.package.reading import (
    JsonSource,
    PackageFiles,
    mapping,
    members,
    part,
    texts,
)
from aquila_mde.dashboards.load import FITTING

_RECORDS = "___records___"
_USES = {
    "terms": "values",
    "date_histogram": "time",
    "range": "ranges",
    "unique_count": "unique",
    "last_value": "last",
    **{name: name for name in ("average", "sum", "min", "max", "median")},
}
"""What Lens calls an operation, and what a field is used for by it."""
_DATASET = "data_stream.dataset"


def check_panels(package: PackageFiles, source: JsonSource, attributes: Json) -> Found:
    """Every finding about the panels of one dashboard; ``attributes`` are decoded."""
    names = {str(one.get("name")) for _, one in members(source.values.get("references"))}
    for _, panel in members(attributes.get("panelsJSON")):
        index = str(panel.get("panelIndex"))
        for needed in _needed(panel):
            if f"{index}:{needed}" not in names:
                problem = f"the panel {index} needs a reference {index}:{needed}"
                yield Finding(source.file, source.line(index), "panel-reference", problem)
        yield from _views(package, source, panel)
        known = _known(package, panel)
        if known is not None:
            yield from _columns(source, panel, known)


def runtime_fields(attributes: Json) -> dict[str, str]:
    """The fields that panels bring along, with their types."""
    found: dict[str, str] = {}
    for _, panel in members(attributes.get("panelsJSON")):
        for view in part(_state(panel), "adHocDataViews").values():
            for name, field in part(view, "runtimeFieldMap").items():
                found[name] = str(part(field).get("type"))
    return found


def _state(panel: Json) -> Json:
    return part(panel, "embeddableConfig", "attributes", "state")


def _needed(panel: Json) -> Iterator[str]:
    """The references that a panel uses, without the name of the panel."""
    inner = {str(one.get("name")) for _, one in members(_state(panel).get("internalReferences"))}
    for layer in part(_state(panel), "datasourceStates", "formBased", "layers"):
        if (name := f"indexpattern-datasource-layer-{layer}") not in inner:
            yield name
    config = part(panel, "embeddableConfig")
    for _, event in members(part(config, "enhancements", "dynamicActions").get("events")):
        kind = str(part(event, "action").get("factoryId"))
        if kind.startswith("DASHBOARD"):
            yield f"drilldown:{kind}:{event.get('eventId')}:dashboardId"
    for _, link in members(part(config, "attributes").get("links")):
        if link.get("type") == "dashboardLink":
            yield str(link.get("destinationRefName"))


def _views(package: PackageFiles, source: JsonSource, panel: Json) -> Found:
    """Whether a data view that a panel brings along has an index of the package."""
    name = str(mapping(package.yaml("manifest.yml")).get("name"))
    known = {f"logs-{name}.{stream}-*" for stream in package.streams()} | set(destinations(package))
    for view in part(_state(panel), "adHocDataViews").values():
        title = part(view).get("title")
        if title is not None and title not in known:
            problem = f"the panel {panel.get('panelIndex')} looks into {title}, which is nothing of"
            line = source.line(str(title))
            yield Finding(source.file, line, "panel-view", f"{problem} the package")


def _known(package: PackageFiles, panel: Json) -> dict[str, str] | None:
    """The fields of the data streams that a panel is filtered by; ``None`` without a filter."""
    datasets: list[str] = []
    for _, one in members(_state(panel).get("filters")):
        meta = part(one, "meta")
        if meta.get("key") == _DATASET:
            listed = meta.get("params")
            datasets += texts(listed) or [str(part(listed).get("query"))]
    named = {name.rpartition(".")[2] for name in datasets}
    streams = [stream for stream in package.streams() if stream in named]
    if not streams:
        return None
    found: dict[str, str] = {"_id": "keyword", "_index": "keyword"}
    for stream in streams:
        found |= declared(package, f"data_stream/{stream}/fields")
    for view in part(_state(panel), "adHocDataViews").values():
        for name, field in part(view, "runtimeFieldMap").items():
            found[name] = str(part(field).get("type"))
    return found


def _columns(source: JsonSource, panel: Json, known: dict[str, str]) -> Found:
    index = panel.get("panelIndex")
    for layer in part(_state(panel), "datasourceStates", "formBased", "layers").values():
        for column in part(layer, "columns").values():
            name: Any = part(column).get("sourceField")
            use = _USES.get(str(part(column).get("operationType")))
            if not isinstance(name, str) or name == _RECORDS or use is None:
                continue
            problem = ""
            kind = known.get(name)
            if kind is None and not is_declared(name, known):
                problem = f"uses the field {name}, which its data stream does not declare"
            elif kind is not None and kind not in FITTING[use]:
                problem = f"uses {name}, which is {kind}, for {column['operationType']}"
            if problem:
                line = source.line(name)
                yield Finding(source.file, line, "panel-field", f"the panel {index} {problem}")

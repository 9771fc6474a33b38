"""One dashboard as the saved object that Fleet imports, for Kibana 8.19 and 9.x.

Panels are part of the dashboard (by value), the data view is ``logs-*``, which every Kibana with
Fleet has, and each panel filters on its dataset. Ids are made of names, so that the same
description makes the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aquila_mde.build.kibana.lens import VIEW, attributes, dataset_filter
from aquila_mde.dashboards.load import PACKAGE, Dashboard, Types, dataset
from aquila_mde.dashboards.spec import GRID, Panel

Json = dict[str, Any]
PREFIX = "[Aquila MDE]"
_NAVIGATION = "navigation"
_NAVIGATION_ROWS = 3
_DRILL = "DASHBOARD_TO_DASHBOARD_DRILLDOWN"


def saved_object(dashboard: Dashboard, every: Sequence[Dashboard], types: Types) -> str:
    """``dashboard`` as the JSON of one file of ``kibana/dashboard/``.

    ``every`` are the dashboards that its navigation leads to, ``types`` the types of the fields.
    """
    spec = dashboard.spec
    navigation, references = _navigation(every)
    panels = [navigation]
    for panel in spec.panels:
        made, needed = _panel(panel, types)
        panels.append(made)
        references += needed
    shown = list(dict.fromkeys(dataset(one.stream) for one in spec.panels if one.stream))
    place = "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index"
    references.append(_reference(VIEW, place))
    controls, needed = _controls(dashboard)
    references += needed
    search = {
        "filter": [dataset_filter(shown, {"indexRefName": place})],
        "query": {"language": "kuery", "query": ""},
    }
    options = {
        "hidePanelTitles": False,
        "syncColors": False,
        "syncCursor": True,
        "syncTooltips": False,
        "useMargins": True,
    }
    saved = {
        "attributes": {
            "controlGroupInput": controls,
            "description": spec.question,
            "kibanaSavedObjectMeta": {"searchSourceJSON": _text(search)},
            "optionsJSON": _text(options),
            "panelsJSON": _text(panels),
            "refreshInterval": {"pause": True, "value": 60_000},
            "timeFrom": f"now-{spec.last}",
            "timeRestore": True,
            "timeTo": "now",
            "title": f"{PREFIX} {spec.title}",
            "version": 1,
        },
        "coreMigrationVersion": "8.8.0",
        "id": dashboard.id,
        "references": references,
        "type": "dashboard",
        "typeMigrationVersion": "10.2.0",
    }
    return json.dumps(saved, indent=2, ensure_ascii=False) + "\n"


def slug(title: str) -> str:
    """A title as an id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _text(value: Any) -> str:
    """Kibana keeps these parts of a dashboard as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _reference(name: str, place: str, kind: str = "index-pattern") -> Json:
    return {"id": name, "name": place, "type": kind}


def _grid(panel_id: str, at: tuple[int, int, int, int]) -> Json:
    return {**dict(zip("xywh", at, strict=True)), "i": panel_id}


def _navigation(every: Sequence[Dashboard]) -> tuple[Json, list[Json]]:
    """The panel with a link to each dashboard, and what it refers to."""
    links, references = [], []
    for number, dashboard in enumerate(every):
        name = f"link_{dashboard.name}_dashboard"
        links.append(
            {
                "destinationRefName": name,
                "id": dashboard.name,
                "label": dashboard.spec.title,
                "options": {
                    "openInNewTab": False,
                    "useCurrentDateRange": False,
                    "useCurrentFilters": True,
                },
                "order": number,
                "type": "dashboardLink",
            }
        )
        references.append(_reference(dashboard.id, f"{_NAVIGATION}:{name}", "dashboard"))
    panel = {
        "embeddableConfig": {
            "attributes": {"layout": "horizontal", "links": links},
            "enhancements": {},
            "hidePanelTitles": True,
        },
        "gridData": _grid(_NAVIGATION, (0, 0, GRID, _NAVIGATION_ROWS)),
        "panelIndex": _NAVIGATION,
        "type": "links",
    }
    return panel, references


def _panel(panel: Panel, types: Types) -> tuple[Json, list[Json]]:
    panel_id = slug(panel.title)
    at = (panel.at.x, panel.at.y + _NAVIGATION_ROWS, panel.at.w, panel.at.h)
    config: Json
    references: list[Json] = []
    if panel.kind == "markdown":
        kind, config = "visualization", {"enhancements": {}, "savedVis": _markdown(panel)}
    else:
        kind = "lens"
        inner = attributes(panel, panel_id, types)
        enhancements, needed = _drill(panel, panel_id)
        config = {"attributes": inner, "enhancements": enhancements}
        references = [
            _reference(one["id"], f"{panel_id}:{one['name']}") for one in inner["references"]
        ] + needed
    if panel.about:
        config["description"] = panel.about
    config["hidePanelTitles"] = panel.kind == "metric"
    config["title"] = panel.title
    made = {
        "embeddableConfig": config,
        "gridData": _grid(panel_id, at),
        "panelIndex": panel_id,
        "title": panel.title,
        "type": kind,
    }
    return made, references


def _markdown(panel: Panel) -> Json:
    return {
        "data": {
            "aggs": [],
            "searchSource": {"filter": [], "query": {"language": "kuery", "query": ""}},
        },
        "description": "",
        "id": "",
        "params": {"fontSize": 12, "markdown": panel.text, "openLinksInNewTab": False},
        "title": "",
        "type": "markdown",
        "uiState": {},
    }


def _drill(panel: Panel, panel_id: str) -> tuple[Json, list[Json]]:
    """Where a click on a value leads, filtered by it."""
    if panel.drill is None:
        return {"dynamicActions": {"events": []}}, []
    event = f"{panel_id}-{panel.drill}"
    action = {
        "config": {
            "openInNewTab": False,
            "useCurrentDateRange": True,
            "useCurrentFilters": True,
        },
        "factoryId": _DRILL,
        "name": f"Open {panel.drill.replace('-', ' ')}",
    }
    listed = [{"action": action, "eventId": event, "triggers": ["FILTER_TRIGGER"]}]
    place = f"{panel_id}:drilldown:{_DRILL}:{event}:dashboardId"
    reference = _reference(f"{PACKAGE}-{panel.drill}", place, "dashboard")
    return {"dynamicActions": {"events": listed}}, [reference]


def _controls(dashboard: Dashboard) -> tuple[Json, list[Json]]:
    listed, references = {}, []
    for number, (name, label, field) in enumerate(_named(dashboard)):
        listed[name] = {
            "explicitInput": {
                "dataViewId": VIEW,
                "exclude": False,
                "existsSelected": False,
                "fieldName": field,
                "id": name,
                "searchTechnique": "prefix",
                "selectedOptions": [],
                "sort": {"by": "_count", "direction": "desc"},
                "title": label,
            },
            "grow": True,
            "order": number,
            "type": "optionsListControl",
            "width": "medium",
        }
        references.append(_reference(VIEW, f"controlGroup_{name}:optionsListDataView"))
    group = {
        "chainingSystem": "HIERARCHICAL",
        "controlStyle": "oneLine",
        "ignoreParentSettingsJSON": _text(
            {
                "ignoreFilters": False,
                "ignoreQuery": False,
                "ignoreTimerange": False,
                "ignoreValidations": False,
            }
        ),
        "panelsJSON": _text(listed),
        "showApplySelections": False,
    }
    return group, references


def _named(dashboard: Dashboard) -> Iterator[tuple[str, str, str]]:
    for control in dashboard.spec.all_controls():
        yield f"control-{slug(control.label)}", control.label, control.field

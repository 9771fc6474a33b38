"""Lens panels: how the columns of a layer are drawn."""

from __future__ import annotations

from typing import Any

from aquila_mde.build.kibana.columns import columns, kuery, metric_id, runtime_field, split_id
from aquila_mde.dashboards.load import Types, dataset
from aquila_mde.dashboards.palettes import HEAT, ONE, PALETTES, tile_colours
from aquila_mde.dashboards.query import index_of
from aquila_mde.dashboards.spec import Metric, Panel, Split

Json = dict[str, Any]
VIEW = "logs-*"
"""The data view that Fleet makes in every Kibana."""
_LAYER = "data"
_TYPES = {"metric": "lnsMetric", "table": "lnsDatatable", "heatmap": "lnsHeatmap"}
_SERIES = {
    "line": "line",
    "area": "area_stacked",
    "bar": "bar_stacked",
    "bar_horizontal": "bar_horizontal_stacked",
}


def attributes(panel: Panel, panel_id: str, types: Types) -> Json:
    """The attributes of a Lens panel that is part of its dashboard, references included."""
    layer = columns(panel, types)
    filter_name = f"{panel_id}-dataset"
    own_view = _view_of(panel, panel_id)
    references = [_view(VIEW, filter_name)]
    internal: list[Json] = []
    layer_reference = f"indexpattern-datasource-layer-{_LAYER}"
    if own_view is None:
        references.insert(0, _view(VIEW, layer_reference))
    else:
        internal.append(_view(own_view["id"], layer_reference))
    return {
        "references": references,
        "state": {
            "adHocDataViews": {own_view["id"]: own_view} if own_view else {},
            "datasourceStates": {
                "formBased": {
                    "layers": {
                        _LAYER: {
                            "columnOrder": list(layer),
                            "columns": layer,
                            "ignoreGlobalFilters": False,
                            "incompleteColumns": {},
                            "sampling": 1,
                        }
                    }
                },
                "textBased": {"layers": {}},
            },
            "filters": [dataset_filter([dataset(str(panel.stream))], {"index": filter_name})],
            "internalReferences": internal,
            "query": kuery(panel.filter),
            "visualization": _visualization(panel),
        },
        "title": "",
        "type": "lens",
        "visualizationType": _TYPES.get(panel.kind, "lnsXY" if panel.x else "lnsPie"),
    }


def dataset_filter(names: list[str], index: Json) -> Json:
    """Only records of the datasets; ``index`` says which data view the filter belongs to."""
    field = "data_stream.dataset"
    phrases = [{"match_phrase": {field: name}} for name in names]
    query: Json = phrases[0]
    parameters: Any = {"query": names[0]}
    if len(names) > 1:
        query = {"bool": {"minimum_should_match": 1, "should": phrases}}
        parameters = names
    return {
        "$state": {"store": "appState"},
        "meta": {
            "alias": None,
            "disabled": False,
            "field": field,
            **index,
            "key": field,
            "negate": False,
            "params": parameters,
            "type": "phrases" if len(names) > 1 else "phrase",
        },
        "query": query,
    }


def _view(view: str, name: str) -> Json:
    return {"id": view, "name": name, "type": "index-pattern"}


def _view_of(panel: Panel, panel_id: str) -> Json | None:
    """The data view that a panel brings along: with a runtime field, or of newest versions.

    Those have no time field, so that they are shown whatever time is chosen.
    """
    runtime = runtime_field(panel)
    if runtime is None and not panel.latest:
        return None
    timed = {} if panel.latest else {"timeFieldName": "@timestamp"}
    return {
        "allowNoIndex": True,
        "fieldAttrs": {},
        "fieldFormats": {},
        "id": f"{panel_id}-view",
        "name": panel.title,
        "runtimeFieldMap": runtime or {},
        "sourceFilters": [],
        **timed,
        "title": index_of(panel),
    }


def _visualization(panel: Panel) -> Json:
    layer: Json = {"layerId": _LAYER, "layerType": "data"}
    match panel.kind:
        case "metric":
            return {**layer, **_tile(panel)}
        case "pie" | "donut":
            return {"layers": [{**layer, **_slices(panel)}], "shape": panel.kind}
        case "table":
            return {**layer, **_table(panel)}
        case "heatmap":
            return {**layer, **_heatmap()}
    return _series(panel, layer)


def _tile(panel: Panel) -> Json:
    found: Json = {"metricAccessor": metric_id(0), "secondaryTrend": {"type": "none"}}
    if panel.metrics[0].label:
        found["subtitle"] = panel.metrics[0].label
    none, some = tile_colours(panel.colour)
    found["applyColorTo"] = "background"
    if none == some:
        return found if some is None else {**found, "color": some}
    steps: list[Json] = [{"color": none, "stop": 1}, {"color": some, "stop": 2}]
    starts: list[Json] = [{"color": none, "stop": None}, {"color": some, "stop": 1}]
    return {**found, "palette": _palette("number", steps, starts, None)}


def _palette(kind: str, stops: list[Json], starts: list[Json], least: int | None) -> Json:
    return {
        "name": "custom",
        "params": {
            "colorStops": starts,
            "continuity": "all" if least is None else "above",
            "maxSteps": 5,
            "name": "custom",
            "progression": "fixed",
            "rangeMax": None,
            "rangeMin": least,
            "rangeType": kind,
            "reverse": False,
            "steps": len(stops),
            "stops": stops,
        },
        "type": "palette",
    }


def _slices(panel: Panel) -> Json:
    return {
        **_colours(panel.by),
        "categoryDisplay": "hide",
        "legendDisplay": "show",
        "legendPosition": "right",
        "legendStats": ["value"],
        "metrics": [metric_id(0)],
        "nestedLegend": False,
        "numberDisplay": "value",
        "primaryGroups": [split_id(0)],
        "truncateLegend": False,
    }


def _series(panel: Panel, layer: Json) -> Json:
    splits = panel.splits()
    at = {id(split): split_id(number) for number, split in enumerate(splits)}
    kind = _SERIES[panel.kind]
    accessors = [metric_id(number) for number in range(len(panel.metrics))]
    layer |= {
        "accessors": accessors,
        "position": "top",
        "seriesType": kind,
        "showGridlines": False,
        "xAccessor": at[id(panel.x)],
    }
    if panel.by is not None:
        layer |= {"splitAccessor": at[id(panel.by)], **_colours(panel.by)}
    elif len(accessors) == 1:
        layer["yConfig"] = [{"color": ONE, "forAccessor": accessors[0]}]
    return {
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "fittingFunction": "Linear",
        "layers": [layer],
        "legend": {"isVisible": True, "position": "right", "showSingleSeries": False},
        "preferredSeriesType": kind,
        "valueLabels": "hide",
    }


def _table(panel: Panel) -> Json:
    listed = [
        {
            "columnId": split_id(number),
            "hidden": split.hidden,
            "isMetric": False,
            "isTransposed": False,
        }
        for number, split in enumerate(panel.rows)
    ]
    listed += [
        {
            "columnId": metric_id(number),
            "isMetric": True,
            "isTransposed": False,
            "alignment": "left" if _is_text(metric) else "right",
            **_cell(metric),
        }
        for number, metric in enumerate(panel.metrics)
    ]
    found: Json = {
        "columns": listed,
        "density": "compact",
        "paging": {"enabled": True, "size": 20},
        "rowHeight": "single",
    }
    if panel.rows[0].order == "most":
        found["sorting"] = {"columnId": metric_id(panel.rows[0].by), "direction": "desc"}
    return found


def _is_text(metric: Metric) -> bool:
    return metric.function == "last" or metric.format in ("date", "text")


def _cell(metric: Metric) -> Json:
    if metric.colours is None:
        return {}
    return {"colorMapping": _mapping(metric.colours), "colorMode": "text"}


def _heatmap() -> Json:
    stops = [
        {"color": colour, "stop": (number + 1) * 100 // len(HEAT)}
        for number, colour in enumerate(HEAT)
    ]
    starts = [
        {"color": colour, "stop": number * 100 // len(HEAT)} for number, colour in enumerate(HEAT)
    ]
    return {
        "gridConfig": {
            "isCellLabelVisible": True,
            "isXAxisLabelVisible": True,
            "isXAxisTitleVisible": False,
            "isYAxisLabelVisible": True,
            "isYAxisTitleVisible": False,
            "type": "heatmap_grid",
        },
        "legend": {"isVisible": False, "position": "right", "type": "heatmap_legend"},
        "palette": {**_palette("percent", stops, starts, 0), "accessor": metric_id(0)},
        "shape": "heatmap",
        "valueAccessor": metric_id(0),
        "xAccessor": split_id(0),
        "yAccessor": split_id(1),
    }


def _colours(split: Split | None) -> Json:
    colours = split.colours if split is not None else None
    return {"colorMapping": _mapping(colours)}


def _mapping(name: str | None) -> Json:
    """Values with a colour of their own; all others in the order of Kibana's palette."""
    other = {"color": {"type": "loop"}, "rule": {"type": "other"}, "touched": False}
    return {
        "assignments": [
            {
                "color": {"colorCode": colour, "type": "colorCode"},
                "rule": {"type": "matchExactly", "values": [value]},
                "touched": True,
            }
            for value, colour in (PALETTES[name] if name else {}).items()
        ],
        "colorMode": {"type": "categorical"},
        "paletteId": "eui_amsterdam_color_blind",
        "specialAssignments": [other],
    }

"""What a panel shows: a number, a table, or a chart of Vega-Lite with the colours of Kibana."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aquila_mde.dashboards.palettes import HEAT, ONE, PALETTES, SERIES, tile_colours
from aquila_mde.dashboards.query import Row, Value
from aquila_mde.dashboards.spec import Metric, Panel, Split, hours
from aquila_mde.preview.ask import has_values
from aquila_mde.preview.texts import shown, unit_of

Json = dict[str, Any]
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_HOUR = 3_600_000
_FEW = 5
"""Up to here every whole number is on the axis."""
_LEAST_INTERVALS = 24
"""Of a histogram of time, so that a single bar is not as wide as the panel."""
_MARKS: dict[str, Json] = {
    "line": {"type": "line", "point": {"size": 30}},
    "area": {"type": "area", "line": True, "opacity": 0.6},
    "bar": {"type": "bar"},
    "bar_horizontal": {"type": "bar"},
}


def content(panel: Panel, rows: list[Row]) -> Json:
    """What is drawn, as JSON: ``tile``, ``table``, ``spec`` of Vega-Lite, or ``empty``."""
    if panel.kind == "metric":
        return _tile(panel, rows)
    if not has_values(rows):
        return {"empty": panel.empty or "No results", "expected": panel.empty is not None}
    if panel.kind == "table":
        return {"table": _table(panel, rows)}
    return {"spec": {"$schema": _SCHEMA, "width": "container", **_chart(panel, rows)}}


def _tile(panel: Panel, rows: list[Row]) -> Json:
    metric = panel.metrics[0]
    value = rows[0].values[0] if rows else None
    return {
        "tile": shown(metric, value),
        "note": metric.label or "",
        "background": tile_colours(panel.colour)[bool(value)],
    }


def _table(panel: Panel, rows: list[Row]) -> Json:
    if panel.rows[0].order == "most":
        by = panel.rows[0].by
        rows = sorted(rows, key=lambda row: _number(row.values[by]), reverse=True)
    columns = [{"label": one.title, "number": False} for one in panel.rows if not one.hidden]
    columns += [{"label": one.title, "number": not _is_text(one)} for one in panel.metrics]
    return {"columns": columns, "rows": [_cells(panel, row) for row in rows]}


def _cells(panel: Panel, row: Row) -> list[Json]:
    pairs = zip(panel.rows, row.keys, strict=True)
    cells = [{"text": str(key)} for split, key in pairs if not split.hidden]
    for metric, value in zip(panel.metrics, row.values, strict=True):
        cell = {"text": shown(metric, value)}
        colour = PALETTES[metric.colours].get(str(value)) if metric.colours else None
        cells.append(cell if colour is None else {**cell, "colour": colour})
    return cells


def _is_text(metric: Metric) -> bool:
    return metric.function == "last" or metric.format in ("date", "text")


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else float("-inf")


def _chart(panel: Panel, rows: list[Row]) -> Json:
    match panel.kind:
        case "pie" | "donut":
            return _slices(panel, rows)
        case "heatmap":
            return _heatmap(panel, rows)
    return _series(panel, rows)


def _order(split: Split, rows: list[Row], position: int) -> list[str]:
    """The values of a split: as its palette has them, otherwise as the engine gave them."""
    given = list(dict.fromkeys(str(row.keys[position]) for row in rows))
    if split.ranges:
        return [one.label for one in split.ranges if one.label in given]
    palette = list(PALETTES[split.colours]) if split.colours else []
    known = [value for value in palette if value in given]
    return known + [value for value in given if value not in known]


def _scale(split: Split, values: list[str]) -> Json:
    palette = PALETTES[split.colours] if split.colours else {}
    free = [colour for colour in SERIES if colour not in palette.values()]
    others = [value for value in values if value not in palette]
    chosen = palette | {value: free[number % len(free)] for number, value in enumerate(others)}
    return {"domain": values, "range": [chosen[value] for value in values]}


def _slices(panel: Panel, rows: list[Row]) -> Json:
    metric, split = panel.metrics[0], panel.splits()[0]
    order = _order(split, rows, 0)
    total = sum(_number(row.values[0]) for row in rows)
    numbers = {str(row.keys[0]): row.values[0] for row in rows}
    named = [f"{value}  {shown(metric, numbers[value])}" for value in order]
    values = [
        {
            "key": label,
            "value": numbers[value],
            "shown": shown(metric, numbers[value]),
            "share": f"{_number(numbers[value]) / total:.1%}" if total else "",
            "order": number,
        }
        for number, (value, label) in enumerate(zip(order, named, strict=True))
    ]
    colours = {"domain": named, "range": _scale(split, order)["range"]}
    return {
        "data": {"values": values},
        "mark": {
            "type": "arc",
            "innerRadius": {"expr": "min(width, height) / 2 * 0.55"}
            if panel.kind == "donut"
            else 0,
            "outerRadius": {"expr": "min(width, height) / 2 - 4"},
            "padAngle": 0.01,
        },
        "encoding": {
            "theta": {"field": "value", "type": "quantitative", "stack": True},
            "order": {"field": "order", "type": "ordinal"},
            "color": {"field": "key", "type": "nominal", "scale": colours, "title": None},
            "tooltip": [
                {"field": "key", "title": split.title},
                {"field": "share", "title": "Share"},
            ],
        },
    }


def _heatmap(panel: Panel, rows: list[Row]) -> Json:
    metric, splits = panel.metrics[0], panel.splits()
    most = max(_number(row.values[0]) for row in rows)
    values = [
        {
            "x": str(row.keys[0]),
            "y": str(row.keys[1]),
            "value": row.values[0],
            "shown": shown(metric, row.values[0]),
        }
        for row in rows
    ]
    order = [_order(one, rows, number) for number, one in enumerate(splits)]
    axis: Json = {"title": None, "labelLimit": 150, "grid": False, "ticks": False, "domain": False}
    return {
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "x",
                "type": "nominal",
                "sort": order[0],
                "axis": {**axis, "labelAngle": 0, "labelOverlap": False},
            },
            "y": {"field": "y", "type": "nominal", "sort": order[1], "axis": axis},
            "tooltip": [
                {"field": "x", "title": splits[0].title},
                {"field": "y", "title": splits[1].title},
                {"field": "shown", "title": metric.title},
            ],
        },
        "layer": [
            {
                "mark": {"type": "rect", "cornerRadius": 2},
                "encoding": {
                    "color": {
                        "field": "value",
                        "type": "quantitative",
                        "legend": None,
                        "scale": {"domain": [0, most], "range": list(HEAT), "type": "quantize"},
                    }
                },
            },
            {
                "mark": {"type": "text", "fontSize": 12},
                "encoding": {
                    "text": {"field": "shown"},
                    "color": {
                        "condition": {"test": f"datum.value > {most * 0.6}", "value": "#ffffff"},
                        "value": "#1a1c21",
                    },
                },
            },
        ],
    }


def _series(panel: Panel, rows: list[Row]) -> Json:
    splits = panel.splits()
    x = next(number for number, one in enumerate(splits) if one is panel.x)
    by = next((number for number, one in enumerate(splits) if one is panel.by), None)
    scale = _scale(splits[by], _order(splits[by], rows, by)) if by is not None else None
    position = {value: number for number, value in enumerate((scale or {}).get("domain", ()))}
    unit = _unit(panel.metrics[0], rows)
    values = [
        {
            "x": row.keys[x],
            "series": str(row.keys[by]) if by is not None else metric.title,
            "value": value if unit is None else _number(value) / unit[0],
            "shown": shown(metric, value),
            "order": position.get(str(row.keys[by]), 0) if by is not None else number,
        }
        for row in rows
        for number, (metric, value) in enumerate(zip(panel.metrics, row.values, strict=True))
        if value is not None
    ]
    if scale is None:
        names = [one.title for one in panel.metrics]
        colours = [ONE] if len(names) == 1 else list(SERIES[: len(names)])
        scale = {"domain": names, "range": colours}
    drawn = {"field": "series", "type": "nominal", "scale": scale, "title": None}
    if by is None and len(panel.metrics) == 1:
        drawn["legend"] = None
    axes = _axes(splits[x], panel, rows, x)
    return {
        "data": {"values": values},
        "mark": _MARKS[panel.kind],
        "encoding": {
            **axes,
            "color": drawn,
            "order": {"field": "order", "type": "ordinal"},
            "tooltip": [
                {"field": "x", "title": splits[x].title, **_tooltip_time(splits[x])},
                {"field": "series", "title": splits[by].title if by is not None else "Series"},
                {"field": "shown", "title": panel.metrics[0].title},
            ],
        },
    }


def _tooltip_time(split: Split) -> Json:
    return {"type": "temporal", "format": "%Y-%m-%d %H:%M"} if split.every else {"type": "nominal"}


def _axes(split: Split, panel: Panel, rows: list[Row], position: int) -> Json:
    metric = panel.metrics[0]
    numbers: Json = {
        "field": "value",
        "type": "quantitative",
        "axis": {"title": None, "tickCount": 5, **_number_axis(metric, rows, position)},
    }
    if panel.kind != "line":
        numbers["stack"] = "zero"
    if split.every is not None:
        times = [_number(row.keys[position]) for row in rows]
        step = hours(split.every) * _HOUR
        end = max(times) + step
        start = min(*times, end - _LEAST_INTERVALS * step)
        unit = "utcyearmonthdatehours" if step < 24 * _HOUR else "utcyearmonthdate"
        axis: Json = {"title": None, "grid": False, "labelOverlap": True, "labelSeparation": 8}
        axis["labelFlush"] = False
        axis["format"] = "%H:%M" if step < 24 * _HOUR else "%b %d"
        time: Json = {"field": "x", "type": "temporal", "axis": axis}
        time["scale"] = {"type": "utc", "domain": [start, end]}
        if panel.kind == "bar":
            time |= {"timeUnit": unit}
        return {"x": time, "y": numbers}
    names = {
        "field": "x",
        "type": "nominal",
        "sort": _order(split, rows, position),
        "axis": {"title": None, "labelLimit": 190, "ticks": False, "labelAngle": 0},
    }
    if panel.kind == "bar_horizontal":
        return {"y": names, "x": numbers}
    return {"x": names, "y": numbers}


def _number_axis(metric: Metric, rows: list[Row], position: int) -> Json:
    """Ticks that are whole where the numbers are, and times in one unit."""
    if unit := _unit(metric, rows):
        return {"labelExpr": f"datum.label + ' {unit[1]}'"}
    if metric.format == "percent":
        return {"format": ".0%"}
    stacks: Counter[Value] = Counter()
    for row in rows:
        stacks[row.keys[position]] += sum(int(_number(one)) for one in row.values if one)
    highest = max(stacks.values())
    if highest <= _FEW:
        return {"format": "d", "values": list(range(highest + 1))}
    return {"format": "~s" if highest >= 10_000 else ",d"}


def _unit(metric: Metric, rows: list[Row]) -> tuple[float, str] | None:
    """What a duration is divided by to be drawn, and what the quotient is then called."""
    if metric.format not in ("duration", "nanoseconds"):
        return None
    second = 1 if metric.format == "duration" else 1e9
    size, name = unit_of(_most(rows) / second)
    return size * second, name


def _most(rows: list[Row]) -> float:
    return max(_number(value) for row in rows for value in row.values)

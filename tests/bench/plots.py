"""The plots of docs/performance.md: Vega-Lite, drawn as SVG."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import vl_convert

from tests.bench.peer_runs import in_order

_VERSION = "5.21"
_OURS, _OTHERS = "#0b64dd", "#98a2b3"
_LOOK = {
    "background": "white",
    "font": "sans-serif",
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260, "grid": False},
    "title": {"fontSize": 13, "anchor": "start"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12},
    "view": {"stroke": None},
}
Rows = list[dict[str, Any]]


def draw(found: dict[str, Any]) -> dict[str, str]:
    """The plots of these results by file name."""
    specs = {
        "performance-end-to-end.svg": _end_to_end(found["end_to_end"]),
        "performance-peers.svg": _peers(found["peers"]),
        "performance-growth.svg": _growth(found),
    }
    return {
        name: vl_convert.vegalite_to_svg({**spec, "config": _LOOK}, vl_version=_VERSION) + "\n"
        for name, spec in specs.items()
    }


def marks(svg: str) -> list[str]:
    """What the marks of a plot show, each as "name: value; …", whatever the fonts look like."""
    return sorted(unescape(label) for label in re.findall(r'aria-label="([^"]*)"', svg))


def _point(spread: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"median": spread["median"], "min": spread["min"], "max": spread["max"], **more}


def _end_to_end(end: dict[str, Any]) -> dict[str, Any]:
    names = {
        "collector": "the collector",
        "prerendered": f"rendered before, {end['connections']} connections",
        "helpers": end["helper"],
    }
    rows = [
        _point(end["documents_per_s"][key], name=name, ours=key == "collector")
        for key, name in names.items()
    ]
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    return {
        "title": "Documents a second into a real engine (line: least to most)",
        "width": 420,
        "height": {"step": 34},
        "data": {"values": rows},
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "bar", "height": 20},
                "encoding": {
                    "x": {"field": "median", "type": "quantitative", "title": None},
                    "color": {
                        "condition": {"test": "datum.ours", "value": _OURS},
                        "value": _OTHERS,
                    },
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": {"field": "min", "type": "quantitative"},
                    "x2": {"field": "max"},
                },
            },
        ],
    }


def _peers(peers: dict[str, Any]) -> dict[str, Any]:
    words = {"rows_per_s_ratio": "rows a second", "cpu_ratio": "CPU", "memory_ratio": "memory"}
    rows: Rows = [
        _point(one[key], name=name, what=what)
        for name, one in in_order(peers)
        for key, what in words.items()
    ]
    x = {"type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 20}}
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"grid": True, "ticks": False, "domain": False},
    }
    what = {"field": "what", "type": "nominal", "sort": None}
    color = {
        **what,
        "title": None,
        "scale": {"domain": list(words.values()), "range": [_OURS, "#d9730d", "#4c8f4c"]},
        "legend": {"orient": "bottom"},
    }
    return {
        "title": "How many times as good as the others (right of the line: better)",
        "width": 420,
        "height": {"step": 18, "for": "offset"},
        "data": {"values": rows},
        "encoding": {"y": y, "yOffset": what},
        "layer": [
            {
                "data": {"values": [{"one": 1}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
                "encoding": {"x": {"field": "one", **x}, "y": None, "yOffset": None},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {"field": "min", **x}, "x2": {"field": "max"}, "color": color},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"x": {"field": "median", "title": None, **x}, "color": color},
            },
        ],
    }


def _growth(found: dict[str, Any]) -> dict[str, Any]:
    times = found["growth"]["microseconds_per_row"]
    return {
        "hconcat": [
            _line("Peak memory, MB", found["peak_memory_mb"]),
            _line("Time per row, µs", times),
        ]
    }


def _line(title: str, spreads: dict[str, Any]) -> dict[str, Any]:
    rows = [_point(spreads[size], rows=int(size)) for size in sorted(spreads, key=int)]
    x = {
        "field": "rows",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"format": "~s", "values": [row["rows"] for row in rows]},
        "title": "rows",
    }
    # From zero, or what is flat would look steep.
    y = {"type": "quantitative", "scale": {"zero": True}, "title": None}
    return {
        "title": title,
        "width": 250,
        "height": 170,
        "data": {"values": rows},
        "encoding": {"x": x},
        "layer": [
            {
                "mark": {"type": "line", "color": _OURS},
                "encoding": {"y": {"field": "median", **y}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": {"field": "min", **y}, "y2": {"field": "max"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "color": _OURS, "opacity": 1},
                "encoding": {"y": {"field": "median", **y}},
            },
        ],
    }

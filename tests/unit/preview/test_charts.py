"""What is drawn of the rows of a panel, kind by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.dashboards.trees import full_tree

from aquila_mde.dashboards.load import load_dashboards
from aquila_mde.dashboards.palettes import ONE, PALETTES
from aquila_mde.dashboards.query import Row
from aquila_mde.dashboards.spec import Metric, Panel
from aquila_mde.preview.charts import content
from aquila_mde.preview.texts import NOTHING, shown

DAY = 86_400_000
SEVERITY = PALETTES["severity"]


@pytest.fixture(scope="module")
def panels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Panel]:
    folder: Path = tmp_path_factory.mktemp("tree")
    (test, _) = load_dashboards(full_tree(folder))
    return {panel.title: panel for panel in test.spec.panels}


def chart(panel: Panel, *rows: Row) -> dict[str, Any]:
    found: dict[str, Any] = content(panel, list(rows))["spec"]
    return found


def test_a_number_is_red_only_when_there_is_something(panels: dict[str, Panel]) -> None:
    some = content(panels["Number"], [Row((), (1_234,))])
    none = content(panels["Number"], [Row((), (0,))])
    assert (some["tile"], some["note"]) == ("1,234", "open")
    assert some["background"] != none["background"]
    assert none["tile"] == "0"


def test_nothing_is_told_as_the_panel_says_it(panels: dict[str, Panel]) -> None:
    assert content(panels["Table"], []) == {"empty": "Nothing came.", "expected": True}
    assert content(panels["Bars"], []) == {"empty": "No results", "expected": False}
    assert content(panels["Line"], [Row((0,), (None,))])["expected"] is False


def test_series_have_the_order_and_the_colours_of_their_palette(panels: dict[str, Panel]) -> None:
    drawn = chart(
        panels["Bars"], Row(("Low", 0), (1,)), Row(("High", 0), (7,)), Row(("x", 0), (1,))
    )
    scale = drawn["encoding"]["color"]["scale"]
    assert scale["domain"] == ["High", "Low", "x"]
    assert scale["range"][:2] == [SEVERITY["High"], SEVERITY["Low"]]
    assert scale["range"][2] not in SEVERITY.values()
    start, end = drawn["encoding"]["x"]["scale"]["domain"]
    assert (start, end) == (-23 * DAY, DAY)
    assert "values" not in drawn["encoding"]["y"]["axis"]


def test_few_are_counted_one_by_one(panels: dict[str, Panel]) -> None:
    drawn = chart(panels["Bars"], Row(("Low", 0), (1,)), Row(("High", 0), (2,)))
    assert drawn["encoding"]["y"]["axis"]["values"] == [0, 1, 2, 3]


def test_durations_are_drawn_in_one_unit(panels: dict[str, Panel]) -> None:
    drawn = chart(panels["Line"], Row((0,), (7_200.0,)), Row((DAY,), (1_800.0,)))
    assert [one["value"] for one in drawn["data"]["values"]] == [2.0, 0.5]
    assert drawn["data"]["values"][0]["shown"] == "2.0 h"
    assert drawn["encoding"]["y"]["axis"]["labelExpr"] == "datum.label + ' h'"
    assert drawn["encoding"]["color"]["scale"]["range"] == [ONE]
    assert drawn["encoding"]["color"]["legend"] is None


def test_names_stand_upright_beside_their_bars(panels: dict[str, Panel]) -> None:
    drawn = chart(panels["Names"], Row(("b",), (3e9,)), Row(("a",), (6e10,)))
    assert drawn["encoding"]["y"]["sort"] == ["b", "a"]
    assert [one["value"] for one in drawn["data"]["values"]] == [0.05, 1.0]


def test_two_numbers_are_two_series(panels: dict[str, Panel]) -> None:
    drawn = chart(panels["Areas"], Row((0,), (0.5, None)), Row((DAY,), (0.6, 7.0)))
    assert len(drawn["data"]["values"]) == 3
    assert len(drawn["encoding"]["color"]["scale"]["domain"]) == 2
    assert drawn["encoding"]["y"]["axis"]["format"] == ".0%"


def test_a_ring_tells_its_numbers(panels: dict[str, Panel]) -> None:
    rows = [Row(("None",), (3,)), Row(("High",), (1,))]
    drawn = content(panels["Ring"], rows)["spec"]
    assert [one["key"] for one in drawn["data"]["values"]] == ["High  1", "None  3"]
    assert [one["share"] for one in drawn["data"]["values"]] == ["25.0%", "75.0%"]
    assert drawn["mark"]["innerRadius"] != 0
    assert content(panels["Cake"], rows)["spec"]["mark"]["innerRadius"] == 0


def test_a_heat_map_keeps_the_order_of_its_ranges(panels: dict[str, Panel]) -> None:
    drawn = chart(panels["Heat"], Row(("much", "HIGH"), (9,)), Row(("little", "LOW"), (1,)))
    assert drawn["encoding"]["x"]["sort"] == ["little", "much"]
    assert drawn["encoding"]["y"]["sort"] == ["HIGH", "LOW"]
    colour = drawn["layer"][0]["encoding"]["color"]
    assert colour["scale"]["domain"] == [0, 9]


def test_a_table_hides_what_only_makes_its_rows(panels: dict[str, Panel]) -> None:
    rows = [Row(("a", "1"), (0.0, "High", 1)), Row(("b", "2"), (DAY * 1.0, None, 5))]
    table = content(panels["Table"], rows)["table"]
    assert [one["label"] for one in table["columns"]] == ["Machine", "Last", "Severity", "Open"]
    assert [one["number"] for one in table["columns"]] == [False, False, False, True]
    assert [[cell["text"] for cell in row] for row in table["rows"]] == [
        ["b", "1970-01-02 00:00", NOTHING, "5"],
        ["a", "1970-01-01 00:00", "High", "1"],
    ]
    assert table["rows"][1][2]["colour"] == SEVERITY["High"]


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("number", 1_234_567, "1,234,567"),
        ("percent", 0.1234, "12.3 %"),
        ("score", 7.199999, "7.2"),
        ("duration", 90, "1.5 min"),
        ("duration", 0.4, "0.4 s"),
        ("duration", 200_000, "2.3 d"),
        ("nanoseconds", 5e9, "5.0 s"),
        ("date", 0, "1970-01-01 00:00"),
        ("text", "as it is", "as it is"),
        ("number", None, NOTHING),
    ],
)
def test_numbers_are_written_for_a_reader(form: str, value: Any, text: str) -> None:
    metric = Metric.model_validate({"of": "max a", "format": form})
    assert shown(metric, value) == text

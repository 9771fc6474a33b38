"""Each kind of panel as Lens draws it, and what the saved objects refer to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dashboards.trees import full_tree

from aquila_mde.build import stale, write
from aquila_mde.build.built import built_files
from aquila_mde.build.package.contents import package_contents
from aquila_mde.streams.tree import PackageTree

Json = dict[str, Any]
SHIPPED = sorted((PackageTree.default().package / "kibana" / "dashboard").glob("*.json"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Json:
    tree = full_tree(tmp_path_factory.mktemp("tree"))
    (text,) = [one.content for one in built_files(tree) if one.path.stem == "aquila_mde-test"]
    found: Json = json.loads(text)
    return found


@pytest.fixture(scope="module")
def panels(saved: Json) -> dict[str, Json]:
    listed = json.loads(saved["attributes"]["panelsJSON"])
    return {panel.get("title", panel["panelIndex"]): panel for panel in listed}


def lens(panel: Json) -> tuple[Json, Json, Json]:
    """Attributes, columns and visualization of a Lens panel."""
    inner = panel["embeddableConfig"]["attributes"]
    layer = inner["state"]["datasourceStates"]["formBased"]["layers"]["data"]
    assert layer["columnOrder"] == list(layer["columns"])
    return inner, layer["columns"], inner["state"]["visualization"]


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Number", "lnsMetric"),
        ("Bars", "lnsXY"),
        ("Names", "lnsXY"),
        ("Line", "lnsXY"),
        ("Areas", "lnsXY"),
        ("Ring", "lnsPie"),
        ("Cake", "lnsPie"),
        ("Heat", "lnsHeatmap"),
        ("Table", "lnsDatatable"),
    ],
)
def test_every_panel_is_lens_and_asks_its_own_data_stream(
    panels: dict[str, Json], title: str, kind: str
) -> None:
    inner, _, _ = lens(panels[title])
    assert inner["visualizationType"] == kind
    (only,) = inner["state"]["filters"]
    assert only["meta"]["key"] == "data_stream.dataset"
    assert only["meta"]["params"]["query"].startswith("aquila_mde.")
    assert only["meta"]["index"] in {one["name"] for one in inner["references"]}


def test_a_number_with_its_colours_and_where_it_leads(saved: Json, panels: dict[str, Json]) -> None:
    inner, columns, drawn = lens(panels["Number"])
    assert inner["state"]["query"]["query"] == "mde.alert.resolved: false"
    assert columns["metric-0"]["operationType"] == "unique_count"
    assert columns["metric-0"]["label"] == "Number"
    assert drawn["subtitle"] == "open"
    assert [one["stop"] for one in drawn["palette"]["params"]["stops"]] == [1, 2]
    (event,) = panels["Number"]["embeddableConfig"]["enhancements"]["dynamicActions"]["events"]
    place = f"number:drilldown:{event['action']['factoryId']}:{event['eventId']}:dashboardId"
    wanted = {"id": "aquila_mde-other", "name": place, "type": "dashboard"}
    assert wanted in saved["references"]


def test_bars_over_time_with_the_colours_of_severity(panels: dict[str, Json]) -> None:
    _, columns, drawn = lens(panels["Bars"])
    assert columns["split-0"]["operationType"] == "terms"
    assert columns["split-0"]["params"]["size"] == 3
    assert columns["split-0"]["params"]["orderBy"] == {"columnId": "metric-0", "type": "column"}
    assert columns["split-1"]["params"]["interval"] == "1d"
    assert columns["metric-0"]["sourceField"] == "___records___"
    (layer,) = drawn["layers"]
    assert (layer["seriesType"], layer["xAccessor"]) == ("bar_stacked", "split-1")
    assert layer["splitAccessor"] == "split-0"
    colours = {
        one["rule"]["values"][0]: one["color"]["colorCode"]
        for one in layer["colorMapping"]["assignments"]
    }
    assert colours["High"] == colours["HIGH"] != colours["Low"]


def test_names_sideways_in_their_own_order(panels: dict[str, Json]) -> None:
    _, columns, drawn = lens(panels["Names"])
    assert columns["split-0"]["params"]["orderBy"]["type"] == "alphabetical"
    assert columns["metric-0"]["params"]["format"]["params"]["fromUnit"] == "nanoseconds"
    assert drawn["layers"][0]["seriesType"] == "bar_horizontal_stacked"
    assert drawn["layers"][0]["yConfig"][0]["forAccessor"] == "metric-0"


def test_the_time_between_two_times_has_a_data_view_of_its_own(panels: dict[str, Json]) -> None:
    inner, columns, _ = lens(panels["Line"])
    ((name, view),) = inner["state"]["adHocDataViews"].items()
    assert view["title"] == "logs-aquila_mde.alert-*"
    (field,) = view["runtimeFieldMap"]
    assert columns["metric-0"]["sourceField"] == field
    script = view["runtimeFieldMap"][field]["script"]["source"]
    assert script.startswith("if (doc['event.created'].size() > 0 && doc['event.ingested']")
    assert [one["id"] for one in inner["state"]["internalReferences"]] == [name]
    assert "indexpattern-datasource-layer-data" not in {one["name"] for one in inner["references"]}


def test_the_newest_versions_have_a_data_view_that_no_time_is_asked_of(
    panels: dict[str, Json],
) -> None:
    inner, _, _ = lens(panels["Now"])
    ((name, view),) = inner["state"]["adHocDataViews"].items()
    assert view["title"] == "security_solution-aquila_mde.alert_latest"
    assert "timeFieldName" not in view
    assert view["runtimeFieldMap"] == {}
    assert [one["id"] for one in inner["state"]["internalReferences"]] == [name]


def test_areas_rings_and_cakes(panels: dict[str, Json]) -> None:
    _, columns, drawn = lens(panels["Areas"])
    assert drawn["layers"][0]["seriesType"] == "area_stacked"
    assert drawn["layers"][0]["accessors"] == ["metric-0", "metric-1"]
    assert columns["metric-0"]["params"]["format"]["id"] == "percent"
    _, columns, drawn = lens(panels["Ring"])
    assert (drawn["shape"], drawn["layers"][0]["primaryGroups"]) == ("donut", ["split-0"])
    assert columns["split-0"]["label"] == "mde.machine.risk_score"
    assert lens(panels["Cake"])[2]["shape"] == "pie"


def test_a_heat_map_of_ranges(panels: dict[str, Json]) -> None:
    _, columns, drawn = lens(panels["Heat"])
    assert columns["split-0"]["operationType"] == "range"
    assert columns["split-0"]["params"]["ranges"][1] == {"from": 0.1, "label": "much", "to": 1.01}
    assert (drawn["xAccessor"], drawn["yAccessor"]) == ("split-0", "split-1")


def test_a_table_shows_what_was_last(panels: dict[str, Json]) -> None:
    _, columns, drawn = lens(panels["Table"])
    assert columns["metric-0"]["dataType"] == "date"
    assert columns["metric-1"]["operationType"] == "last_value"
    assert columns["metric-1"]["params"]["sortField"] == "@timestamp"
    assert columns["metric-2"]["filter"]["query"] == "mde.alert.resolved: false"
    assert [one["columnId"] for one in drawn["columns"] if one.get("hidden")] == ["split-1"]
    assert drawn["sorting"] == {"columnId": "metric-2", "direction": "desc"}
    assert drawn["columns"][3]["colorMapping"]["assignments"]


def test_words_stay_markdown(panels: dict[str, Json]) -> None:
    assert panels["Words"]["type"] == "visualization"
    assert panels["Words"]["embeddableConfig"]["savedVis"]["params"]["markdown"].startswith("**B")


def test_the_grid_leaves_room_for_the_navigation(panels: dict[str, Json]) -> None:
    navigation = panels["navigation"]
    assert navigation["type"] == "links"
    assert [one["label"] for one in navigation["embeddableConfig"]["attributes"]["links"]] == [
        "Test",
        "Other",
    ]
    assert panels["Number"]["gridData"] == {"x": 0, "y": 3, "w": 8, "h": 6, "i": "number"}


def test_controls_and_time(saved: Json) -> None:
    attributes = saved["attributes"]
    (control,) = json.loads(attributes["controlGroupInput"]["panelsJSON"]).values()
    assert control["explicitInput"]["fieldName"] == "organization.name"
    assert (attributes["timeFrom"], attributes["timeRestore"]) == ("now-30d", True)


def test_a_changed_description_makes_the_saved_object_stale(tmp_path: Path) -> None:
    tree = full_tree(tmp_path)
    write(tree)
    assert stale(tree) == []
    file = tree.package / "dashboards" / "test.yml"
    file.write_text(file.read_text().replace("title: Bars", "title: More bars"))
    assert stale(tree) == [tree.package / "kibana" / "dashboard" / "aquila_mde-test.json"]
    packed = package_contents(tree)["kibana/dashboard/aquila_mde-test.json"]
    assert b"More bars" in packed
    assert not any(name.startswith("dashboards/") for name in package_contents(tree))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_is_called_what_it_shows(file: Path) -> None:
    saved = json.loads(file.read_text())
    assert saved["id"] == file.stem
    assert saved["attributes"]["title"].startswith("[Aquila MDE] ")
    names = [one["name"] for one in saved["references"]]
    assert len(names) == len(set(names))
    listed = json.loads(saved["attributes"]["panelsJSON"])
    assert len({panel["panelIndex"] for panel in listed}) == len(listed)
    assert {one["id"] for one in saved["references"] if one["type"] == "index-pattern"} == {
        "logs-*"
    }

"""What can be wrong in the description of a dashboard, each thing with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.dashboards.trees import HEAD, OTHER, PANELS, dashboard, full_tree, tree_with

from aquila_mde.build.built import built_files
from aquila_mde.build.docs.pages import exported_fields
from aquila_mde.dashboards.load import load_dashboards, misuse
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

TYPES = {
    folder.name: {
        field["name"]: field["type"]
        for field in exported_fields(
            tuple(file.read_text(encoding="utf-8") for file in (folder / "fields").glob("*.yml"))
        )
    }
    for folder in PackageTree.default().data_streams()
}


def test_a_panel_of_every_kind_is_read(tmp_path: Path) -> None:
    test, other = load_dashboards(full_tree(tmp_path))
    assert (test.id, other.id) == ("aquila_mde-test", "aquila_mde-other")
    assert [panel.kind for panel in test.spec.panels] == [
        *("metric", "bar", "bar_horizontal", "line", "area"),
        *("donut", "pie", "heatmap", "table", "metric", "markdown"),
    ]
    assert len(built_files(full_tree(tmp_path / "again"))) > 2


@pytest.mark.parametrize(
    ("before", "after", "line", "told"),
    [
        ("kind: metric", "kind: gauge", "kind: gauge", "'metric', 'line'"),
        ("at: [0, 0, 8, 6]", "at: [44, 0, 8, 6]", "at: [44", "ends at column 52; there are 48"),
        ("at: [0, 0, 8, 6]", "at: [4, 0, 8, 6]", "at: [8, 0, 40, 6]", "covers the panel Number"),
        ("title: Bars", "title: Number", "title: Number", "title of another panel"),
        ("drill: other", "drill: nowhere", "drill: nowhere", "no dashboard nowhere"),
        ("stream: machine\n", "stream: phone\n", "stream: phone", "no data stream phone"),
        (
            'stream: alert\n    latest: true\n    filter: "mde.alert.resolved: false"',
            "stream: hunting\n    latest: true",
            "latest: true",
            "mapping.yml of hunting has no latest",
        ),
        ("kind: line\n", "kind: line\n    latest: true\n", "title: Line", "latest is not"),
        ("limit: 3, colours: severity", "colours: mauve", "colours: mauve", "no palette mauve"),
        ('resolved: false"', 'resolved: false and"', "resolved: false and", "a field is missing"),
        (
            "metrics: [unique host.id]",
            "metrics: [unique]",
            "metrics: [unique]",
            "other function has",
        ),
        ("metrics: [unique host.id]", "metrics: [count a]", "metrics: [count a]", "count has no"),
        ("by: host.os.name", "x: host.os.name", "title: Cake", "pie has no x"),
        ("\n    by: host.os.name\n", "\n", "title: Cake", "pie needs by"),
        ("every: 1w", "every: soon", "every: soon", "should match"),
        (
            "every: 1w",
            "every: 1w, ranges: [{start: 0, end: 1, label: a}]",
            "every: 1w",
            "not by both",
        ),
        (
            "of: median event.ingested",
            "of: min event.ingested",
            "of: min",
            "average, median and max",
        ),
        (
            "{of: unique vulnerability.id}",
            "{of: last host.name}",
            "title: Heat",
            "belongs to tables",
        ),
        ("by: 2}", "by: 1}", "title: Table", "not last"),
        ("colour: danger", "color: danger", "color: danger", "is not a key"),
        ("text: ", "stream: alert\n    text: ", "title: Words", "markdown has no stream"),
        (
            "mde.machine.risk_score,",
            "mde.machine.risk,",
            "mde.machine.risk,",
            "no field of machine",
        ),
        (
            "median event.duration",
            "median event.action",
            "median event.action",
            "keyword and cannot",
        ),
        ("every: 1w", "every: 1w, label: x", "", ""),
        ("field: event.action,", "field: message,", "field: message,", "cannot be used for values"),
        ("field: host.name, label", "field: mde.alert.evidence.sha1, label", "evidence", "nested"),
        (
            "since: event.created",
            "since: event.duration",
            "since: event",
            "cannot be used for time",
        ),
        ('mde.alert.resolved: false"\n    m', 'mde.x: 1"\n    m', "mde.x: 1", "mde.x is no field"),
    ],
)
def test_each_fault_is_told_with_its_line(
    tmp_path: Path, before: str, after: str, line: str, told: str
) -> None:
    text = dashboard(PANELS)
    assert before in text
    text = text.replace(before, after, 1)
    tree = tree_with(tmp_path, test=text, other=OTHER)
    if not told:
        load_dashboards(tree, TYPES)
        return
    with pytest.raises(FaultsFoundError) as raised:
        load_dashboards(tree, TYPES)
    (fault,) = raised.value.faults
    assert told in fault.problem
    assert fault.file == tree.package / "dashboards" / "test.yml"
    assert line in text.splitlines()[fault.line - 1]


def test_one_run_shows_every_fault(tmp_path: Path) -> None:
    text = dashboard(PANELS).replace("stream: machine\n", "stream: phone\n")
    text = text.replace("drill: other", "drill: nowhere")
    with pytest.raises(FaultsFoundError, match="3 faults"):
        load_dashboards(tree_with(tmp_path, test=text))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("controls: [{label: Tenant, field: mde.nothing}]", "none of the streams"),
        ("subject: {label: M, field: host.x, stream: alert}\ncontrols: []", "at least 1"),
        (
            "subject: {label: M, field: host.x, stream: alert}\n"
            "controls: [{label: Tenant, field: organization.name}]",
            "no field of alert",
        ),
        (
            "subject: {label: M, field: host.name, stream: x}\n"
            "controls: [{label: Tenant, field: organization.name}]",
            "no data stream x",
        ),
    ],
)
def test_controls_and_subject_are_checked(tmp_path: Path, line: str, told: str) -> None:
    head = HEAD.replace("controls: [{label: Tenant, field: organization.name}]", line)
    panel = "- {title: A, kind: metric, at: [0, 0, 8, 6], stream: alert, metrics: [count]}"
    with pytest.raises(FaultsFoundError, match=told):
        load_dashboards(tree_with(tmp_path, test=dashboard(panel, head)), TYPES)


def test_a_field_in_nested_objects_is_no_use() -> None:
    known = {"a.b": "nested", "a.b.c": "keyword", "d": "keyword"}
    assert misuse("d", "values", known, "alert") is None
    assert "nested" in str(misuse("a.b.c", "values", known, "alert"))


def test_every_dashboard_of_the_package_has_a_control_for_the_tenant() -> None:
    found = load_dashboards(PackageTree.default())
    assert len(found) >= 7
    for one in found:
        assert one.spec.controls[0].label.startswith("Tenant")
        assert any(panel.kind == "metric" for panel in one.spec.panels)

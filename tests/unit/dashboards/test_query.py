"""What each kind of panel asks, and the rows that are read from an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.dashboards.trees import full_tree

from aquila_mde.dashboards.load import load_dashboards
from aquila_mde.dashboards.query import Row, index_of, rows, search
from aquila_mde.dashboards.spec import Panel, hours


@pytest.fixture
def panels(tmp_path: Path) -> dict[str, Panel]:
    (test, _) = load_dashboards(full_tree(tmp_path))
    return {panel.title: panel for panel in test.spec.panels}


def aggregations(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = search(panel, "30d")["aggs"]
    return found


def test_records_of_the_stream_in_the_time_are_asked_for(panels: dict[str, Panel]) -> None:
    only = {"term": {"organization.id": "t"}}
    body = search(panels["Number"], "30d", (only,))
    assert index_of(panels["Number"]) == "logs-aquila_mde.alert-*"
    assert (body["size"], body["track_total_hits"]) == (0, True)
    assert body["query"]["bool"]["filter"] == [
        {"term": {"data_stream.dataset": "aquila_mde.alert"}},
        {"range": {"@timestamp": {"gte": "now-30d"}}},
        {"term": {"mde.alert.resolved": False}},
        only,
    ]
    assert body["aggs"] == {
        "m0": {"cardinality": {"field": "event.id", "precision_threshold": 40_000}}
    }


def test_of_the_newest_versions_those_of_any_time_are_asked_for(panels: dict[str, Panel]) -> None:
    assert index_of(panels["Now"]) == "security_solution-aquila_mde.alert_latest"
    assert search(panels["Now"], "30d")["query"]["bool"]["filter"] == [
        {"term": {"data_stream.dataset": "aquila_mde.alert"}},
        {"term": {"mde.alert.resolved": False}},
    ]


def test_below_a_split_nothing_is_counted_more_exactly_than_the_engine_does_by_itself(
    panels: dict[str, Panel],
) -> None:
    # Each value would take memory for its own count, more than an engine has.
    assert aggregations(panels["Ring"])["s"]["aggs"]["m0"] == {"cardinality": {"field": "host.id"}}


def test_series_are_chosen_before_time_is_cut_up(panels: dict[str, Panel]) -> None:
    outer = aggregations(panels["Bars"])["s"]
    assert outer["terms"] == {"field": "mde.alert.severity", "size": 3, "order": {"m0": "desc"}}
    assert outer["aggs"]["m0"] == {"filter": {"match_all": {}}}
    inner = outer["aggs"]["s"]
    assert inner["date_histogram"] == {
        "field": "@timestamp",
        "fixed_interval": "1d",
        "min_doc_count": 0,
    }


def test_a_week_follows_the_calendar(panels: dict[str, Panel]) -> None:
    histogram = aggregations(panels["Line"])["s"]["date_histogram"]
    assert histogram["calendar_interval"] == "1w"


def test_names_may_be_in_their_own_order(panels: dict[str, Panel]) -> None:
    terms = aggregations(panels["Names"])["s"]["terms"]
    assert terms == {"field": "event.action", "size": 4, "order": {"_key": "asc"}}


def test_the_time_between_two_times_is_of_records_that_have_both(panels: dict[str, Panel]) -> None:
    lag = aggregations(panels["Line"])["s"]["aggs"]["m0"]
    assert lag["filter"]["bool"]["filter"] == [
        {"exists": {"field": "event.ingested"}},
        {"exists": {"field": "event.created"}},
    ]
    source = lag["aggs"]["v"]["percentiles"]["script"]["source"]
    assert source.index("event.ingested") < source.index("event.created")


def test_ranges_have_their_names(panels: dict[str, Panel]) -> None:
    outer = aggregations(panels["Heat"])["s"]
    assert outer["range"]["ranges"] == [
        {"key": "little", "from": 0, "to": 0.1},
        {"key": "much", "from": 0.1, "to": 1.01},
    ]
    assert outer["aggs"]["s"]["terms"]["field"] == "vulnerability.severity"


def test_a_table_is_chosen_by_a_number_with_a_filter(panels: dict[str, Panel]) -> None:
    outer = aggregations(panels["Table"])["s"]
    assert outer["terms"]["order"] == {"m2>v": "desc"}
    assert set(outer["aggs"]) == {"m2", "s"}
    inner = outer["aggs"]["s"]
    assert inner["terms"]["order"] == {"m0": "desc"}
    assert inner["aggs"]["m1"]["top_hits"]["docvalue_fields"] == ["mde.alert.severity"]


def test_rows_are_read_from_an_answer(panels: dict[str, Panel]) -> None:
    newest = {"hits": {"hits": [{"fields": {"mde.alert.severity": ["High", "Low"]}}]}}
    inner = {
        "key": "e1",
        "m0": {"value": 5.0},
        "m1": newest,
        "m2": {"doc_count": 3, "v": {"value": 2}},
    }
    without = inner | {"key": 1, "key_as_string": "true", "m1": {"hits": {"hits": []}}}
    answer = {
        "aggregations": {"s": {"buckets": [{"key": "h", "s": {"buckets": [inner, without]}}]}}
    }
    assert rows(panels["Table"], answer) == [
        Row(("h", "e1"), (5.0, "High, Low", 2)),
        Row(("h", "true"), (5.0, None, 2)),
    ]


def test_median_count_and_time_are_read(panels: dict[str, Panel]) -> None:
    lag = {"key": 86_400_000, "key_as_string": "x", "m0": {"v": {"values": {"50.0": 7.5}}}}
    assert rows(panels["Line"], {"aggregations": {"s": {"buckets": [lag]}}}) == [
        Row((86_400_000,), (7.5,))
    ]
    counted = {"key": "mac", "m0": {"doc_count": 4}}
    assert rows(panels["Cake"], {"aggregations": {"s": {"buckets": [counted]}}}) == [
        Row(("mac",), (4,))
    ]


def test_where_there_is_no_index_nothing_is_counted(panels: dict[str, Panel]) -> None:
    assert rows(panels["Number"], {"hits": {}}) == [Row((), (0,))]
    assert rows(panels["Table"], {"hits": {}}) == []


def test_spans_in_hours() -> None:
    assert [hours(span) for span in ("12h", "2d", "1w", "1M", "1y")] == [12, 48, 168, 720, 8_760]

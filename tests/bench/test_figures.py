"""How figures are worked out from measurements: the middle, the ends, and which way is better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import end_to_end, null_sink, peer_runs, results
from tests.bench.collector_job import Cost
from tests.bench.page import Aim, measured, number
from tests.bench.spread import rounded_to, spread


def test_a_spread_has_the_middle_and_the_ends_and_keeps_the_order_of_the_runs() -> None:
    assert spread([3, 1, 2]) == {"min": 1, "median": 2, "max": 3, "runs": [3, 1, 2]}
    assert spread([1, 2, 3, 10])["median"] == 2.5
    assert spread([0.123456]) == {
        "min": 0.1235,
        "median": 0.1235,
        "max": 0.1235,
        "runs": [0.1235],
    }


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.0, 0.0), (123456.0, 123500.0), (0.00012345, 0.0001234)]
)
def test_a_value_keeps_four_digits(value: float, rounded: float) -> None:
    assert rounded_to(value) == rounded


def test_end_to_end_more_than_one_means_that_we_took_less_time() -> None:
    assert end_to_end.faster([10.0, 8.0], [5.0, 8.0])["runs"] == [2, 1]


def test_against_a_peer_more_than_one_means_that_we_are_better() -> None:
    ours = Cost(rows=1_000, wall_s=1.0, cpu_s=0.5, memory_mb=100)
    theirs = Cost(rows=1_000, wall_s=4.0, cpu_s=1.5, memory_mb=120)
    assert peer_runs.figures(ours, theirs) == {
        "rows_per_s_ratio": 4,
        "cpu_ratio": 3,
        "memory_ratio": 1.2,
        "rows_per_s": 250,
        "memory_mb": 120,
    }


def test_cpu_is_compared_by_the_row() -> None:
    ours = Cost(rows=2_000, wall_s=1.0, cpu_s=1.0, memory_mb=100)
    theirs = Cost(rows=1_000, wall_s=1.0, cpu_s=1.0, memory_mb=100)
    assert peer_runs.figures(ours, theirs)["cpu_ratio"] == 2


def test_growth_is_how_many_times_as_much_a_row_costs_among_many() -> None:
    assert null_sink.grown([1.0, 2.0], [1.5, 2.0])["runs"] == [1.5, 1]


def test_an_aim_knows_which_side_is_the_good_one() -> None:
    assert Aim(at_least=0.95).reached(0.95)
    assert not Aim(at_least=0.95).reached(0.94)
    assert Aim(at_most=150).reached(150)
    assert not Aim(at_most=150).reached(151)
    assert [str(Aim(at_least=150_000)), str(Aim(at_most=1.05))] == ["≥ 150,000", "≤ 1.05"]


def test_an_aim_is_missed_by_a_value_that_is_shown_as_reaching_it() -> None:
    # 0.9496 is shown as 0.95; whether it reaches it is told by what was measured.
    assert number(0.9496) == "0.95"
    assert not Aim(at_least=0.95).reached(0.9496)


def test_a_value_is_shown_with_the_least_and_the_most_of_its_runs() -> None:
    assert measured(spread([152_345.0, 150_000.0, 160_000.0])) == ("152,000 (150,000 to 160,000)")
    assert measured(spread([0.97312])) == "0.973"
    assert [number(value) for value in (0, 12.345, 99.96, 0.01)] == ["0", "12.3", "100", "0.01"]


def test_a_section_takes_the_place_of_its_earlier_figures_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bench" / "results.json"
    how = {"runs": 1, "quick": True, "date": "2026-01-01"}
    results.put(file, "idle_poll", {"idle_poll": {"alert": 1}}, how)
    results.put(file, "null_sink", {"null_sink": {"alert": 2}}, how)
    results.put(file, "idle_poll", {"idle_poll": {"alert": 3}}, how | {"runs": 5})
    held = results.load(file)
    assert held["idle_poll"] == {"alert": 3}
    assert held["null_sink"] == {"alert": 2}
    assert held["measured"]["idle_poll"]["runs"] == 5
    assert results.missing(held) == ["growth", "peers", "end_to_end", "footprint"]


def test_figures_of_another_machine_are_not_mixed_with_those_of_this_one(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    other = {"machine": results.machine() | {"cores": 999}, "measured": {"peers": {}}, "peers": {}}
    file.write_text(json.dumps(other), encoding="utf-8")
    assert results.load(file) == {"machine": results.machine(), "measured": {}}


def test_peers_that_are_not_there_are_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(peer_runs.MITO, raising=False)
    monkeypatch.delenv(peer_runs.PYTHON, raising=False)
    found, absent = peer_runs.available()
    assert {"httpx", "httpx_export"} <= set(found)
    assert peer_runs.MITO in absent["mito"]
    assert peer_runs.PYTHON in absent["dlt"]
    assert set(found) | set(absent) == {peer.name for peer in peer_runs.PEERS}

"""docs/performance.md says what was measured, and all of it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench import page, plots, results
from tests.bench.peer_runs import PEERS

FOUND: dict[str, Any] = json.loads(results.COPY.read_bytes())
SHORTENED = any(how["quick"] for how in FOUND["measured"].values())
SIZES = {"1000000", "5000000", "10000000"}


def spreads(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "runs" in value and "median" in value:
            yield value
        else:
            for each in value.values():
                yield from spreads(each)


def test_the_page_is_what_is_made_from_the_results() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(FOUND)


def test_figures_of_a_shortened_run_are_said_to_be_that() -> None:
    assert ("shortened run" in page.PAGE.read_text(encoding="utf-8")) == SHORTENED


def test_another_figure_makes_another_page() -> None:
    other = json.loads(results.COPY.read_bytes())
    other["end_to_end"]["ratio_prerendered"]["median"] *= 2
    assert page.text(other) != page.text(FOUND)


@pytest.mark.parametrize("name", plots.draw(FOUND))
def test_a_plot_shows_the_results(name: str) -> None:
    drawn = plots.marks(plots.draw(FOUND)[name])
    assert any("median: " in mark for mark in drawn)
    assert plots.marks((page.PLOTS / name).read_text(encoding="utf-8")) == drawn


def test_everything_was_measured() -> None:
    assert results.missing(FOUND) == []
    assert {"ratio_prerendered", "ratio_helpers"} <= set(FOUND["end_to_end"])
    for stream in ("alert", "vulnerability"):
        assert {"rows_per_s", "cpu_s_per_million"} <= set(FOUND["null_sink"][stream])
    assert SHORTENED or set(FOUND["peak_memory_mb"]) >= SIZES
    assert len(FOUND["peak_memory_mb"]) >= len(SIZES)
    assert {"10x", "100x"} <= set(FOUND["growth"])
    assert set(FOUND["peers"]) | set(FOUND["peers_absent"]) == {peer.name for peer in PEERS}
    for peer in FOUND["peers"].values():
        assert {"rows_per_s_ratio", "cpu_ratio", "memory_ratio"} <= set(peer)
    assert FOUND["idle_poll"]


def test_every_value_is_told_with_its_spread() -> None:
    found = list(spreads(FOUND))
    assert len(found) > 30
    for one in found:
        assert set(one) == {"min", "median", "max", "runs"}
        assert one["min"] == min(one["runs"])
        assert one["max"] == max(one["runs"])
        assert one["min"] <= one["median"] <= one["max"]


def test_the_results_name_no_machine() -> None:
    assert set(FOUND["machine"]) == {"cores", "memory_gb", "processor", "python", "system"}

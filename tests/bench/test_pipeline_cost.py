"""The benchmark of the pipelines runs and writes what it says; its figures mean nothing here."""

from __future__ import annotations

from tests.bench.pipeline_cost import Size, all_pipelines, measure
from tests.pipeline.pipelines import STREAMS


def test_every_stream_is_measured_with_three_pipelines_and_two_kinds_of_index(
    engine_url: str,
) -> None:
    figures = measure(engine_url, Size(documents=20, repeats=1, warm_ups=0))
    assert set(figures["streams"]) == set(all_pipelines()) == set(STREAMS) - {"hunting"}
    for one in figures["streams"].values():
        assert one["processors"]["script"] < one["processors"]["per_field"]
        for kind in ("installed", "stored"):
            rates = one[kind]["documents_per_second"]
            assert set(rates) == {"json", "script", "per_field"}
            for spread in (*rates.values(), *one[kind]["time_ratio"].values()):
                assert len(spread["runs"]) == 1
                assert 0 < spread["min"] <= spread["median"] <= spread["max"]

"""The measurements run, and each of them answers what the page tells; the figures mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import end_to_end, footprint, null_sink, peer_runs
from tests.bench.tenant import render

ROWS = 2_000
ALERTS = 200


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    render(folder, machines=20, alerts=ALERTS, rows=ROWS, rows_per_file=500)
    return folder


def test_the_collector_sends_every_row_and_the_servers_tell_what_they_did(data: Path) -> None:
    found = null_sink.throughput(data, 2 * ROWS, 2, 1, print)
    assert found["vulnerability"]["rows"] == 2 * ROWS
    for one in found.values():
        for what in ("rows_per_s", "cpu_s_per_million", "tenant_busy", "sink_busy"):
            assert one[what]["median"] > 0


def test_memory_and_growth_are_measured_at_every_size(data: Path) -> None:
    found = null_sink.memory_and_growth(data, ROWS, [1_000], 500, 1, print, (4,))
    assert list(found["peak_memory_mb"]) == ["1000"]
    assert list(found["growth"]["microseconds_per_row"]) == ["500", "2000"]
    assert "4x" in found["growth"]


def test_an_idle_poll_asks_the_tenant_once(data: Path) -> None:
    found = null_sink.idle_poll(data, ROWS, 2, 1, print)
    assert set(found) == {"alert", "machine", "machine_action", "vulnerability"}
    for one in found.values():
        assert one["tenant_requests"]["runs"] == [1]
        assert one["engine_requests"]["median"] <= 1


def test_a_peer_does_the_same_job_and_one_that_fails_is_left_out_and_named(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(peer_runs.MITO, "/bin/false")
    monkeypatch.delenv(peer_runs.PYTHON, raising=False)
    found, absent = peer_runs.compare(data, ALERTS, ROWS, 1, print)
    assert {"httpx", "httpx_export"} <= set(found)
    assert "failed" in absent["mito"]
    assert set(found) | set(absent) == {peer.name for peer in peer_runs.PEERS}


def test_collector_rendered_bodies_and_helpers_bring_the_same_documents_into_an_engine(
    data: Path, engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AQUILA_TEST_ES_URL", engine_url)
    found = end_to_end.measure_all(data, ROWS, 1, print)
    assert found["documents"] == ROWS
    for ratio in ("ratio_prerendered", "ratio_helpers"):
        assert found[ratio]["median"] > 0
    assert set(found["documents_per_s"]) == {"collector", "prerendered", "helpers"}


def test_a_document_of_every_stream_is_weighed_and_further_tenants_need_memory(
    engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AQUILA_TEST_ES_URL", engine_url)
    found = footprint.measure_all(footprint.Things.of(400), (1, 2), 1, print)
    assert {"alert", "hunting", "machine", "machine_action", "vulnerability"} == set(
        found["streams"]
    )
    for one in found["streams"].values():
        assert 0 < one["record_bytes"] < one["sent_bytes"]
        assert one["stored_bytes"] > 0
    assert found["streams"]["vulnerability"]["documents"] == 400
    assert set(found["tenants_memory_mb"]) == {"1", "2"}

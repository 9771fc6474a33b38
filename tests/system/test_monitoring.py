"""What ``run`` shows on its port is what it does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aquila_mde.errors import ExitCode
from tests.system.conftest import STREAMS, Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")
SIZES = {"machines": 20, "alerts": 30, "actions": 10, "vulnerabilities": 100}
WITHIN = 120.0


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
    return found


def test_a_collector_at_work_is_seen(job: Callable[..., Job], port: int) -> None:
    work = job(**SIZES | {"alerts": 0})
    # Some alerts of the simulated tenant have an alertProduct, which is not mapped either.
    new = {"brandNew": "x", "alertProduct": "y"}
    work.simulator.control.add_alerts([new] * SIZES["alerts"])
    process = subprocess.Popen(
        [PROGRAM, "run", "--config", work.config(monitoring={"port": port})],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            deadline = time.monotonic() + WITHIN
            while not _is_ready(client):
                assert process.poll() is None
                assert time.monotonic() < deadline
            assert client.get("/healthz").status_code == 200
            created = {}
            left, unknown = {}, {}
            for family in text_string_to_metric_families(client.get("/metrics").text):
                for each in family.samples:
                    if each.name == "aquila_mde_documents_created_total":
                        created[each.labels["stream"]] = each.value
                    if each.name == "aquila_mde_quota_left_calls":
                        left[each.labels["path"]] = each.value
                    if each.name == "aquila_mde_unknown_properties":
                        unknown[each.labels["stream"]] = each.value
    finally:
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1]
    assert process.returncode == ExitCode.OK, told
    assert created == {name: len(work.documents(name)) for name in STREAMS}
    assert 0 < left["/api/alerts"] < 1_500
    assert unknown == dict.fromkeys(STREAMS, 0) | {"alert": 2}
    assert told.count("The service gives a property that is not mapped") == 2
    extra = [document["mde"]["alert"]["extra"] for document in work.documents("alert")]
    assert extra == [new] * SIZES["alerts"]


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.ConnectError:
        return False


def test_a_port_that_is_taken_stops_nothing_but_the_start(job: Callable[..., Job]) -> None:
    work = job(**SIZES)
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = work.config(monitoring={"port": server.getsockname()[1]})
        done = subprocess.run(
            [PROGRAM, "run", "--config", config], capture_output=True, text=True, check=False
        )
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "monitoring.port" in done.stderr
    assert not work.state.exists()

"""What is counted is what was told, in a form that Prometheus reads."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from aquila_mde.collect.monitor import Monitor, PortTakenError
from aquila_mde.collect.report import StreamReport
from aquila_mde.collect.telemetry import Readings, Telemetry, TenantTelemetry
from aquila_mde.errors import FatalError

INTERVALS = {"alert": timedelta(minutes=5), "machine": timedelta(minutes=15)}
ADDRESS = "127.0.0.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def report(stream: str = "alert", **changes: Any) -> StreamReport:
    values = {"records": 10, "created": 7, "existing": 2, "dead": 1, "requests": 3, "seconds": 0.7}
    return StreamReport(stream, **{**values, "complete": True, **changes})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(clock: Clock) -> Telemetry:
    return Telemetry(now=clock)


@pytest.fixture
def telemetry(process: Telemetry) -> TenantTelemetry:
    return process.tenant("contoso", INTERVALS)


@pytest.fixture
def monitor(process: Telemetry) -> Iterator[Monitor]:
    with Monitor(process, ADDRESS, 0) as monitor:
        yield monitor


def ask(monitor: Monitor, path: str) -> tuple[int, str]:
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(f"http://{ADDRESS}:{monitor.port}{path}", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(monitor: Monitor) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels but the tenant's, in the order of their names."""
    status, text = ask(monitor, "/metrics")
    assert status == 200
    return {
        (each.name, *(value for name, value in sorted(each.labels.items()) if name != "tenant")): (
            each.value
        )
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_what_passes_did_is_added_up(telemetry: TenantTelemetry, monitor: Monitor) -> None:
    telemetry.passed(report(), began=1.0, retries=0)
    telemetry.passed(report(complete=False), began=2.0, retries=2)
    telemetry.passed(report(error=FatalError("no")), began=3.0, retries=0)
    found = samples(monitor)
    assert found["aquila_mde_records_total", "alert"] == 30
    assert found["aquila_mde_documents_created_total", "alert"] == 21
    assert found["aquila_mde_duplicates_suppressed_total", "alert"] == 6
    assert found["aquila_mde_dead_letters_total", "alert"] == 3
    assert found["aquila_mde_requests_total", "alert"] == 9
    assert found["aquila_mde_retries_total", "alert"] == 2
    for outcome in ("complete", "stopped", "failed"):
        assert found["aquila_mde_passes_total", outcome, "alert"] == 1
    assert found["aquila_mde_pass_seconds_count", "alert"] == 3
    # A stream of which nothing has come yet is there all the same, or an alert on it never fires.
    assert found["aquila_mde_records_total", "machine"] == 0


def test_what_is_asked_for_when_somebody_looks(
    telemetry: TenantTelemetry, monitor: Monitor, clock: Clock
) -> None:
    assert ("aquila_mde_lag_seconds", "alert") not in samples(monitor)
    expires = clock.now + 3 * 86_400
    unknown = {"alert": 2, "machine": 0}
    readings = Readings(lambda: 77, lambda: {"/api/alerts": 1_499}, expires, lambda: unknown)
    telemetry.watch(readings, {"machine": clock.now - 60})
    telemetry.passed(report(), began=clock.now - 5, retries=0)
    clock.now += 10
    found = samples(monitor)
    assert found["aquila_mde_lag_seconds", "alert"] == 15
    assert found["aquila_mde_lag_seconds", "machine"] == 70
    assert found["aquila_mde_interval_seconds", "machine"] == 900
    assert found[("aquila_mde_queue_bytes",)] == 77
    assert found["aquila_mde_quota_left_calls", "/api/alerts"] == 1_499
    assert found["aquila_mde_unknown_properties", "alert"] == 2
    assert found["aquila_mde_unknown_properties", "machine"] == 0
    assert found[("aquila_mde_credential_days_left",)] == pytest.approx(3, abs=0.01)
    telemetry.watch(Readings(lambda: 0, dict, None), {})
    assert ("aquila_mde_credential_days_left",) not in samples(monitor)


def test_a_collector_is_ready_when_every_stream_is_collected_in_time(
    telemetry: TenantTelemetry, monitor: Monitor, clock: Clock
) -> None:
    telemetry.passed(report("alert"), began=clock.now, retries=0)
    status, text = ask(monitor, "/readyz")
    assert status == 503
    assert json.loads(text)["tenants"] == {"contoso": {"machine": "never collected yet"}}
    telemetry.passed(report("machine"), began=clock.now, retries=0)
    assert ask(monitor, "/readyz") == (200, '{"status":"ok","tenants":{}}')
    telemetry.passed(report("machine", error=FatalError("no right")), began=0, retries=0)
    assert json.loads(ask(monitor, "/readyz")[1])["tenants"] == {"contoso": {"machine": "no right"}}
    telemetry.passed(report("machine"), began=clock.now, retries=0)
    clock.now += 901
    tenants = json.loads(ask(monitor, "/readyz")[1])["tenants"]
    assert tenants["contoso"] == {"alert": "901 s behind, at an interval of 300 s"}


def test_each_tenant_is_told_apart_until_it_is_forgotten(
    process: Telemetry, telemetry: TenantTelemetry, monitor: Monitor, clock: Clock
) -> None:
    def up() -> dict[str, float]:
        return {
            each.labels["tenant"]: each.value
            for family in process.registry.collect()
            for each in family.samples
            if each.name == "aquila_mde_tenant_up"
        }

    fabrikam = process.tenant("fabrikam", {"alert": timedelta(minutes=5)})
    for each in (telemetry, fabrikam):
        each.watch(Readings(lambda: 0, dict, None, dict), dict.fromkeys(INTERVALS, clock.now))
    assert ask(monitor, "/readyz")[0] == 200
    fabrikam.failed("The secret is wrong.")
    assert json.loads(ask(monitor, "/readyz")[1])["tenants"] == {
        "fabrikam": {"alert": "The secret is wrong."}
    }
    assert up() == {"contoso": 1.0, "fabrikam": 0.0}
    again = process.tenant("fabrikam", {"alert": timedelta(minutes=5)})
    assert again.lag("alert") == 0
    process.forget("fabrikam")
    assert up() == {"contoso": 1.0}
    assert "fabrikam" not in ask(monitor, "/metrics")[1]
    assert ask(monitor, "/readyz")[0] == 200


def test_a_loop_that_gives_no_sign_of_life_is_told(
    process: Telemetry, monitor: Monitor, clock: Clock
) -> None:
    assert ask(monitor, "/healthz")[0] == 200
    clock.now += 61
    assert ask(monitor, "/healthz") == (503, '{"status":"no sign of life for 61 s"}')
    process.beat()
    assert ask(monitor, "/healthz")[0] == 200


def test_what_is_not_there_says_what_is(monitor: Monitor) -> None:
    status, text = ask(monitor, "/")
    assert status == 404
    assert "/metrics" in text


def test_a_port_that_is_taken_is_one_clear_error(process: Telemetry, monitor: Monitor) -> None:
    with pytest.raises(PortTakenError) as raised:
        Monitor(process, ADDRESS, monitor.port)
    assert str(monitor.port) in str(raised.value)
    assert "AQUILA_MONITORING__PORT" in raised.value.hint

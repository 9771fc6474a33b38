"""What ``aquila-mde plan`` shows, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Call

from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree

CONFIG = """
tenants:
  - {name: contoso, id: 00000000-0000-0000-0000-000000000000, client_id: a, client_secret: x,
     namespace: contoso, streams: {alert: {interval: 15m}, hunting: {enabled: true}}}
  - {name: fabrikam, id: 22222222-2222-2222-2222-222222222222, client_id: b, client_secret: x,
     namespace: fabrikam, streams: {vulnerability: {enabled: false}}}
elasticsearch: {url: "http://127.0.0.1:9200"}
"""


Told = Callable[..., dict[str, Any]]


@pytest.fixture
def told(call: Call) -> Told:
    """What the command says as JSON."""

    def told(*arguments: object) -> dict[str, Any]:
        called = call("plan", *arguments, "--json")
        assert called.code == 0, called.err
        found: dict[str, Any] = json.loads(called.out)
        return found

    return told


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    file = tmp_path / "aquila.yml"
    file.write_text(CONFIG)
    return file


def test_tables_of_everything_end_in_the_warnings_with_what_to_do(call: Call) -> None:
    called = call("plan", "--tenants", "400", "--largest", "50000", "--hunting")
    assert called.code == 0, called.err
    for shown in (
        *("Calls, in the tenant that needs most", "All 400 tenants; kept with 1 replicas"),
        *("/api/machines/SoftwareVulnerabilitiesExport", "What it needs", "full export", "hunting"),
        *("--alert-versions", "data_stream/*/collect.yml", "docs/performance.json", "Warnings"),
        "! engine: ",
    ):
        assert shown in called.out
    assert "nodes" in called.out.rstrip().splitlines()[-1]


def test_nothing_stands_against_a_single_small_tenant(call: Call) -> None:
    assert "Nothing stands against it." in call("plan", "--tenants", 1, "--machines", 100).out


def test_json_has_the_same_numbers(told: Told) -> None:
    found = told("--tenants", "10", "--machines", "1000", "--vulnerabilities", "100")
    assert (found["tenants"], found["machines"]) == (10, 10_000)
    assert found["assumptions"]["vulnerabilities"] == 100
    assert found["full_exports"]["one"][0]["rows"] == 100_000


def test_the_tenants_of_the_settings_are_counted_with_their_streams_and_intervals(
    config: Path, told: Told
) -> None:
    found = told("--config", str(config), "--machines", "500")
    assert (found["tenants"], found["machines"]) == (2, 1_000)
    readings = {(one["tenant"], one["stream"]) for one in found["readings"]}
    assert ("contoso", "vulnerability") in readings
    assert ("contoso", "hunting") in readings
    assert ("fabrikam", "alert") in readings
    assert not {("fabrikam", "vulnerability"), ("fabrikam", "hunting")} & readings
    alerts = [one for one in found["endpoints"] if one["stream"] == "alert"]
    # The other one asks every five minutes.
    assert [(one["tenant"], round(one["calls_a_day"])) for one in alerts] == [("fabrikam", 288)]
    assert not any(
        one["stream"] == "hunting" for one in told("-c", str(config), "--no-hunting")["endpoints"]
    )


def test_beside_settings_so_many_tenants_are_like_the_first_of_them(
    config: Path, call: Call, told: Told
) -> None:
    found = told("--config", str(config), "--tenants", "50", "--largest", "3000")
    assert (found["tenants"], found["machines"]) == (50, 49 * 2_000 + 3_000)
    (alerts,) = [one for one in found["endpoints"] if one["stream"] == "alert"]
    assert round(alerts["calls_a_day"]) == 96
    refused = call("plan", "--config", str(config), "--largest", "3000")
    assert refused.code == ExitCode.SETTINGS
    assert "--largest needs --tenants" in refused.err


def test_a_longer_retention_and_more_replicas_take_more_room(told: Told) -> None:
    short = told("--tenants", "5", "--retention", "30d", "--replicas", "0")["engine"]
    long = told("--tenants", "5", "--retention", "90d", "--replicas", "1")["engine"]
    assert long["stored_bytes"] > 3 * short["stored_bytes"]
    assert long["shards"] > 2 * short["shards"]


def test_figures_of_another_machine_take_the_place_of_those_of_the_package(
    tmp_path: Path, told: Told
) -> None:
    other = json.loads(PackageTree.default().performance.read_bytes())
    other["end_to_end"]["documents_per_s"]["collector"]["median"] *= 2
    file = tmp_path / "results.json"
    file.write_text(json.dumps(other))
    before = told("--tenants", "100")["engine"]["cores_at_work"]
    after = told("--tenants", "100", "--measured", str(file))["engine"]["cores_at_work"]
    assert after == pytest.approx(before / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tenants", "0"), "--tenants is 0 and must be 1 or more"),
        (("--machines", "-5"), "--machines is -5 and must be 1 or more"),
        (("--online", "2"), "--online is 2 and must be between 0 and 1"),
        (("--busy", "0"), "--busy is 0 and must be more than 0 and at most 1"),
        (("--measured", "nowhere.json"), "The measurements in nowhere.json cannot be used"),
    ],
)
def test_a_wrong_number_is_one_error_with_what_to_do(
    arguments: tuple[str, str], said: str, call: Call
) -> None:
    called = call("plan", *arguments)
    assert called.code == ExitCode.SETTINGS
    first, hint = called.err.splitlines()
    assert first.startswith(f"Error: {said}")
    assert hint


def test_a_retention_that_is_no_time_is_refused(call: Call) -> None:
    refused = call("plan", "--retention", "long")
    assert refused.code == ExitCode.SETTINGS
    assert "--retention must be a duration" in refused.err


def test_a_tenant_of_the_settings_has_machines_of_its_own(
    config: Path, call: Call, told: Told
) -> None:
    found = told("-c", config, "--machines", 10, "--machines-of", "contoso=5000")
    assert found["machines"] == 5_010
    for wrong, said in (
        (("-c", config, "--machines-of", "nobody=5"), "names nobody, which is no tenant"),
        (("-c", config, "--machines-of", "contoso=0"), "--machines-of contoso is 0 and must be"),
        (("-c", config, "--machines-of", "contoso"), "'contoso' is no NAME=NUMBER"),
        (("--tenants", 3, "--machines-of", "contoso=5"), "goes with the tenants of a settings"),
    ):
        refused = call("plan", *wrong)
        assert refused.code == ExitCode.SETTINGS
        assert said in refused.err

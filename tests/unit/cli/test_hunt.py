"""``hunt`` as a user meets it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.unit.cli.conftest import Call

from aquila_mde.errors import ExitCode
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

DAY = ("--from", "2026-03-01", "--to", "2026-03-02")
BOUND = "Timestamp >= datetime(2026-03-01) and Timestamp < datetime(2026-03-02)"


@pytest.fixture(scope="module")
def tenant() -> Iterator[SimulatorServer]:
    quirks = Quirks(hunting_row_limit=200)
    with SimulatorServer(
        machines=10, alerts=0, actions=0, vulnerabilities=0, activity=0, quirks=quirks
    ) as server:
        yield server


@pytest.fixture
def settings(tenant: SimulatorServer, engine_url: str, namespace: str, tmp_path: Path) -> Path:
    values: dict[str, Any] = tenant.settings()
    values["tenant"]["namespace"] = namespace
    values["elasticsearch"] = {"url": engine_url}
    values["state"] = str(tmp_path / "state.sqlite3")
    values["hunting"] = {"row_limit": 200}
    file = tmp_path / "aquila.yml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_rows_as_table_csv_and_json(call: Call, settings: Path, tenant: SimulatorServer) -> None:
    query = "DeviceEvents | project Timestamp, DeviceName, ActionType, AdditionalFields"
    wanted = tenant.control.hunt(f"DeviceEvents | where {BOUND}")
    assert len(wanted) > 200
    told = call("hunt", query, *DAY, "-c", settings, "--format", "json")
    assert told.code == 0, told.err
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert len(rows) == len(wanted)
    assert list(rows[0]) == ["Timestamp", "DeviceName", "ActionType", "AdditionalFields"]
    assert f"{len(wanted)} rows" in told.err

    told = call("hunt", query, *DAY, "-c", settings, "-f", "csv")
    table = list(csv.reader(told.out.splitlines()))
    assert table[0] == list(rows[0])
    assert table[1:] == [["" if v is None else v for v in row.values()] for row in rows]

    told = call("hunt", "DeviceEvents | summarize N = count() by ActionType", *DAY, "-c", settings)
    assert told.code == 0, told.err
    assert "ActionType" in told.out.splitlines()[0]
    assert any(line.startswith("ScreenshotTaken") for line in told.out.splitlines())


def test_the_query_may_come_from_a_file_and_say_its_time(
    call: Call, settings: Path, tmp_path: Path
) -> None:
    file = tmp_path / "query.kql"
    file.write_text("DeviceInfo | where Timestamp > ago(2h) | count")
    told = call("hunt", f"@{file}", "-c", settings, "-f", "json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["Count"] == 20


def test_rows_are_indexed_each_once(
    call: Call, settings: Path, tenant: SimulatorServer, engine_url: str, namespace: str
) -> None:
    assert call("install", "-c", settings).code == 0
    wanted = len(tenant.control.hunt(f"DeviceFileEvents | where {BOUND}"))
    for created, existing in ((wanted, 0), (0, wanted)):
        told = call("hunt", "DeviceFileEvents", *DAY, "--index", "-c", settings)
        assert told.code == 0, told.err
        assert told.out == ""
        assert (
            f"{wanted:,} rows: {created:,} written, {existing:,} there already, 0 refused"
            in told.err
        )
    index = f"{engine_url}/logs-aquila_mde.hunting-{namespace}"
    httpx.post(f"{index}/_refresh")
    found = httpx.post(f"{index}/_search", json={"size": 1}).json()
    assert found["hits"]["total"]["value"] == wanted
    source = found["hits"]["hits"][0]["_source"]
    assert source["mde"]["hunting"]["name"] == "ad_hoc"
    assert source["event"]["category"] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("DeviceEvents | filtre",), ExitCode.DEFENDER, "unknown operator 'filtre'"),
        (("DeviceEvents | where Nothing == 1", *DAY), ExitCode.DEFENDER, "named 'Nothing'"),
        (("EmailEvents | count",), ExitCode.DEFENDER, "EmailEvents"),
        (("union DeviceEvents", *DAY), ExitCode.SETTINGS, "does not begin with the name"),
        (("DeviceEvents", "--last", "soon"), ExitCode.SETTINGS, "--last soon: must be a duration"),
        (("DeviceEvents", "--last", "1d", "--to", "2026-01-01"), ExitCode.SETTINGS, "keep one"),
        (("DeviceEvents", "--to", "2026-01-01"), ExitCode.SETTINGS, "--to needs --from"),
        (
            ("DeviceEvents", "--from", "2026-01-02", "--to", "2026-01-01"),
            ExitCode.SETTINGS,
            "later",
        ),
        (("@/nowhere/query.kql",), ExitCode.SETTINGS, "cannot be read: No such file"),
        (("  ",), ExitCode.SETTINGS, "The query is empty"),
        (("DeviceEvents | summarize count() by Timestamp", *DAY), ExitCode.DEFENDER, "200 rows"),
    ],
)
def test_errors_are_told(
    call: Call, settings: Path, arguments: tuple[str, ...], code: ExitCode, told: str
) -> None:
    answer = call("hunt", *arguments, "-c", settings)
    assert answer.code == code, answer.err
    assert told in answer.err


def test_a_missing_permission_is_told_with_what_to_do(
    call: Call, settings: Path, tenant: SimulatorServer
) -> None:
    tenant.control.remove_role("AdvancedQuery.Read.All")
    try:
        answer = call("hunt", "DeviceEvents", *DAY, "-c", settings)
    finally:
        tenant.control.grant_role("AdvancedQuery.Read.All")
    assert answer.code == ExitCode.PERMISSION
    assert "Hunting needs the application permission AdvancedQuery.Read.All." in answer.err
    assert "admin consent" in answer.err

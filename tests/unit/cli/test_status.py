from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import TENANT_ID, Call

from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.state import Batch, State
from aquila_mde.defender.times import parse_ticks
from aquila_mde.errors import ExitCode

NOON = parse_ticks("2026-01-01T12:00:00.1234567Z")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "state.sqlite3"
    monkeypatch.setenv("AQUILA_TENANT_ID", TENANT_ID)
    monkeypatch.setenv("AQUILA_CLIENT_ID", "client")
    monkeypatch.setenv("AQUILA_CLIENT_SECRET", "geheim")
    monkeypatch.setenv("ES_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AQUILA_STATE", str(file))
    return file


def test_before_the_first_collection_there_is_nothing_and_none_is_made(
    call: Call, state: Path
) -> None:
    answer = call("status")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("never collected") == 4
    assert not state.exists()


def test_the_state_is_shown_beside_a_collector_at_work(call: Call, state: Path) -> None:
    held = State(state)
    try:
        alerts = held.stream(TENANT_ID, "alert")
        current = alerts.begin(started=NOON, since=None, sweep=True)
        alerts.commit(Batch(created=5, dead=1, position=NOON))
        alerts.finish(current, now=NOON, keep_since=None)
        held.stream(TENANT_ID, "machine").begin(started=NOON, since=None, sweep=True)
        held.stream(TENANT_ID, "machine_action").fail("The permission is missing.")
        export = held.stream(TENANT_ID, "vulnerability")
        DeltaStore(export).complete("2026-01-01T06:00:00Z", NOON, NOON)
        export.commit(Batch(position=NOON))
        plain, as_json = call("status"), json.loads(call("status", "--json").out)
    finally:
        held.close()
    alert, machine, action, vulnerability = plain.out.splitlines()[1:]
    assert alert.split() == [
        "alert",
        "logs-aquila_mde.alert-default",
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00Z",
        "5",
        "1",
        "complete",
    ]
    assert machine.rstrip().endswith("pass unfinished")
    assert action.rstrip().endswith("The permission is missing.")
    assert vulnerability.split()[2:4] == ["2026-01-01T12:00:00Z", "2026-01-01T06:00:00Z"]
    assert as_json["states"] == {TENANT_ID: str(state)}
    assert as_json["failed_tenants"] == []
    assert as_json["streams"][0] == {
        "tenant": TENANT_ID,
        "stream": "alert",
        "index": "logs-aquila_mde.alert-default",
        "cursor": "2026-01-01T12:00:00.1234567Z",
        "full_export": None,
        "last_pass": "2026-01-01T12:00:00.1234567Z",
        "last_error": None,
        "delivered": 5,
        "dead": 1,
        "unfinished": False,
    }
    assert as_json["streams"][3]["last_pass"] is None
    assert as_json["streams"][3]["cursor"] == "2026-01-01T12:00:00.1234567Z"
    assert as_json["streams"][3]["full_export"] == "2026-01-01T06:00:00.0000000Z"


def test_a_state_of_the_first_format_is_shown(call: Call, state: Path) -> None:
    held = State(state)
    held.stream(TENANT_ID, "alert").commit(Batch(created=5))
    held.close()
    with closing(sqlite3.connect(state)) as database:
        database.execute("DROP TABLE delta")
        database.commit()
    (alert, *_) = json.loads(call("status", "--json").out)["streams"]
    assert (alert["delivered"], alert["full_export"]) == (5, None)


def test_a_file_that_is_no_state_is_told(call: Call, state: Path) -> None:
    state.write_text("something else, and long enough to be taken for a header")
    answer = call("status")
    assert answer.code == ExitCode.ENVIRONMENT
    assert str(state) in answer.err
    assert "geheim" not in answer.err

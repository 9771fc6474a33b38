"""``reconcile``, ``replay`` and ``backfill`` as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.conftest import Call

from aquila_mde.collect import backfill as backfilling
from aquila_mde.collect import reconcile as reconciling
from aquila_mde.collect import replay as replaying
from aquila_mde.collect.backfill import BackfillReport
from aquila_mde.collect.reconciliation import MissingRecord, Reconciliation, WindowReport
from aquila_mde.collect.replay import Kept, ReplayReport
from aquila_mde.collect.stream_pass import Counts
from aquila_mde.collect.windows import moment
from aquila_mde.defender.errors import DefenderUnavailableError
from aquila_mde.errors import ExitCode
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree

START, END = moment("2026-01-01", ""), moment("2026-01-08", "")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    values = {
        "tenant": {
            "id": "12345678-1234-1234-1234-123456789012",
            "client_id": "c",
            "client_secret": "s",
        },
        "elasticsearch": {"url": "http://localhost:1"},
        "state": str(tmp_path / "state.sqlite3"),
    }
    file = tmp_path / "aquila.yml"
    file.write_text(yaml.safe_dump(values))
    return file


Answering = Callable[..., list[object]]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Lets a command get these reports; what it was asked with is returned."""

    def answering(module: object, name: str, *reports: object) -> list[object]:
        asked: list[object] = []

        async def answer(*given: object, **named: object) -> list[object]:
            asked.append((given, named))
            return list(reports)

        monkeypatch.setattr(module, name, answer)
        return asked

    return answering


def test_the_three_on_a_tenant(
    call: Call, tree: PackageTree, engine_url: str, namespace: str, tmp_path: Path
) -> None:
    with SimulatorServer(
        machines=10, alerts=20, actions=5, vulnerabilities=30, activity=0, quota_scale=None
    ) as tenant:
        values = tenant.settings()
        values["tenant"]["namespace"] = namespace
        values["elasticsearch"] = {"url": engine_url}
        values["state"] = str(tmp_path / "state.sqlite3")
        file = tmp_path / "aquila.yml"
        file.write_text(yaml.safe_dump(values))
        assert call("install", "-c", file).code == 0
        times = ("--from", "2025-08-01", "--to", "2026-03-03")
        backfilled = call("backfill", "-c", file, *times, "--json")
        assert backfilled.code == 0, backfilled.err
        created = {
            each["stream"]: each["created"] for each in json.loads(backfilled.out)["streams"]
        }
        assert created == {"alert": 20, "machine_action": 5}
        missing = call("reconcile", "-c", file, "--json")
        assert missing.code == ExitCode.MISSING, missing.err
        repaired = call("reconcile", "-c", file, "--repair")
        assert repaired.code == 0, repaired.err
        assert "machine: 10 of 10 were delivered" in repaired.out
        assert call("reconcile", "-c", file).code == 0
        replayed = call("replay", "-c", file)
        assert (replayed.code, replayed.out) == (0, "There are no dead letters.\n")
        assert call("uninstall", "-c", file, "--delete-data").code == 0


def test_what_is_missing_is_shown_and_has_an_exit_code(
    call: Call, settings: Path, answering: Answering
) -> None:
    report = Reconciliation("alert", "logs-x", records=[MissingRecord("a-1", START, "id-1")])
    report.windows += [WindowReport(START, END, tenant=12, indexed=9, missing=3)]
    report.windows += [WindowReport(END, None), WindowReport(None, None, tenant=1, indexed=1)]
    asked = answering(reconciling, "reconcile", report)
    shown = call("reconcile", "-c", settings, "--from", "2026-01-01", "-s", "alert")
    assert shown.code == ExitCode.MISSING
    assert "2026-01-01T00:00Z to 2026-01-08T00:00Z" in shown.out
    assert "alert: a-1 of 2026-01-01T00:00:00.0000000Z is missing (_id id-1)" in shown.out
    assert "alert: 2 more are missing" in shown.out
    assert "--repair" in shown.out
    assert asked[0][0][2] == ["alert"]
    assert (asked[0][1]["since"], asked[0][1]["until"]) == (START, None)

    printed = json.loads(call("reconcile", "-c", settings, "--json").out)["streams"][0]
    assert (printed["missing"], printed["records"][0]["entity"]) == (3, "a-1")
    assert printed["windows"][1]["to"] is None

    report.windows[0].repaired = 3
    report.windows[0].dead = 1
    repaired = call("reconcile", "-c", settings, "--repair")
    assert repaired.code == ExitCode.DEAD_LETTERS
    assert "alert: 3 of 3 were delivered" in repaired.out

    report.error = DefenderUnavailableError("Nobody answers.")
    assert call("reconcile", "-c", settings).code == ExitCode.DEFENDER


def test_letters_that_stay_are_named(call: Call, settings: Path, answering: Answering) -> None:
    report = ReplayReport("alert", 5, 2, 1, 1, 1, [Kept("id-1", "No room.")])
    answering(replaying, "replay", report)
    shown = call("replay", "-c", settings)
    assert shown.code == ExitCode.DEAD_LETTERS
    assert shown.out.splitlines()[1].split() == ["alert", "5", "2", "1", "1", "1"]
    assert "alert id-1 stays: No room." in shown.out
    assert "alert: 1 more stay" in shown.out
    printed = json.loads(call("replay", "-c", settings, "--json").out)
    assert printed["streams"][0]["kept"] == [{"document_id": "id-1", "reason": "No room."}]
    answering(replaying, "replay", ReplayReport("alert", 2, 2))
    assert call("replay", "-c", settings).code == 0


def test_a_backfill_says_what_it_leaves_to_the_collector(
    call: Call, settings: Path, answering: Answering
) -> None:
    report = BackfillReport("alert", Counts(9, 8, 1, 0), 3, 3, left_from=START)
    asked = answering(backfilling, "backfill", report)
    times = ("--from", "2026-01-01", "--to", "2026-01-08T00:00:00Z")
    shown = call("backfill", "-c", settings, *times)
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[1].split() == ["alert", "3", "3", "9", "8", "1", "0"]
    assert "reads what comes from 2026-01-01T00:00:00Z on itself" in shown.out
    assert asked[0][0][2:4] == (START, END)
    printed = json.loads(call("backfill", "-c", settings, *times, "--json").out)["streams"][0]
    assert printed["left_from"] == "2026-01-01T00:00:00.0000000Z"
    report.counts.dead = 1
    assert call("backfill", "-c", settings, *times).code == ExitCode.DEAD_LETTERS
    report.error = DefenderUnavailableError("Nobody answers.")
    failed = call("backfill", "-c", settings, *times)
    assert failed.code == ExitCode.DEFENDER
    assert "Nobody answers." in failed.err


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-01-01T25:00:00Z"])
def test_a_time_that_is_none_is_named(call: Call, settings: Path, text: str) -> None:
    answer = call("reconcile", "-c", settings, "--from", text)
    assert answer.code == ExitCode.SETTINGS
    assert f"--from {text}" in answer.err
    assert "2026-01-31" in answer.err

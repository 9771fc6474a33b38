"""What has changed between two exports: whole periods, and the truth about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.clock import parse_time
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]
PATH = "/api/machines/SoftwareVulnerabilityChangesByMachine"
START = "2026-03-02T06:00:00Z"
PERIOD = timedelta(hours=6)


def ticks(text: str) -> int:
    return parse_time(text if text.endswith("Z") else text.replace(" ", "T") + "Z")


def changes(caller: Caller, since: str = START, **more: Any) -> list[dict[str, Any]]:
    answer = caller.get(PATH, {"sinceTime": since, **more}).raise_for_status().json()
    assert answer["@odata.context"].endswith("DeltaAssetVulnerability)")
    assert "@odata.nextLink" not in answer
    found: list[dict[str, Any]] = answer["value"]
    return found


def rows(server: SimulatorServer) -> dict[tuple[str, Any], dict[str, Any]]:
    export = server.control._tenant.export
    return {(row["id"], row["rbacGroupId"]): row for row in export.rows()}


def applied(
    held: dict[tuple[str, Any], dict[str, Any]], found: list[dict[str, Any]]
) -> set[tuple[str, Any, Any, Any]]:
    """What is open, with what Updated is about, after the changes in the order of their time."""
    state = {key: (row["cvssScore"], row["exploitabilityLevel"]) for key, row in held.items()}
    # Of one time, what was fixed is before what is new.
    for row in sorted(found, key=lambda r: (ticks(r["eventTimestamp"]), r["status"] != "Fixed")):
        key = row["id"], row["rbacGroupId"]
        if row["status"] == "Fixed":
            del state[key]
        else:
            assert (row["status"] == "New") == (key not in state)
            state[key] = row["cvssScore"], row["exploitabilityLevel"]
    return {(*key, *values) for key, values in state.items()}


def test_the_export_and_all_changes_since_are_the_newest_export(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(vulnerabilities=3_000, activity=2)
    caller, control = call(server), server.control
    before = rows(server)
    moved, gone = control.ids("machine")[:2]
    for step in range(6):
        if step == 1:
            control.update_machine(moved, {"rbacGroupId": 777, "rbacGroupName": "Other"})
        if step == 2:
            control.remove("machine", gone)
            control.remove("vulnerability", control.ids("vulnerability")[-1])
        if step == 3:
            control.add_vulnerabilities([{}, {"id": "x", "rbacGroupId": 1}])
            control.upgrade_software(control.ids("vulnerability")[5], "99.0")
        control.advance(PERIOD)
    found = changes(caller.sign_in())
    assert {row["status"] for row in found} == {"New", "Fixed", "Updated"}
    assert applied(before, found) == applied(rows(server), [])
    assert all("securityUpdateAvailable" not in row for row in found)
    assert {row["eventTimestamp"].endswith("Z") for row in found} == {True, False}
    assert control.delta_versions(START) == [
        (r["id"], str(r["rbacGroupId"]), r["status"], r["eventTimestamp"]) for r in found
    ]


def test_a_machine_that_moves_is_fixed_there_and_new_here_under_one_id(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(activity=0)
    control = server.control
    machine = control.ids("machine")[0]
    old = control.record("machine", machine)["rbacGroupId"]
    control.update_machine(machine, {"rbacGroupId": 999})
    control.regenerate_export()
    found = [row for row in changes(call(server)) if row["deviceId"] == machine]
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_id.setdefault(row["id"], []).append(row)
    pairs = [pair for pair in by_id.values() if len(pair) == 2]
    assert len(pairs) > 10
    for fixed, new in pairs:
        assert (fixed["status"], fixed["rbacGroupId"]) == ("Fixed", old)
        assert (new["status"], new["rbacGroupId"]) == ("New", 999)
        assert fixed["eventTimestamp"] == new["eventTimestamp"]


def test_an_upgrade_fixes_one_version_and_finds_the_other(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(activity=0, vulnerabilities=50)
    control = server.control
    key = control.ids("vulnerability")[7]
    old = control.record("vulnerability", key)
    upgraded = control.upgrade_software(key, "99.1")
    control.regenerate_export()
    found = {row["id"]: row for row in changes(call(server))}
    assert found[key]["status"] == "Fixed"
    assert found[upgraded]["status"] == "New"
    assert found[upgraded]["softwareVersion"] == "99.1"
    assert found[upgraded]["firstSeenTimestamp"] == old["firstSeenTimestamp"]
    assert key not in control.ids("vulnerability")


def test_the_whole_period_comes_again_and_is_not_seen_before_its_end(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(vulnerabilities=3_000, activity=0)
    caller, control = call(server), server.control
    assert changes(caller) == []
    control.advance(timedelta(hours=2, minutes=29, seconds=59))
    assert changes(caller.sign_in()) == [], "found with the export at 12:00"
    control.advance(timedelta(seconds=1))
    first = changes(caller.sign_in())
    assert len(first) > 5
    assert changes(caller, "2026-03-02T11:59:59Z") == first, "all of the period"
    assert changes(caller, "2026-03-02T12:00:00Z") == []
    assert {ticks(r["eventTimestamp"]) // ticks("1970-01-01T06:00:00Z") for r in first} == {
        ticks(START) // ticks("1970-01-01T06:00:00Z")
    }
    control.advance(PERIOD)
    both = changes(caller.sign_in())
    assert both[: len(first)] == first
    assert changes(caller, "2026-03-02T12:00:00Z") == both[len(first) :]


def test_no_period_of_the_last_fourteen_days_is_forgotten(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(vulnerabilities=2_000, activity=0)
    control = server.control
    before = rows(server)
    control.advance(timedelta(days=13, hours=20))
    at_once = changes(call(server))
    assert applied(before, at_once) == applied(rows(server), [])
    in_steps = simulator(vulnerabilities=2_000, activity=0)
    for _ in range(83):
        in_steps.control.advance(timedelta(hours=4))
    assert changes(call(in_steps)) == at_once


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "MissingRequiredParameter"),
        ({"sinceTime": "yesterday"}, "InvalidInput"),
        ({"sinceTime": "2026-02-16T09:29:59Z"}, "InvalidInput"),
        ({"sinceTime": START, "pageSize": "0"}, "InvalidInput"),
        ({"sinceTime": START, "pageSize": "many"}, "InvalidInput"),
        ({"sinceTime": START, "$skip": "10001"}, "ODataError"),
        ({"sinceTime": START, "$skiptoken": "??"}, "InvalidInput"),
        ({"sinceTime": START, "pageSize": "200001"}, "InvalidInput"),
    ],
)
def test_what_is_refused(
    simulator: StartSimulator, call: Call, query: dict[str, str], code: str
) -> None:
    answer = call(simulator(quirks=Quirks(above_cap="refuse"))).get(PATH, query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_fourteen_days_back_is_not_too_long_ago(simulator: StartSimulator, call: Call) -> None:
    assert changes(call(simulator()), "2026-02-16T09:30:00Z") == []


@pytest.mark.parametrize("size", ["pageSize", "$top"])
@pytest.mark.parametrize("link", ["given", "missing"])
def test_pages_and_links(simulator: StartSimulator, call: Call, link: Any, size: str) -> None:
    quirks = Quirks(changes_next_link=link, changes_casing="pascal")
    server = simulator(vulnerabilities=4_000, activity=0, quirks=quirks)
    server.control.advance(PERIOD)
    caller = call(server)
    whole = changes(caller)
    assert "OSPlatform" in whole[0]
    found: list[dict[str, Any]] = []
    answer = caller.get(PATH, {"sinceTime": START, size: 7}).raise_for_status().json()
    while True:
        found += answer["value"]
        told = answer.get("@odata.nextLink")
        assert bool(told) == (link == "given" and size == "pageSize" and len(found) < len(whole))
        if len(answer["value"]) < 7:
            break
        skip = {"sinceTime": START, size: 7, "$skip": len(found)}
        answer = (caller.get(told) if told else caller.get(PATH, skip)).raise_for_status().json()
    assert found == whole


def test_pages_above_the_limit_are_cut(simulator: StartSimulator, call: Call) -> None:
    server = simulator(vulnerabilities=4_000, activity=0, quirks=Quirks(page_cap=5))
    server.control.advance(PERIOD)
    for more in ({}, {"pageSize": 50}):
        answer = call(server).get(PATH, {"sinceTime": START, **more}).json()
        assert len(answer["value"]) == 5
        assert "$skiptoken" in answer["@odata.nextLink"]


def test_the_permission_is_asked_for(simulator: StartSimulator, call: Call) -> None:
    server = simulator(roles=["Alert.Read.All"])
    assert call(server).get(PATH, {"sinceTime": START}).status_code == 403


def test_two_rebuilds_have_two_sets_of_changes(simulator: StartSimulator) -> None:
    control = simulator(vulnerabilities=5_000, activity=0).control
    for _ in range(2):
        control.regenerate_export()
    counts = Counter(key[0] for key in control.delta_versions(START))
    assert counts
    with pytest.raises(KeyError):
        control.delta_versions(START, "alert")

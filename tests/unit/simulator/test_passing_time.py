"""The tenant is the same for the same seed, and things happen in it while time passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.clock import HOUR, parse_time, to_ticks
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]
STREAMS = ("alert", "machine", "machine_action", "vulnerability")


def everything(server: SimulatorServer) -> dict[str, Any]:
    return {name: server.control.truth(name) for name in STREAMS}


def versions(server: SimulatorServer, stream: str) -> dict[str, dict[str, Any]]:
    control = server.control
    return {key: control.record(stream, key) for key in control.ids(stream)}


def test_the_same_seed_gives_the_same_tenant(simulator: StartSimulator) -> None:
    first, second, other = simulator(seed=7), simulator(seed=7), simulator(seed=8)
    assert first.tenant_id == second.tenant_id
    assert first.client_secret == second.client_secret
    assert everything(first) == everything(second)
    assert everything(first) != everything(other)
    assert first.tenant_id != other.tenant_id


def test_it_does_not_matter_how_the_clock_gets_there(simulator: StartSimulator) -> None:
    at_once, in_steps = simulator(activity=10), simulator(activity=10)
    at_once.control.advance(timedelta(hours=8))
    for _ in range(16):
        in_steps.control.advance(timedelta(minutes=30))
    assert everything(at_once) == everything(in_steps)


def test_a_standing_tenant_without_activity_changes_nothing_by_itself(
    simulator: StartSimulator,
) -> None:
    server = simulator(activity=0, quirks=Quirks(late_share=0), actions=0)
    before = versions(server, "alert"), versions(server, "machine")
    server.control.advance(timedelta(days=2))
    assert (versions(server, "alert"), versions(server, "machine")) == before


def test_alerts_are_raised_and_updated(simulator: StartSimulator) -> None:
    server = simulator(alerts=300, activity=5)
    before, start = versions(server, "alert"), to_ticks(server.control.now)
    server.control.advance(timedelta(days=3))
    after = versions(server, "alert")
    assert after.keys() > before.keys()
    changed = [key for key in before if before[key] != after[key]]
    names = {n for key in changed for n in after[key] if before[key].get(n) != after[key][n]}
    assert names >= {"lastUpdateTime", "status", "comments", "evidence", "assignedTo"}
    for key in changed:
        assert parse_time(before[key]["lastUpdateTime"]) < parse_time(after[key]["lastUpdateTime"])
        assert start < parse_time(after[key]["lastUpdateTime"]) <= to_ticks(server.control.now)


def test_machines_report_once_a_day_and_change_in_between(simulator: StartSimulator) -> None:
    server = simulator(machines=300, activity=5)
    before = versions(server, "machine")
    server.control.advance(timedelta(days=1))
    after = versions(server, "machine")
    reported = [k for k in before if before[k]["lastSeen"] != after[k]["lastSeen"]]
    active = [k for k in before if before[k]["healthStatus"] != "Inactive"]
    assert set(reported) == set(active)
    names = {n for k in before for n in before[k] if before[k][n] != after[k].get(n)}
    assert names >= {"machineTags", "riskScore", "exposureLevel", "lastIpAddress"}
    server.control.advance(timedelta(minutes=3))
    quiet = {
        k: m
        for k, m in versions(server, "machine").items()
        if m["lastSeen"] == after[k]["lastSeen"] and m != after[k]
    }
    assert quiet, "tags, risk and exposure change without lastSeen"


def test_actions_go_on_until_they_are_final(simulator: StartSimulator) -> None:
    server = simulator(actions=400, activity=0)
    seen: set[str] = set()
    for _ in range(8):
        seen |= {action["status"] for action in versions(server, "machine_action").values()}
        server.control.advance(timedelta(days=1))
    assert seen >= {"InProgress", "Succeeded", "Failed"}
    left = {action["status"] for action in versions(server, "machine_action").values()}
    assert left <= {"Succeeded", "Failed", "TimeOut", "Cancelled"}
    failed = [a for a in versions(server, "machine_action").values() if a["status"] == "Failed"]
    assert all(action["errorHResult"] == -2147467260 for action in failed)


def test_rows_come_late(simulator: StartSimulator) -> None:
    quirks = Quirks(late_share=1.0, late_by=timedelta(hours=3))
    server = simulator(alerts=300, activity=20, quirks=quirks)
    server.control.advance(timedelta(hours=12))
    now = to_ticks(server.control.now)
    shown = versions(server, "alert")
    server.control.advance(timedelta(hours=3))
    late = {
        key
        for key, alert in versions(server, "alert").items()
        if shown.get(key) != alert and parse_time(alert["lastUpdateTime"]) < now
    }
    assert late, "what was updated before could not be seen then"
    assert all(
        parse_time(versions(server, "alert")[key]["lastUpdateTime"]) > now - 3 * HOUR
        for key in late
    )


def test_a_late_version_does_not_replace_a_newer_one(simulator: StartSimulator) -> None:
    server = simulator(alerts=0, activity=0)
    newer, older = "2026-03-02T09:00:00Z", "2026-03-02T08:00:00Z"
    (key,) = server.control.add_alerts([{"lastUpdateTime": newer}])
    server.control.add_alerts(
        [{"id": key, "lastUpdateTime": older}, {}], visible_after=timedelta(minutes=5)
    )
    assert len(server.control.ids("alert")) == 1
    server.control.advance(timedelta(minutes=5))
    assert server.control.record("alert", key)["lastUpdateTime"] == newer
    assert len(server.control.ids("alert")) == 2


def test_a_thousand_alerts_with_one_time(simulator: StartSimulator, call: Call) -> None:
    server = simulator(alerts=0, activity=0)
    at = "2026-03-01T12:00:00.1234567Z"
    ids = server.control.add_alerts([{"lastUpdateTime": at}] * 1000)
    assert len(set(ids)) == 1000
    assert len(call(server).values("/api/alerts", filter=f"lastUpdateTime eq {at}")) == 1000
    equal = simulator(alerts=100, quirks=Quirks(equal_times=60, late_share=0))
    stamps = [alert["lastUpdateTime"] for alert in versions(equal, "alert").values()]
    assert max(stamps.count(stamp) for stamp in stamps) == 60


def test_records_are_as_varied_as_at_microsoft(simulator: StartSimulator) -> None:
    server = simulator(machines=400, alerts=400, actions=200)
    machines = list(versions(server, "machine").values())
    platforms = {machine["osPlatform"].lower() for machine in machines}
    for start in ("windows1", "windowsserver", "ubuntu", "redhat", "macos"):
        assert any(platform.startswith(start) for platform in platforms), start
    assert {type(machine["vmMetadata"]) for machine in machines} == {dict, type(None)}
    assert any(machine["managedBy"] == "" for machine in machines)
    assert any(machine["computerDnsName"] is None for machine in machines)
    assert any("defenderAvStatus" not in machine for machine in machines)
    assert any(machine["rbacGroupId"] == 0 for machine in machines)
    assert any(machine["riskScore"] == "None" for machine in machines)
    known = {machine["id"] for machine in machines}
    alerts = list(versions(server, "alert").values())
    assert any(alert["machineId"] is None for alert in alerts)
    assert any(alert["machineId"] and alert["machineId"] not in known for alert in alerts)
    assert any(alert["mitreTechniques"] is None for alert in alerts)
    assert any(alert["comments"] for alert in alerts)
    fractions = {len(a["lastUpdateTime"].partition(".")[2].rstrip("Z")) for a in alerts}
    assert fractions > {6, 7}
    actions = list(versions(server, "machine_action").values())
    assert any(action["commands"] for action in actions)
    assert any(action["relatedFileInfo"] for action in actions)
    assert any("@" not in action["requestor"] for action in actions)


def test_a_tenant_can_be_empty(simulator: StartSimulator, call: Call) -> None:
    server = simulator(machines=0, alerts=0, actions=0, vulnerabilities=0)
    server.control.advance(timedelta(days=1))
    caller = call(server)
    assert caller.values("/api/alerts") == caller.values("/api/machineactions") == []
    assert caller.get("/api/machines").status_code == 404
    server.control.add_alerts([{}])
    server.control.add_actions([{}])
    assert len(caller.values("/api/alerts")) == len(caller.values("/api/machineactions")) == 1


def test_a_running_tenant_is_in_the_present(simulator: StartSimulator) -> None:
    server = simulator(running=True)
    first = server.control.now
    assert max(
        parse_time(alert["lastUpdateTime"]) for alert in versions(server, "alert").values()
    ) <= to_ticks(server.control.now)
    while server.control.now == first:
        pass


@pytest.mark.parametrize("stream", ["alert", "machine", "machine_action"])
def test_removed_records_are_gone(simulator: StartSimulator, stream: str) -> None:
    server = simulator(activity=30)
    for key in server.control.ids(stream)[:20]:
        server.control.remove(stream, key)
        assert key not in server.control.ids(stream)
        with pytest.raises(KeyError, match=key):
            server.control.record(stream, key)
        with pytest.raises(KeyError, match=key):
            server.control.remove(stream, key)
    server.control.advance(timedelta(days=2))

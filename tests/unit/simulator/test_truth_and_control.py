"""Changing records by hand, and the truth that the index is compared with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import Settings
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]


def changed_versions(server: SimulatorServer, stream: str, change: Callable[[], Any]) -> int:
    before = set(server.control.truth(stream)["versions"])
    change()
    return len(set(server.control.truth(stream)["versions"]) - before)


def test_the_truth_is_what_a_client_reads(simulator: StartSimulator, call: Call) -> None:
    server = simulator(activity=5)
    server.control.advance(timedelta(hours=7))
    caller = call(server)
    alerts = caller.values("/api/alerts")
    truth = server.control.truth("alert")
    assert truth["entities"] == len(alerts)
    assert sorted(truth["versions"]) == sorted(
        (a["id"], a["lastUpdateTime"], a["status"]) for a in alerts
    )
    actions = caller.values("/api/machineactions")
    keys = server.control.truth("machine_action")["versions"]
    assert sorted(key[:3] for key in keys) == sorted(
        (a["id"], a["lastUpdateDateTimeUtc"], a["status"]) for a in actions
    )
    rows = caller.rows()
    keys = server.control.truth("vulnerability")["versions"]
    assert sorted(key[:2] for key in keys) == sorted(
        (row["Id"], str(row["RbacGroupId"])) for row in rows
    )
    assert {key[3] for key in keys} == {"2026-02-06T00:00:00Z"}, "the 30 days of the export"
    counts = server.control.truth()
    assert counts == {
        name: {
            "entities": server.control.truth(name)["entities"],
            "versions": len(set(server.control.versions(name))),
        }
        for name in ("alert", "machine", "machine_action", "vulnerability")
    }


def test_an_update_of_an_alert_is_a_version(simulator: StartSimulator) -> None:
    server = simulator(activity=0)
    control = server.control
    key = control.ids("alert")[0]
    assert changed_versions(server, "alert", lambda: control.update_alert(key)) == 1
    assert changed_versions(server, "alert", lambda: control.update_alert(key)) == 1
    changed = control.update_alert(key, {"status": "Resolved"})
    assert changed["status"] == "Resolved"
    assert control.record("alert", key) == changed

    def silently() -> None:
        control.update_alert(key, {"assignedTo": "x@contoso.com"}, move_time=False)

    assert changed_versions(server, "alert", silently) == 0, "the time did not move"
    assert control.record("alert", key)["assignedTo"] == "x@contoso.com"
    exact = control.update_alert(key, {"lastUpdateTime": "2026-04-01T00:00:00.1Z"})
    assert exact["lastUpdateTime"] == "2026-04-01T00:00:00.1Z"


def test_many_updates_bring_an_alert_to_its_end(simulator: StartSimulator) -> None:
    control = simulator(activity=0).control
    key = control.ids("alert")[0]
    for _ in range(60):
        alert = control.update_alert(key)
    assert alert["status"] == "Resolved"
    assert alert["determination"]
    assert alert["comments"]


def test_a_version_of_a_machine_is_its_content(simulator: StartSimulator) -> None:
    server = simulator(activity=0)
    control = server.control
    key = control.ids("machine")[0]
    held = control.record("machine", key)

    def change(**changes: Any) -> Callable[[], Any]:
        return lambda: control.update_machine(key, changes)

    assert changed_versions(server, "machine", change(lastSeen="2026-03-02T09:00:00Z")) == 0
    assert changed_versions(server, "machine", change(machineTags=["b", "a"])) == 1
    assert changed_versions(server, "machine", change(machineTags=["a", "b"])) == 0
    assert changed_versions(server, "machine", change(ipAddresses=held["ipAddresses"][::-1])) == 0
    assert changed_versions(server, "machine", change(riskScore="other")) == 1
    (added,) = control.add_machines([{"computerDnsName": "new.contoso.com"}])
    assert control.record("machine", added)["computerDnsName"] == "new.contoso.com"


def test_actions_change_in_status_commands_and_time(simulator: StartSimulator) -> None:
    server = simulator(activity=0, actions=0)
    control = server.control
    command = {"index": 0, "commandStatus": "Created", "errors": [], "command": {"type": "GetFile"}}
    (key,) = control.add_actions([{"type": "LiveResponse", "commands": [command]}])
    assert control.record("machine_action", key)["status"] == "Pending"
    assert control.update_action(key)["status"] == "InProgress"
    first = control.record("machine_action", key)["lastUpdateDateTimeUtc"]
    done = control.update_action(key)
    assert (done["status"], done["commands"][0]["commandStatus"]) == ("Succeeded", "Completed")
    assert done["lastUpdateDateTimeUtc"] > first
    assert control.update_action(key)["status"] == "Succeeded"
    stamp = control.record("machine_action", key)["lastUpdateDateTimeUtc"]

    def within_one_time() -> None:
        other = [{**command, "commandStatus": "Failed"}]
        control.update_action(key, {"commands": other}, move_time=False)

    assert changed_versions(server, "machine_action", within_one_time) == 1
    assert control.record("machine_action", key)["lastUpdateDateTimeUtc"] == stamp
    exact = control.update_action(key, {"lastUpdateDateTimeUtc": "2026-04-01T00:00:00Z"})
    assert exact["lastUpdateDateTimeUtc"] == "2026-04-01T00:00:00Z"


def test_what_is_not_there_cannot_be_changed(simulator: StartSimulator) -> None:
    control = simulator().control
    for change in (control.update_alert, control.update_action):
        with pytest.raises(KeyError, match="no record nobody"):
            change("nobody")
    with pytest.raises(KeyError, match="no record nobody"):
        control.update_machine("nobody", {})


def test_the_settings_are_settings_of_the_collector(simulator: StartSimulator) -> None:
    server = simulator()
    settings = Settings(**server.settings(), elasticsearch={"url": "http://127.0.0.1:9200"})
    assert settings.tenant.id == server.tenant_id
    assert settings.tenant.ca_file == server.ca_file
    assert settings.tenant.api_url == server.url


def tree_with(folder: Path, name: str, collect: str) -> PackageTree:
    streams = folder / "data_stream"
    default = PackageTree.default().root / "data_stream"
    for stream in ("machine_action", name):
        (streams / stream).mkdir(parents=True)
        (streams / stream / "manifest.yml").write_text("title: A stream\ntype: logs\n")
    own = "machine_action/collect.yml"
    (streams / own).write_text((default / own).read_text())
    (streams / name / "collect.yml").write_text(collect)
    return PackageTree(folder)


RECOMMENDATION = """
strategy: incremental
endpoint:
  path: /api/recommendations
  permission: SecurityRecommendation.Read.All
  reference: https://learn.microsoft.com/
  quota: {per_minute: 2, per_hour: 100}
interval: 1d
identity:
  entity: id
  parts: [id, {content_except: [id]}]
"""
OBJECTS: list[dict[str, Any]] = [
    {
        "id": "va-_-a",
        "severityScore": 1.5,
        "active": True,
        "tags": ["x"],
        "updatedOn": "2026-01-01T00:00:00Z",
    },
    {"id": "va-_-b", "severityScore": 3, "active": False, "tags": [1], "updatedOn": "n/a", "x": {}},
]


def test_a_further_stream_is_served_from_files_alone(
    simulator: StartSimulator, call: Call, tmp_path: Path
) -> None:
    tree = tree_with(tmp_path, "recommendation", RECOMMENDATION)
    server = simulator(tree=tree, extra={"/api/Recommendations": OBJECTS}, quota_scale=1)
    caller = call(server)
    held = caller.values("/api/recommendations")
    assert sorted(held, key=itemgetter("id")) == OBJECTS
    found = caller.values("/api/recommendations", filter="severityScore gt 2 and active eq false")
    assert [record["id"] for record in found] == ["va-_-b"]
    assert caller.get("/api/recommendations").status_code == 429
    assert server.control.truth("recommendation")["entities"] == 2
    assert caller.get("/api/machines").status_code == 404, "no stream reads it"
    server.control.remove_role("SecurityRecommendation.Read.All")
    assert caller.sign_in().get("/api/recommendations").status_code == 403


def test_a_further_export_is_served_from_files_alone(
    simulator: StartSimulator, call: Call, tmp_path: Path
) -> None:
    collect = RECOMMENDATION.replace("incremental", "export").replace(
        "/api/recommendations", "/api/machines/SoftwareInventoryExport"
    )
    tree = tree_with(tmp_path, "software", collect)
    path = "/api/machines/SoftwareInventoryExport"
    server = simulator(tree=tree, extra={path: OBJECTS})
    caller = call(server)
    (link,) = caller.get(path).json()["exportFiles"]
    assert "/software/json/" in link
    assert len(caller.file(link).content) > 20
    assert caller.file(link.replace("sig=", "sig=A")).status_code == 403
    assert server.control.truth()["software"] == {"entities": 2, "versions": 2}


def test_a_stream_without_objects_is_empty_and_objects_need_a_stream(
    simulator: StartSimulator, call: Call, tmp_path: Path
) -> None:
    expanding = RECOMMENDATION.replace("interval", "  expand: [details]\ninterval", 1)
    tree = tree_with(tmp_path, "recommendation", expanding)
    caller = call(simulator(tree=tree))
    assert caller.values("/api/recommendations", expand="details") == []
    with pytest.raises(ConfigurationError, match="/api/software"):
        simulator(extra={"/api/software": []})

"""The vulnerability export: snapshots, links that die, files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import msgspec
import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.catalogue import Catalogue
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/xml")
    text = answer.content.decode("utf-8-sig")
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?><Error>')
    return answer.status_code, text.split("<Code>")[1].split("</Code>")[0]


def test_every_row_comes_once_in_files_of_gzip(simulator: StartSimulator, call: Call) -> None:
    server = simulator(rows_per_file=150)
    caller = call(server)
    export = caller.export()
    assert len(export["exportFiles"]) == 4
    assert export["generatedTime"] == "2026-03-02T06:00:00Z"
    assert export["@odata.context"].endswith("ExportFilesResponse")
    names = [link.split("?")[0] for link in export["exportFiles"]]
    assert names == sorted(names)
    rows = caller.rows()
    assert len(rows) == len({row["Id"] for row in rows}) == 600
    machines = {m["id"]: m for m in caller.values("/api/machines")}
    for row in rows:
        machine = machines[row["DeviceId"]]
        assert row["OSPlatform"] == machine["osPlatform"]
        assert row["RbacGroupId"] == machine["rbacGroupId"]
        tail = f"{row['SoftwareName']}_{row['SoftwareVersion']}_{row['CveId'] or ''}_"
        assert row["Id"] == f"{row['DeviceId']}_{tail}"
    assert any(row["CveId"] is None for row in rows)
    assert {type(row.get("RecommendedSecurityUpdateId")) for row in rows} >= {str, int, type(None)}
    assert any("RecommendedSecurityUpdate" not in row for row in rows)


@pytest.mark.parametrize(
    ("casing", "spellings"),
    [
        ("camel", [{"deviceId"}, {"deviceId"}]),
        ("pascal", [{"DeviceId"}, {"DeviceId"}]),
        ("mixed", [{"DeviceId"}, {"deviceId"}]),
    ],
)
def test_both_spellings_of_property_names(
    simulator: StartSimulator, call: Call, casing: str, spellings: list[set[str]]
) -> None:
    quirks = msgspec.convert({"export_casing": casing}, Quirks)
    caller = call(simulator(rows_per_file=300, quirks=quirks))
    found = []
    for link in caller.export()["exportFiles"]:
        lines = gzip.decompress(caller.file(link).content).splitlines()
        found.append({name for name in json.loads(lines[0]) if name.lower() == "deviceid"})
    assert found == spellings


def test_links_die_after_the_hours_asked_for(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    (short,) = caller.export()["exportFiles"]
    (long,) = caller.export(6)["exportFiles"]
    server.control.advance(timedelta(minutes=59, seconds=59))
    assert caller.file(short).status_code == 200
    server.control.advance(timedelta(seconds=1))
    assert refusal(caller.file(short)) == (403, "AuthenticationFailed")
    assert caller.file(long).status_code == 200
    server.control.advance(timedelta(hours=5))
    assert refusal(caller.file(long)) == (403, "AuthenticationFailed")


@pytest.mark.parametrize("hours", ["0", "7", "1.5", ""])
def test_hours_beyond_the_limits_are_refused(
    simulator: StartSimulator, call: Call, hours: str
) -> None:
    path = "/api/machines/SoftwareVulnerabilitiesExport"
    answer = call(simulator()).get(path, {"sasValidHours": hours})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "InvalidInput"


def test_the_signature_is_looked_at_and_no_token_is_taken(
    simulator: StartSimulator, call: Call
) -> None:
    caller = call(simulator())
    (link,) = caller.export()["exportFiles"]
    assert not link.startswith(caller.server.url), "the storage is another host"
    assert refusal(caller.file(link.replace("sig=", "sig=A")))[0] == 403
    assert refusal(caller.file(link.split("?")[0]))[0] == 403
    assert refusal(caller.file(link.replace("part-00000", "part-00001")))[0] == 403
    assert refusal(caller.get(link))[0] == 403
    assert caller.server.control.requests[-1].query == "", "a signature is not remembered"


def test_a_snapshot_is_taken_every_six_hours_and_rows_come_and_go(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(vulnerabilities=5_000, activity=0)
    caller = call(server)
    before, generated = caller.rows(), caller.export()["generatedTime"]
    server.control.advance(timedelta(hours=2))
    assert caller.sign_in().export()["generatedTime"] == generated
    server.control.advance(timedelta(hours=1))
    assert caller.sign_in().export()["generatedTime"] == "2026-03-02T12:00:00Z"
    server.control.advance(timedelta(days=3))
    caller.sign_in()
    after = caller.rows()
    old, new = {row["Id"]: row for row in before}, {row["Id"]: row for row in after}
    assert len(new) == len(after)
    assert old.keys() - new.keys(), "fixed"
    assert new.keys() - old.keys(), "found"
    changed = [key for key in old.keys() & new.keys() if old[key] != new[key]]
    assert changed, "updated"
    assert {name for key in changed for name in old[key] if old[key][name] != new[key][name]} <= {
        "CvssScore",
        "ExploitabilityLevel",
        "FirstSeenTimestamp",
    }


def test_the_snapshot_before_the_current_one_can_still_be_read(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator()
    caller = call(server)
    (first,) = caller.export()["exportFiles"]
    content = caller.file(first).content
    server.control.regenerate_export()
    (second,) = caller.export()["exportFiles"]
    assert second.split("?")[0] != first.split("?")[0]
    assert caller.file(first).content == content
    server.control.regenerate_export()
    assert refusal(caller.file(first)) == (404, "BlobNotFound")
    assert caller.file(second).status_code == 200


def test_a_machine_that_moves_or_goes_takes_its_rows_with_it(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(activity=0)
    caller = call(server)
    moved, gone = server.control.ids("machine")[:2]
    server.control.update_machine(moved, {"rbacGroupId": 999, "rbacGroupName": "New group"})
    server.control.remove("machine", gone)
    groups = {row["RbacGroupId"] for row in caller.rows() if row["DeviceId"] == moved}
    assert 999 not in groups, "not before the next snapshot"
    server.control.regenerate_export()
    rows = caller.rows()
    assert {row["RbacGroupId"] for row in rows if row["DeviceId"] == moved} == {999}
    assert gone not in {row["DeviceId"] for row in rows}
    assert server.control.truth()["vulnerability"]["entities"] == len(rows)


def test_rows_can_be_added_and_removed(simulator: StartSimulator, call: Call) -> None:
    server = simulator(activity=0)
    caller = call(server)
    twice = {"id": "same"}
    added = server.control.add_vulnerabilities(
        [{}, twice | {"rbacGroupId": 1}, twice | {"rbacGroupId": 2}]
    )
    first = caller.rows()[0]["Id"]
    server.control.remove("vulnerability", first)
    assert len(caller.rows()) == 600, "not before the next snapshot"
    server.control.regenerate_export()
    ids = [row["Id"] for row in caller.rows()]
    assert ids.count("same") == 2
    assert added[0] in ids
    assert first not in ids
    truth = server.control.truth()["vulnerability"]
    assert truth["versions"] == len(ids)
    assert truth["entities"] == len(set(ids))
    server.control.remove("vulnerability", added[0])
    server.control.regenerate_export()
    assert added[0] not in [row["Id"] for row in caller.rows()]
    assert server.control.record("vulnerability", "same")["softwareVendor"] == "contoso"


def test_broken_lines_stand_between_good_ones(simulator: StartSimulator, call: Call) -> None:
    caller = call(simulator(quirks=Quirks(bad_export_lines=2)))
    (link,) = caller.export()["exportFiles"]
    good = bad = 0
    for line in gzip.decompress(caller.file(link).content).splitlines():
        try:
            json.loads(line)
        except ValueError:
            bad += 1
        else:
            good += 1
    assert (good, bad) == (600, 2)


def test_a_tenant_without_machines_has_an_empty_export(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(machines=0)
    assert call(server).rows() == []
    assert server.control.truth()["vulnerability"] == {"entities": 0, "versions": 0}


def test_more_rows_than_there_is_software_for_are_refused() -> None:
    with pytest.raises(ValueError, match="simulate more machines"):
        Catalogue(1, 100_000, 0)

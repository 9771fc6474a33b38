"""Records carry what an analyst needs beside them, also when it comes late."""

from collections.abc import Callable
from datetime import timedelta

from tests.system.conftest import Job

MakeJob = Callable[..., Job]
LATE = "ab" * 20


def join_of(document: dict) -> dict:
    return document["mde"][document["data_stream"]["dataset"].split(".")[1]]


async def test_an_alert_carries_its_machine(job: MakeJob) -> None:
    work = job(machines=5, alerts=30)
    await work.collect()
    machines = {each["host"]["id"]: each for each in work.documents("machine")}
    with_machine = [
        each for each in work.documents("alert") if each.get("host", {}).get("id") in machines
    ]
    assert len(with_machine) > 10
    for alert in with_machine:
        machine = machines[alert["host"]["id"]]
        assert alert["host"].get("ip") == machine["host"].get("ip")
        assert alert["host"].get("os", {}).get("type") == machine["host"].get("os", {}).get("type")
        expected = machine["mde"]["machine"]["exposure_level"]
        assert join_of(alert)["machine"]["exposure_level"] == expected
        assert "machine" in join_of(alert)["enriched"]
        assert "join" not in alert["mde"]


async def test_a_vulnerability_carries_its_machine_and_its_cve(job: MakeJob) -> None:
    work = job(machines=5, vulnerabilities=100)
    await work.collect()
    catalogue = {
        cve["id"]: cve
        for cve in (row.values() for row in work.simulator.control._tenant.vulnerabilities)
    }
    found = [each for each in work.documents("vulnerability") if "vulnerability" in each]
    assert len(found) > 50
    for row in found:
        cve = catalogue[row["vulnerability"]["id"]]
        assert row["vulnerability"]["description"] == cve["description"][:1024]
        assert row["vulnerability"]["published_date"]
        assert sorted(join_of(row)["enriched"]) == ["cve", "machine"]
        assert row["host"]["ip"]


async def test_a_machine_that_comes_late_completes_what_waited_for_it(job: MakeJob) -> None:
    work = job(machines=2)
    control = work.simulator.control
    control.add_alerts([{"machineId": LATE, "computerDnsName": "late.contoso.com"}])
    await work.collect()
    (alert,) = work.documents("alert")
    assert join_of(alert)["join_missing"] == ["machine"]
    assert "os" not in alert["host"]
    work.rollover("alert")
    control.advance(timedelta(minutes=3))
    seen = control.now.isoformat().replace("+00:00", "Z")
    control.add_machines(
        [{"id": LATE, "lastSeen": seen, "exposureLevel": "High", "osPlatform": "Windows11"}]
    )
    await work.collect("machine")
    (completed,) = work.documents("alert")
    assert "join_missing" not in join_of(completed)
    assert join_of(completed)["machine"]["exposure_level"] == "High"
    assert completed["host"]["os"]["name"] == "Windows 11"
    assert completed["event"]["id"] == alert["event"]["id"]
    again = await work.collect()
    assert again["alert"].created == 0
    assert len(work.documents("alert")) == 1

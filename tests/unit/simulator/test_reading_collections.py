"""Alerts, machines, actions and the CVE catalogue as a client reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.clock import parse_time
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]


def times(records: list[dict[str, Any]], name: str = "lastUpdateTime") -> list[int]:
    return [parse_time(record[name]) for record in records]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_filter_on_time_chooses_exactly_what_it_says(
    simulator: StartSimulator, call: Call
) -> None:
    caller = call(simulator(alerts=300))
    every = caller.values("/api/alerts")
    middle = sorted(every, key=lambda alert: parse_time(alert["lastUpdateTime"]))[150]
    bound = middle["lastUpdateTime"]
    later = caller.values("/api/alerts", filter=f"lastUpdateTime ge {bound}")
    earlier = caller.values("/api/alerts", filter=f"lastUpdateTime lt {bound}")
    assert len(later) + len(earlier) == len(every)
    assert min(times(later)) == parse_time(bound) > max(times(earlier))
    severe = caller.values(
        "/api/alerts", filter=f"lastUpdateTime ge {bound} and severity in ('High', 'Medium')"
    )
    assert {alert["id"] for alert in severe} == {
        alert["id"] for alert in later if alert["severity"] in ("High", "Medium")
    }


def test_the_order_is_fixed_and_nobodys_sort_order(simulator: StartSimulator, call: Call) -> None:
    server = simulator(alerts=300, activity=20)
    server.control.advance(timedelta(days=2))
    caller = call(server)
    first, second = caller.values("/api/alerts"), caller.values("/api/alerts")
    assert first == second
    assert times(first) != sorted(times(first))
    assert times(first) != sorted(times(first), reverse=True)
    assert times(first)[-40:] != sorted(times(first)[-40:])


def test_evidence_is_there_when_it_is_expanded(simulator: StartSimulator, call: Call) -> None:
    caller = call(simulator())
    assert all(alert["evidence"] == [] for alert in caller.values("/api/alerts"))
    expanded = caller.values("/api/alerts", expand="evidence")
    kinds = {item["entityType"] for alert in expanded for item in alert["evidence"]}
    assert kinds >= {"User", "Process", "File", "Ip", "Url", "Registry"}
    lean = caller.values("/api/alerts")
    assert [a | {"evidence": []} for a in expanded] == lean


def test_top_without_next_link_and_skip_bring_every_record(
    simulator: StartSimulator, call: Call
) -> None:
    caller = call(simulator())
    answer = caller.get("/api/alerts", {"$top": "50"}).json()
    assert "@odata.nextLink" not in answer
    assert answer["@odata.context"].endswith("/api/$metadata#Alerts")
    pages = [caller.values("/api/alerts", top=50, skip=skip) for skip in (0, 50, 100)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({alert["id"] for page in pages for alert in page}) == 120


def test_without_top_the_service_cuts_and_says_where_the_rest_is(
    simulator: StartSimulator, call: Call
) -> None:
    caller = call(simulator(quirks=Quirks(page_cap=50, skip_cap=60)))
    found: list[str] = []
    link: str | None = "/api/alerts?$filter=status ne 'a + b'"
    while link is not None:
        answer = caller.get(link).raise_for_status().json()
        found += [alert["id"] for alert in answer["value"]]
        link = answer.get("@odata.nextLink")
    assert len(set(found)) == len(found) == 120
    assert code(caller.get("/api/alerts?$skiptoken=!"))[0] == 400


def test_next_links_can_name_another_host(simulator: StartSimulator, call: Call) -> None:
    quirks = Quirks(next_link="given", next_link_host="api.elsewhere.example")
    caller = call(simulator(quirks=quirks))
    answer = caller.get("/api/alerts", {"$top": "50", "$skip": "20"}).json()
    assert answer["@odata.nextLink"].startswith("https://api.elsewhere.example/api/alerts?$top=50&")
    assert "@odata.nextLink" not in caller.get("/api/alerts", {"$top": "0"}).json()


def test_a_top_above_the_cap_is_cut_or_refused(simulator: StartSimulator, call: Call) -> None:
    server = simulator(quirks=Quirks(page_cap=100))
    caller = call(server)
    assert len(caller.values("/api/alerts", top=10_001)) == 100
    server.control.set_quirks(above_cap="refuse")
    assert code(caller.get("/api/alerts", {"$top": "101"})) == (400, "ODataError")
    assert len(caller.values("/api/alerts", top=100)) == 100


@pytest.mark.parametrize(
    "query",
    [
        "$skip=10001",
        "$orderby=lastUpdateTime",
        "$count=true",
        "$select=id",
        "$top=-1",
        "$top=x",
        "$skip=",
        "$top=1&$top=2",
        "$expand=comments",
        "$filter=title eq 'x'",
        "$filter=lastUpdateTime ge yesterday",
        "$filter=",
    ],
)
def test_what_is_not_documented_is_refused(
    simulator: StartSimulator, call: Call, query: str
) -> None:
    answer = call(simulator()).get(f"/api/alerts?{query}")
    assert code(answer) == (400, "ODataError")
    assert answer.json()["error"]["target"] == answer.headers["request-id"]


def test_only_alerts_expand(simulator: StartSimulator, call: Call) -> None:
    caller = call(simulator())
    assert code(caller.get("/api/machines?$expand=evidence")) == (400, "ODataError")


def test_whether_actions_filter_on_their_update_time_is_a_quirk(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator()
    caller = call(server)
    text = "lastUpdateDateTimeUtc ge 2020-01-01T00:00:00Z"
    assert len(caller.values("/api/machineactions", filter=text)) == 30
    server.control.set_quirks(actions_by_update_time=False)
    assert code(caller.get("/api/machineactions", {"$filter": text})) == (400, "ODataError")
    created = "creationDateTimeUtc ge 2020-01-01T00:00:00Z and status in ('Succeeded','Failed')"
    found = caller.values("/api/machineactions", filter=created)
    assert {action["status"] for action in found} <= {"Succeeded", "Failed"}
    assert found


def test_heavy_pages_and_poisoned_alerts_fail_when_expanded(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator(quirks=Quirks(expand_fails_above=50))
    caller = call(server)
    assert caller.get("/api/alerts?$expand=evidence&$top=51").status_code == 500
    assert len(caller.values("/api/alerts", expand="evidence", top=50)) == 50
    poisoned = server.control.ids("alert")[3]
    server.control.poison(poisoned)
    assert code(caller.get("/api/alerts?$expand=evidence&$top=4")) == (500, "InternalServerError")
    assert len(caller.values("/api/alerts", expand="evidence", top=3)) == 3
    assert len(caller.values("/api/alerts", top=4)) == 4
    assert caller.get(f"/api/alerts/{poisoned}").status_code == 500


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("/api/alerts", "alert"),
        ("/api/machines", "machine"),
        ("/api/machineactions", "machine_action"),
    ],
)
def test_single_objects(simulator: StartSimulator, call: Call, path: str, stream: str) -> None:
    server = simulator()
    caller = call(server)
    key = server.control.ids(stream)[0]
    found = caller.get(f"{path}/{key}").json()
    assert found.pop("@odata.context").endswith("/$entity")
    assert found == server.control.record(stream, key)
    assert code(caller.get(f"{path}/nobody")) == (404, "ResourceNotFound")


def test_unknown_paths_are_not_found(simulator: StartSimulator, call: Call) -> None:
    caller = call(simulator())
    assert code(caller.get("/api/users")) == (404, "NotFound")
    assert code(caller.get("/api/machines/SoftwareVulnerabilitiesExport/1")) == (404, "NotFound")
    assert caller.get("/api/Vulnerabilities").status_code == 200


def test_no_machines_is_not_found_or_empty(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    later = {"$filter": "lastSeen ge 2030-01-01T00:00:00Z"}
    assert code(caller.get("/api/machines", later)) == (404, "ResourceNotFound")
    server.control.set_quirks(no_machines="empty")
    assert caller.get("/api/machines", later).json()["value"] == []


def test_the_catalogue_tells_of_every_cve(simulator: StartSimulator, call: Call) -> None:
    caller = call(simulator())
    found = caller.values("/api/vulnerabilities", filter="severity eq 'Critical' and cvssV3 ge 9.0")
    assert found
    assert all(cve["cvssV3"] >= 9 for cve in found)
    ids = {cve["id"] for cve in caller.values("/api/vulnerabilities")}
    assert {row["CveId"] for row in caller.rows()} - {None} <= ids


def test_every_answer_has_the_tenants_date_and_an_id(simulator: StartSimulator, call: Call) -> None:
    now = datetime(2026, 7, 1, 8, tzinfo=UTC)
    server = simulator(now=now)
    caller = call(server)
    server.control.advance(timedelta(seconds=90))
    answers = [caller.get("/api/alerts"), caller.get("/api/users"), caller.ask_token()]
    for answer in answers:
        assert parsedate_to_datetime(answer.headers["date"]) == now + timedelta(seconds=90)
    assert len({answer.headers["request-id"] for answer in answers}) == 3
    assert [request.request_id for request in server.control.requests[-3:]] == [
        answer.headers["request-id"] for answer in answers
    ]


def test_a_quota_refuses_until_its_window_has_passed(simulator: StartSimulator, call: Call) -> None:
    server = simulator(quota_scale=1.0)
    caller = call(server)
    path = "/api/machines/SoftwareVulnerabilitiesExport"
    assert [caller.get(path).status_code for _ in range(5)] == [200] * 5
    refused = caller.get(path)
    assert code(refused) == (429, "TooManyRequests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert caller.get("/api/alerts").status_code == 200, "each endpoint has its own"
    for _ in range(3):
        server.control.advance(timedelta(seconds=60))
        assert [caller.get(path).status_code for _ in range(5)] == [200] * 5
    server.control.advance(timedelta(seconds=60))
    refused = caller.get(path)
    assert refused.status_code == 429
    assert 3000 < int(refused.headers["retry-after"]) < 3600, "the hour is used up"
    server.control.set_quirks(retry_after="date")
    until = parsedate_to_datetime(caller.get(path).headers["retry-after"])
    assert timedelta(minutes=50) < until - server.control.now < timedelta(hours=1)
    server.control.set_quirks(retry_after="none")
    assert "retry-after" not in caller.get(path).headers
    server.control.advance(timedelta(hours=1))
    assert caller.sign_in().get(path).status_code == 200


def test_quotas_scale_shrink_and_can_be_used_up(simulator: StartSimulator, call: Call) -> None:
    server = simulator(quota_scale=0.02)
    caller = call(server)
    single = f"/api/machines/{server.control.ids('machine')[0]}"
    assert [caller.get(single).status_code for _ in range(3)] == [200, 200, 429]
    server.control.set_quota("/api/machines", 50, 1500)
    assert [caller.get("/api/machines").status_code for _ in range(2)] == [200, 429]
    server.control.exhaust_quota("/api/alerts")
    refused = caller.get("/api/alerts")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 3000

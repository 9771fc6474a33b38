"""Faults: the plan, and what a client sees of each."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.faults import Fault, FaultPlan, FaultPlayer
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]


def taken(player: FaultPlayer, *paths: str) -> list[str | None]:
    return [fault.what if (fault := player.take(path, "api")) else None for path in paths]


def test_a_plan_is_played_in_order() -> None:
    plan = FaultPlan.of([Fault("/api/alerts", "status"), Fault("/api/alerts", "reset")])
    player = FaultPlayer(plan)
    assert taken(player, "/api/machines", "/api/alerts", "/API/ALERTS", "/api/alerts") == [
        None,
        "status",
        "reset",
        None,
    ]
    assert player.left() == []


def test_the_nth_request_and_some_after_it() -> None:
    player = FaultPlayer(FaultPlan((Fault("/api", "empty", when=3, times=2),)))
    assert taken(player, *["/api/alerts"] * 6) == [None, None, "empty", "empty", None, None]


def test_always_is_always() -> None:
    fault = Fault("/api", "html", when="always")
    player = FaultPlayer(FaultPlan((fault,)))
    assert taken(player, *["/api/alerts"] * 5) == ["html"] * 5
    assert player.left() == [fault]


def test_tokens_and_files_are_told_by_what_they_are() -> None:
    player = FaultPlayer(FaultPlan((Fault("token", "status"), Fault("file", "empty"))))
    assert player.take("/api/alerts", "api") is None
    assert player.take("/x", "file") == Fault("file", "empty")
    assert player.take("/x/oauth2/v2.0/token", "token") == Fault("token", "status")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([{"where": "alerts", "what": "reset"}], "where is 'alerts'"),
        ([{"where": "/api", "what": "explode"}], "what is 'explode'"),
        ([{"where": "/api", "what": "reset", "when": 0}], "when is 0"),
        ([{"where": "/api", "what": "reset", "when": "often"}], "when is 'often'"),
        ([{"where": "/api", "what": "reset", "times": 0}], "times is 0"),
        ([{"where": "/api"}], "needs what"),
        ([{"where": "/api", "what": "reset", "how": 1}], "has no how"),
        ({"where": "/api"}, "a list of faults"),
    ],
)
def test_a_plan_that_cannot_be_played_is_refused(values: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FaultPlan.from_json(values)


def test_a_plan_is_the_same_in_json() -> None:
    fault = Fault("/api", "status", when="always", status=429, headers={"Retry-After": "7"})
    assert FaultPlan.from_json([fault.to_json()]) == FaultPlan((fault,))


def test_a_status_with_microsofts_body(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    server.control.set_faults(
        [
            Fault("/api/alerts", "status", status=429, headers={"Retry-After": "7"}),
            Fault("/api/alerts", "status", status=418),
            Fault("/api/alerts", "status", status=503, body="busy"),
        ]
    )
    refused = caller.get("/api/alerts")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json()["error"]["code"] == "TooManyRequests"
    assert refused.json()["error"]["target"] == refused.headers["request-id"]
    assert caller.get("/api/alerts").json()["error"]["code"] == "BadRequest"
    assert caller.get("/api/alerts").text == "busy"
    assert caller.get("/api/alerts").status_code == 200
    log = server.control.requests[-4:]
    assert [(entry.status, entry.fault) for entry in log] == [
        (429, "status"),
        (418, "status"),
        (503, "status"),
        (200, None),
    ]
    server.control.clear_requests()
    assert server.control.requests == []


def test_the_token_endpoint_and_the_storage_have_their_own_bodies(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator()
    caller = call(server)
    (link,) = caller.export()["exportFiles"]
    server.control.set_faults([Fault("token", "status", status=503), Fault("file", "status")])
    assert caller.ask_token().json()["error"] == "temporarily_unavailable"
    broken = caller.file(link)
    assert broken.status_code == 500
    assert "<Error>" in broken.text


def test_the_page_of_a_proxy_and_nothing_at_all(simulator: StartSimulator, call: Call) -> None:
    faults = [Fault("/api/alerts", "html"), Fault("/api/alerts", "empty")]
    caller = call(simulator(faults=faults))
    page = caller.get("/api/alerts")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert caller.get("/api/alerts").content == b""


@pytest.mark.parametrize("what", ["reset", "short"])
def test_a_connection_that_breaks_off(simulator: StartSimulator, call: Call, what: Any) -> None:
    server = simulator(alerts=2_000)
    caller = call(server)
    server.control.set_faults([Fault("/api/alerts", what)])
    with pytest.raises(httpx.TransportError):
        caller.get("/api/alerts")
    assert server.control.faults_left == []
    assert server.control.faults_played == {what: 1}
    assert len(caller.values("/api/alerts")) == 2_000


def test_a_body_that_is_cut_in_a_whole_answer(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    (link,) = caller.export()["exportFiles"]
    whole = caller.file(link).content
    server.control.set_faults([Fault("file", "truncated")])
    cut = caller.file(link)
    assert cut.status_code == 200
    assert int(cut.headers["content-length"]) == len(cut.content) == len(whole) // 2
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(cut.content)


def test_a_body_that_stops_for_a_while(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    whole = caller.get("/api/alerts").content
    server.control.set_faults(
        [
            Fault("/api/alerts", "slow", seconds=0.01),
            Fault("/api/alerts", "slow", seconds=600),
        ]
    )
    assert caller.get("/api/alerts").content == whole
    caller.http.timeout = httpx.Timeout(30, read=0.05)
    with pytest.raises(httpx.ReadTimeout):
        caller.get("/api/alerts")

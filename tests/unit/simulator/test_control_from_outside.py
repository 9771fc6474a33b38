"""The tenant in a process of its own, and the control over HTTP."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]


def test_the_truth_over_http(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    http = call(server).http
    assert http.get("/_control/truth").json() == server.control.truth()
    found = http.get("/_control/truth", params={"stream": "alert"}).json()
    assert [tuple(key) for key in found["versions"]] == server.control.truth("alert")["versions"]
    assert http.get("/_control/truth", params={"stream": "x"}).status_code == 404


def test_the_clock_over_http(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    http, before = call(server).http, server.control.now
    answer = http.post("/_control/advance", json={"seconds": 3600})
    assert (datetime.fromisoformat(answer.json()) - before).total_seconds() == 3600
    assert http.post("/_control/advance", json={"seconds": -1}).status_code == 400
    assert http.post("/_control/advance", json={"minutes": 1}).status_code == 400
    assert http.post("/_control/advance", content=b"[]").status_code == 400
    assert http.post("/_control/advance", content=b"{").status_code == 400


def test_faults_over_http(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    plan = [{"where": "/api/alerts", "what": "status", "status": 503}]
    assert caller.http.put("/_control/faults", json=plan).status_code == 200
    assert caller.http.get("/_control/faults").json() == [
        Fault("/api/alerts", "status", status=503).to_json()
    ]
    assert caller.get("/api/alerts").status_code == 503
    assert caller.http.get("/_control/faults").json() == []
    caller.http.put("/_control/faults", json=plan)
    assert caller.http.delete("/_control/faults").json() == []
    refused = caller.http.put("/_control/faults", json=[{"where": "/api"}])
    assert (refused.status_code, refused.json()) == (400, {"error": "a fault needs what"})
    assert caller.http.put("/_control/faults", content=b"{").status_code == 400


def test_requests_over_http(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    caller.get("/api/alerts", {"$top": "1"})
    token, alerts = caller.http.get("/_control/requests").json()
    assert (token["kind"], token["method"], token["status"]) == ("token", "POST", 200)
    assert (alerts["path"], alerts["query"]) == ("/api/alerts", "%24top=1")
    assert caller.http.delete("/_control/requests").json() == []


def test_every_other_string_over_http(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    http = call(server).http

    def do(method: str, **arguments: object) -> httpx.Response:
        return http.post(f"/_control/call/{method}", json=arguments)

    (key,) = do("add_alerts", overrides=[{"title": "T"}], visible_after=None).json()
    assert do("record", stream="alert", key=key).json()["title"] == "T"
    assert do("update_alert", key=key, changes={"title": "U"}).json()["title"] == "U"
    (late,) = do("add_alerts", overrides=[{}], visible_after=60).json()
    assert late not in server.control.ids("alert")
    assert do("set_quirks", skip_cap=5).json() is None
    assert call(server).get("/api/alerts", {"$skip": "6"}).status_code == 400
    assert http.post("/_control/call/expire_secret").status_code == 200
    assert do("record", stream="alert", key="nobody").status_code == 404
    assert do("record", stream="vulnerability", key="nobody").status_code == 404
    assert do("update_alert").status_code == 400
    unknown = do("settle")
    assert unknown.status_code == 404
    assert "there is no settle" in unknown.json()["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_says_where_it_is_and_ends_when_told(number: signal.Signals) -> None:
    arguments = ["--machines=10", "--alerts=10", "--actions=5", "--vulnerabilities=20", "--seed=3"]
    arguments += ["--now=2026-05-01T00:00:00+00:00", "--standing", "--no-quotas"]
    command = [sys.executable, "-m", "aquila_mde.simulator", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert set(line) == {"url", "ca_file", "tenant_id", "client_id", "settings"}
        assert line["settings"]["tenant"]["client_secret"]
        trust = ssl.create_default_context(cafile=line["ca_file"])
        answer = httpx.get(f"{line['url']}/_control/truth", verify=trust, trust_env=False)
        assert answer.json()["vulnerability"] == {"entities": 20, "versions": 20}
        assert answer.headers["date"] == "Fri, 01 May 2026 00:00:00 GMT"
        process.send_signal(number)
        assert process.stdout.read() == ""
    assert process.returncode == 0

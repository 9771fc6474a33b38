"""The part of KQL that the simulated tenant speaks, and its two endpoints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.plugins.simulator import StartSimulator
from tests.unit.simulator.conftest import Caller

from aquila_mde.simulator.clock import DAY, HOUR, format_time, parse_time
from aquila_mde.simulator.graph_operators import GRAPH
from aquila_mde.simulator.kql.run import Query
from aquila_mde.simulator.kql.table import Table
from aquila_mde.simulator.kql.values import KqlError, Moment, plain
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

NOW = parse_time("2026-03-02T12:00:00Z")
ROWS = [
    {"Timestamp": Moment(NOW - age * HOUR), "Name": name, "Size": size, "More": more}
    for age, name, size, more in (
        (1, "Cmd.exe", 5, {"a": {"b": [1, 2]}}),
        (2, "power shell.exe", 7, None),
        (3, "cmd.exe", None, {}),
        (30, "x-cmd-y", 11, '{"a":{"b":[3]}}'),
    )
]
PATH, GRAPH_PATH = "/api/advancedqueries/run", "/v1.0/security/runHuntingQuery"


def run(text: str) -> list[dict[str, Any]]:
    tables = {
        "T": Table(("Timestamp", "Name", "Size", "More"), ROWS),
        "Other": Table(("Name", "Mark"), [{"Name": "cmd.exe", "Mark": 1}]),
    }
    found = Query(lambda name, _since, _until: tables.get(name), NOW).run(text)
    return [{name: plain(row.get(name)) for name in found.columns} for row in found.rows]


def sizes(condition: str) -> list[Any]:
    return [row["Size"] for row in run(f"T | where {condition}")]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("Name == 'cmd.exe'", [None]),
        ("Name =~ 'CMD.EXE'", [5, None]),
        ("Name != 'cmd.exe'", [5, 7, 11]),
        ("Name has 'cmd'", [5, None, 11]),
        ("Name !has 'cmd'", [7]),
        ("Name has 'shell'", [7]),
        ("Name has 'she'", []),
        ("Name contains 'HELL'", [7]),
        ("Name startswith 'POWER' or Name endswith '-Y'", [7, 11]),
        ("Name in ('cmd.exe', 'x-cmd-y')", [None, 11]),
        ("Name in~ ('CMD.exe')", [5, None]),
        ("Name !in~ ('CMD.exe')", [7, 11]),
        ("Name has_any ('shell', 'y')", [7, 11]),
        ("Name has_all ('x', 'y')", [11]),
        ('Name matches regex @"^x\\-"', [11]),
        ("Size > 5 and not(Name has 'y')", [7]),
        ("Size between (5 .. 7)", [5, 7]),
        ("isempty(Size)", [None]),
        ("Timestamp >= ago(2h)", [5, 7]),
        ("Timestamp < datetime(2026-03-02)", [11]),
        ("More.a.b[0] == 1", [5]),
        ("parse_json(More)['a'].b[0] == 3", [11]),
        ("strlen(Name) % 2 == 1 and Size - 1 == 4", [5]),
    ],
)
def test_conditions(condition: str, found: list[Any]) -> None:
    assert sizes(condition) == found


def test_operators() -> None:
    assert run("T | count") == [{"Count": 4}]
    assert run("T | extend Twice = Size * 2 | where Twice > 20 | project Name, Twice") == [
        {"Name": "x-cmd-y", "Twice": 22}
    ]
    assert [row["Size"] for row in run("T | order by Size asc | take 2 | project Size")] == [
        None,
        5,
    ]
    assert run("T | top 1 by Size | project-away Timestamp, More | project-rename A = Size") == [
        {"Name": "x-cmd-y", "A": 11}
    ]
    by_day = run("T | summarize N = count(), S = sum(Size), dcount(Name) by bin(Timestamp, 1d)")
    assert by_day == [
        {
            "Timestamp": format_time(NOW // DAY * DAY),
            "N": 3,
            "S": 12,
            "dcount_Name": 3,
        },
        {"Timestamp": format_time(NOW // DAY * DAY - DAY), "N": 1, "S": 11, "dcount_Name": 1},
    ]
    assert run("T | summarize arg_max(Timestamp, *) by K = tolower(Name) | count") == [{"Count": 3}]
    assert run("let x = 7; let U = T | where Size == x; U | join kind=inner U on Name | count") == [
        {"Count": 1}
    ]
    assert [row["Mark"] for row in run("T | join kind=leftouter Other on Name")] == [
        None,
        None,
        1,
        None,
    ]
    assert run("T | join kind=leftanti Other on $left.Name == $right.Name | count") == [
        {"Count": 3}
    ]
    assert run("T | union Other | count") == [{"Count": 5}]
    assert run("T | distinct Size | count") == [{"Count": 4}]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("T | filtre A", "unknown operator 'filtre'"),
        ("Nowhere", "Failed to resolve table or column expression named 'Nowhere'"),
        ("T | where Nothing == 1", "Failed to resolve scalar expression named 'Nothing'"),
        ("T | where Size ==", "expected an expression"),
        ("T | where magic(Size)", "Unknown function: 'magic'"),
        ("T | where Size == 1 T", "expected the end of the query"),
        ("T | summarize odd(Size)", "Unknown aggregate function: 'odd'"),
        ("T ? 1", "unexpected '?'"),
    ],
)
def test_what_is_no_query_is_refused_with_a_text(query: str, told: str) -> None:
    with pytest.raises(KqlError) as caught:
        run(query)
    assert told in str(caught.value)


def ask(caller: Caller, query: str, path: str = PATH, *, token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or caller.token}"}
    return caller.http.post(path, json={"Query": query}, headers=headers)


def test_defender_answers_with_schema_and_results(
    simulator: StartSimulator, call: Callable[[SimulatorServer], Caller]
) -> None:
    caller = call(simulator(machines=5, alerts=3, actions=0, vulnerabilities=0))
    told = ask(caller, "DeviceInfo | where Timestamp > ago(1d) | take 3").json()
    assert set(told) == {"Stats", "Schema", "Results"}
    assert len(told["Results"]) == 3
    types = {column["Name"]: column["Type"] for column in told["Schema"]}
    assert (types["Timestamp"], types["IsInternetFacing"]) == ("DateTime", "SByte")
    assert set(types) == set(told["Results"][0])
    refused = ask(caller, "EmailEvents | count")
    assert refused.status_code == 400
    assert "EmailEvents" in refused.json()["error"]["message"]
    assert ask(caller, "").status_code == 400


def test_graph_has_more_tables_and_tokens_of_its_own(
    simulator: StartSimulator, call: Callable[[SimulatorServer], Caller]
) -> None:
    server = simulator(machines=5, alerts=0, actions=0, vulnerabilities=0)
    caller = call(server)
    query = "EmailEvents | where Timestamp > ago(1d) | count"
    assert ask(caller, query, GRAPH_PATH).status_code == 401
    token = caller.ask_token(scope=f"{GRAPH}/.default").json()["access_token"]
    assert ask(caller, query, token=token).status_code == 401
    told = ask(caller, query, GRAPH_PATH, token=token).json()
    assert set(told) == {"schema", "results"}
    assert told["results"][0]["Count"] > 100
    server.control.remove_role("ThreatHunting.Read.All")
    token = caller.ask_token(scope=f"{GRAPH}/.default").json()["access_token"]
    assert ask(caller, query, GRAPH_PATH, token=token).status_code == 403


def test_limits_of_rows_size_time_cost_and_calls(
    simulator: StartSimulator, call: Callable[[SimulatorServer], Caller]
) -> None:
    server = simulator(
        machines=5,
        alerts=0,
        actions=0,
        vulnerabilities=0,
        quota_scale=1,
        quirks=Quirks(hunting_row_limit=50),
    )
    caller = call(server)
    query = "DeviceEvents | where Timestamp > ago(1d)"
    assert len(ask(caller, query).json()["Results"]) == 50
    assert len(server.control.hunt(query)) > 200
    server.control.set_quirks(hunting_size_limit=1_000)
    assert "exceeded the allowed result size" in ask(caller, query).text
    server.control.set_quirks(hunting_times_out_above=10)
    assert ask(caller, query).status_code == 504
    server.control.set_quirks(hunting_times_out_above=None, hunting_refused_above=10)
    assert "too many resources" in ask(caller, query).text
    statuses = {ask(caller, query).status_code for _ in range(45)}
    assert 429 in statuses
    server.control.advance(timedelta(minutes=1))
    assert ask(caller, query).status_code == 400


def test_rows_are_the_same_whenever_they_are_asked_for(simulator: StartSimulator) -> None:
    options = {"machines": 5, "alerts": 3, "actions": 0, "vulnerabilities": 0, "seed": 7}
    one, other = simulator(**options).control, simulator(**options).control
    bound = (
        "Timestamp >= datetime(2026-03-01T00:00:00Z) and Timestamp < datetime(2026-03-01T05:00:00Z)"
    )
    query = f"DeviceProcessEvents | where {bound}"
    before = one.hunt(query)
    one.advance(timedelta(days=2))
    assert before == one.hunt(query) == other.hunt(query)
    assert one.hunt(query.replace("Process", "File")) != before

"""What the dashboards show of a collected tenant: nothing empty, and the numbers of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aquila_mde.collect.latest import LatestVersions
from aquila_mde.elastic.client import Engine
from aquila_mde.preview import Preview, ask
from aquila_mde.preview.ask import Answers, Choice
from aquila_mde.settings import ElasticsearchSettings
from aquila_mde.streams.tree import PackageTree
from tests.system.conftest import Job
from tests.system.page import data_of

MakeJob = Callable[..., Job]
SIZES = {"seed": 815, "machines": 50, "alerts": 160, "actions": 100, "vulnerabilities": 1_200}
OPEN = {"term": {"mde.alert.resolved": False}}
LAST = {"range": {"@timestamp": {"gte": "now-30d"}}}


def answers(preview: Preview, name: str) -> Answers:
    (found,) = [one for one in preview.dashboards if one.dashboard.name == name]
    return found


def number(preview: Preview, name: str, title: str, choice: Choice) -> Any:
    (row,) = answers(preview, name).rows[choice][title]
    return row.values[0]


def hunting(work: Job) -> Job:
    """The same job with the hunting stream on."""
    return replace(work, more={"streams": {"hunting": {"enabled": True, "look_back": "7d"}}})


async def preview_of(work: Job) -> Preview:
    async with await Engine.connect(ElasticsearchSettings(url=work.engine_url)) as engine:
        await LatestVersions(engine, work.tree, work.settings().tenant).update()
        return await ask(engine, PackageTree.default())


async def test_the_numbers_are_those_of_the_documents(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC), **SIZES)
    await work.collect()
    preview = await preview_of(work)
    tenant = work.settings().tenant.id
    assert tenant in {one.id for one in preview.tenants}
    chosen = Choice(tenant)

    alerts = work.documents("alert", LAST)
    opened = [one for one in alerts if not one["mde"]["alert"]["resolved"]]
    ids = {one["event"]["id"] for one in opened}
    assert number(preview, "overview", "Open alerts", chosen) == len(ids) > 0
    by_severity = Counter(one["mde"]["alert"]["severity"] for one in opened)
    donut = answers(preview, "overview").rows[chosen]["Open alerts by severity"]
    assert {row.keys[0]: row.values[0] for row in donut} == by_severity
    by_day = Counter((one["mde"]["alert"]["severity"], one["@timestamp"][:10]) for one in alerts)
    bars = answers(preview, "overview").rows[chosen]["Alerts by day and severity"]
    assert sum(row.values[0] for row in bars) == by_day.total()
    assert sorted(row.values[0] for row in bars if row.values[0]) == sorted(by_day.values())

    machines = work.documents("machine")
    risky = {
        one["host"]["id"]
        for one in machines
        if one["mde"]["machine"].get("risk_score") in ("High", "Medium")
    }
    assert number(preview, "overview", "Machines at risk", chosen) == len(risky) > 0

    found = work.documents("vulnerability")
    likely = {
        one["vulnerability"]["id"]
        for one in found
        if one["mde"]["vulnerability"].get("epss", 0) >= 0.5
    }
    assert number(preview, "vulnerabilities", "Attack likely", chosen) == len(likely) > 0
    with_cve = [one for one in found if "vulnerability" in one]
    assert number(preview, "vulnerabilities", "Findings", chosen) == len(with_cve) > 1_000
    first = answers(preview, "vulnerabilities").rows[chosen]["Patch these first"]
    epss = [float(str(row.values[0])) for row in first]
    assert epss == sorted(epss, reverse=True)
    worst = first[0]
    of_worst = [one for one in found if one.get("vulnerability", {}).get("id") == worst.keys[0]]
    assert worst.values[4] == len({one["host"]["id"] for one in of_worst})
    assert worst.values[1] == of_worst[0]["vulnerability"]["severity"]

    failed = [
        one
        for one in work.documents("machine_action", LAST)
        if one["event"].get("outcome") == "failure"
    ]
    table = answers(preview, "machine-actions").rows[chosen]["What failed, newest first"]
    newest = max(failed, key=lambda one: one["@timestamp"])
    assert table[0].keys == (newest["event"]["id"],)
    assert table[0].values[1] == newest["event"]["action"]


async def test_an_alert_that_was_resolved_is_open_no_more(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC) - timedelta(days=9), **SIZES | {"activity": 3})
    await work.collect()
    for _ in range(4):
        work.simulator.control.advance(timedelta(days=2))
        await work.collect()
    preview = await preview_of(work)
    chosen = Choice(work.settings().tenant.id)
    versions = sorted(work.documents("alert"), key=lambda one: str(one["@timestamp"]))
    newest = {one["event"]["id"]: one["mde"]["alert"]["status"] for one in versions}
    still = Counter(newest.values())
    were_open = {one["event"]["id"] for one in versions if not one["mde"]["alert"]["resolved"]}
    shown = number(preview, "overview", "Open alerts", chosen)
    assert shown == len(newest) - still["Resolved"]
    assert 0 < shown < len(were_open)
    donut = answers(preview, "alerts").rows[chosen]["Status"]
    assert {row.keys[0]: row.values[0] for row in donut} == still


async def test_a_machine_can_be_looked_at_alone(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC), **SIZES)
    await work.collect()
    preview = await preview_of(work)
    tenant = work.settings().tenant.id
    investigation = answers(preview, "alert-investigation")
    first, *others = investigation.subjects[tenant]
    assert len(others) == 4
    alerts = work.documents("alert", {"term": {"host.name": first}})
    choice = Choice(tenant, first)
    assert number(preview, "alert-investigation", "Alerts", choice) == len(alerts) > 0
    (machine,) = investigation.rows[choice]["Machine"]
    assert machine.keys == (first,)


async def test_no_panel_of_a_tenant_is_empty_and_the_page_shows_them_all(
    job: MakeJob, tmp_path: Path
) -> None:
    work = hunting(job(now=datetime.now(UTC), **SIZES))
    work.command("collect")
    tenant = work.settings().tenant.id
    page = tmp_path / "deep" / "page.html"
    work.command("latest", "--once")
    work.command("preview", "--output", str(page), "--json")
    data = data_of(page)
    assert [one["name"] for one in data["dashboards"]] == [
        *("overview", "alerts", "alert-investigation", "machines"),
        *("machine-actions", "vulnerabilities", "hunting", "collector-health"),
    ]
    for dashboard in data["dashboards"]:
        for panel in dashboard["panels"]:
            # The engine is shared: what another test has left is that test's own affair.
            shown = [one for key, one in panel["shown"].items() if key.startswith(f"{tenant}|")]
            assert shown, (dashboard["name"], panel["title"])
            for one in shown:
                assert one.get("expected") is not False, (dashboard["name"], panel["title"])


async def test_checkpoints_and_dead_letters_belong_to_their_tenant(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC), seed=815, alerts=30)
    await work.collect("alert")
    tenant = work.settings().tenant.id
    letter = {
        "@timestamp": work.documents("checkpoint")[0]["@timestamp"],
        "mde": {"dead_letter": {"stream": "alert", "tenant_id": tenant, "reason_type": "odd"}},
        "data_stream": {"type": "logs", "dataset": "aquila_mde.dead_letter"},
    }
    work.ask("POST", f"/{work.index('dead_letter')}/_doc?op_type=create", letter)
    preview = await preview_of(work)
    health = answers(preview, "collector-health").rows[Choice(tenant)]
    assert [row.keys for row in health["How far each stream was collected"]] == [("alert", tenant)]
    assert [row.keys for row in health["What was refused"]] == [("alert", "odd")]
    assert health["Dead letters"][0].values == (1,)
    elsewhere = answers(preview, "collector-health").rows[Choice()]
    assert elsewhere["Dead letters"][0].values[0] >= 1


async def test_an_engine_that_holds_nothing_is_shown_too(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC), seed=815)
    preview = await preview_of(work)
    assert Choice() in answers(preview, "overview").rows

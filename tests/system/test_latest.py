"""The newest versions of a simulated tenant, against a group-by over every version there is."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aquila_mde.collect.latest import LatestVersions
from aquila_mde.elastic.client import Engine
from aquila_mde.errors import ConfigurationError
from tests.system.conftest import STREAMS, Job

MakeJob = Callable[..., Job]
Json = dict[str, Any]
SIZES = {
    "seed": 11,
    "activity": 1,
    "machines": 30,
    "alerts": 60,
    "actions": 40,
    "vulnerabilities": 200,
}
KEYS = {
    "alert": ("event.id",),
    "machine": ("host.id",),
    "machine_action": ("event.id",),
    "vulnerability": (
        *("vulnerability.id", "resource.id", "package.name", "package.version"),
        "mde.vulnerability.rbac_group_id",
    ),
}


def at(source: Json, name: str) -> Any:
    found: Any = source
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def key_of(stream: str, source: Json) -> tuple[Any, ...]:
    names = ("organization.id", "data_stream.namespace", *KEYS[stream])
    return tuple(at(source, name) for name in names)


def grouped(work: Job, stream: str) -> dict[tuple[Any, ...], Json]:
    newest: dict[tuple[Any, ...], Json] = {}
    for one in work.documents(stream):
        if stream == "vulnerability" and "vulnerability" not in one:
            continue
        key = key_of(stream, one)
        order = (one["@timestamp"], one["event"]["ingested"])
        if key not in newest or order > (
            newest[key]["@timestamp"],
            newest[key]["event"]["ingested"],
        ):
            newest[key] = one
    return {key: one for key, one in newest.items() if not has_left(one)}


def has_left(source: Json) -> bool:
    """What is fixed leaves a day later, what is open when it was not renewed."""
    until = at(source, "mde.vulnerability.latest_until")
    return until is not None and datetime.fromisoformat(until) < datetime.now(UTC) - timedelta(1)


def latest(work: Job, stream: str) -> dict[tuple[Any, ...], Json]:
    index = f"security_solution-aquila_mde.{stream}_latest"
    work.ask("POST", f"/{index}/_refresh")
    query = {"term": {"data_stream.namespace": work.namespace}}
    found = work.ask("POST", f"/{index}/_search", {"size": 10_000, "query": query})
    hits = [hit["_source"] for hit in found["hits"]["hits"]]
    by_key = {key_of(stream, one): one for one in hits}
    assert len(by_key) == len(hits)
    return by_key


def updated(work: Job, *options: str) -> dict[str, Json]:
    told = json.loads(work.command("latest", "--once", "--json", *options))
    assert told["by"] == "collector"
    return {each["name"].split(".")[1]: each for each in told["indices"]}


async def test_the_index_holds_the_newest_version_of_everything(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC) - timedelta(days=5), **SIZES)
    work.command("collect")
    for stream in STREAMS:
        assert latest(work, stream) == grouped(work, stream) != {}
    for _ in range(3):
        work.simulator.control.advance(timedelta(hours=30))
        await work.collect()
    assert len(work.documents("alert")) > len(grouped(work, "alert"))
    reports = updated(work)
    assert reports["alert_latest"]["written"] > 0
    for stream in STREAMS:
        assert latest(work, stream) == grouped(work, stream)
    assert updated(work)["alert_latest"]["written"] == 0
    # Whatever became of the index, the data streams have it all.
    work.ask(
        "POST",
        "/security_solution-aquila_mde.alert_latest/_delete_by_query?refresh=true",
        {"query": {"term": {"data_stream.namespace": work.namespace}}},
    )
    assert latest(work, "alert") == {}
    assert "alert_latest" in work.command("latest", "--rebuild")
    for stream in STREAMS:
        assert latest(work, stream) == grouped(work, stream)


async def test_a_running_collector_keeps_them_and_survives_what_goes_wrong(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC) - timedelta(days=5), **SIZES)
    async with await work.open() as collector:
        for each in collector.latest._indices.values():
            each.frequency /= 6_000  # five minutes in 50 ms
        stop = asyncio.Event()
        running = asyncio.create_task(collector.run(stop))
        while not (latest(work, "vulnerability") and latest(work, "alert")):
            await asyncio.sleep(0.05)
        work.simulator.control.advance(timedelta(hours=30))
        stop.set()
        await running
    assert latest(work, "machine").items() <= grouped(work, "machine").items()


async def test_the_command_goes_on_until_it_is_told_to_stop(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC) - timedelta(days=5), **SIZES)
    await work.collect("machine")
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from aquila_mde.cli import main; main()"),
            *("latest", "--config", str(work.config())),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "up to date" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "machine_latest" in out
    assert latest(work, "machine") == grouped(work, "machine")


async def test_what_goes_wrong_is_logged(job: MakeJob, capsys: pytest.CaptureFixture[str]) -> None:
    work = job(now=datetime.now(UTC) - timedelta(days=5), **SIZES)
    async with await work.engine() as engine:
        versions = LatestVersions(engine, work.tree, work.settings().tenant)
        for each in versions._indices.values():
            each._progress._transform.definition["dest"]["index"] = "nowhere"
        await versions.try_update()
        with suppress(TimeoutError):
            await asyncio.wait_for(versions.keep(asyncio.Event()), 0.01)
    assert "nowhere" in capsys.readouterr().out


async def test_a_stream_without_versions_is_named(job: MakeJob) -> None:
    work = job(now=datetime.now(UTC) - timedelta(days=5), **SIZES)
    async with await Engine.connect(work.settings().elasticsearch) as engine:
        versions = LatestVersions(engine, work.tree, work.settings().tenant)
        with pytest.raises(ConfigurationError, match="hunting has no newest") as raised:
            await versions.update(["hunting"])
    assert "alert, machine, machine_action, vulnerability" in raised.value.hint

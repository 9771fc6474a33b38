"""The engine goes away, refuses, or loses what was installed: nothing is lost, nothing doubled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tests.faults.parts import SIZES, MakeJob, all_is_there, one_pass, told
from tests.plugins.tally import Tally
from tests.system.conftest import STREAMS, Job

from aquila_mde.collect.replay import replay
from aquila_mde.collect.runner import Collector
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.errors import AssetsMissingError, EngineAccessError, EngineUnavailableError
from aquila_mde.engine import EmbeddedEngine
from aquila_mde.errors import ExitCode
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks

MANY = SIZES | {"vulnerabilities": 3_000, "rows_per_file": 300, "quirks": Quirks(page_cap=20)}


async def put_everything(work: Job) -> None:
    async with await work.engine() as engine:
        await install(engine, work.tree)


class _Refusing(BaseHTTPRequestHandler):
    """Answers as an engine does to a key that it no longer knows."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'{"error":{"type":"security_exception","reason":"invalid key"},"status":401}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = _refuse  # noqa: N815 - named by the base class

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def refusing(port: int) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", port), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_an_engine_killed_in_mid_collection_then_a_wrong_key_then_the_engine_again(
    job: MakeJob, tally: Tally
) -> None:
    shared = job(**MANY)
    with EmbeddedEngine(heap="512m") as engine:
        work = replace(shared, engine_url=engine.url)
        await put_everything(work)
        killed = False

        def kill(stream: str, records: int) -> None:
            nonlocal killed
            if not killed and stream == "vulnerability" and records >= 900:
                killed = True
                engine.kill()

        collector = await Collector.open(
            work.settings(), work.tree, retry_wait=False, progress=kill
        )
        async with collector:
            reports = {report.stream: report for report in await collector.collect()}
            assert killed
            tally.kill()
            tally.fault("engine killed")
            report = reports["vulnerability"]
            assert isinstance(report.error, EngineUnavailableError)
            assert f"127.0.0.1:{engine.port}" in told(report, ExitCode.ENGINE)
            with refusing(engine.port):
                (report,) = await collector.collect(["vulnerability"])
            assert isinstance(report.error, EngineAccessError)
            assert "wants a login" in told(report, ExitCode.ENGINE_ACCESS)
            tally.fault("engine access withdrawn")
            engine.start()
            for report in await collector.collect():
                assert report.error is None
        await all_is_there(work)


async def test_a_disk_at_flood_stage(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    await work.collect()
    control = work.simulator.control
    control.add_alerts([{}] * 5)
    key = "index.blocks.read_only_allow_delete"
    work.ask("PUT", f"/{work.index('alert')}/_settings", {key: True})
    report = (await one_pass(work, "alert"))["alert"]
    said = told(report, ExitCode.ENGINE)
    assert "does not take writes" in said
    assert "The disk of the engine is full. Make room or add a disk" in said
    assert (report.created, report.dead) == (0, 0)
    tally.fault("engine disk at flood stage")
    work.ask("PUT", f"/{work.index('alert')}/_settings", {key: None})
    assert (await work.collect("alert"))["alert"].created == 5
    await all_is_there(work)


def conflicting_template(work: Job) -> dict[str, Any]:
    """The package's template for alerts, but somebody has made a word of what is an object."""
    index = work.index("alert")
    made = work.ask("POST", f"/_index_template/_simulate_index/{index}")["template"]
    made["settings"]["index"]["mapping"].pop("ignore_malformed")
    properties = {"@timestamp": {"type": "date"}, "event": {"type": "keyword"}}
    return {
        "index_patterns": [index],
        "priority": 9_999,
        "data_stream": {},
        "template": {"settings": made["settings"], "mappings": {"properties": properties}},
    }


async def test_a_mapping_conflict_and_a_replay_after_the_rollover(
    job: MakeJob, tally: Tally
) -> None:
    work = job(machines=5, alerts=30)
    template = f"/_index_template/conflict-{work.namespace}"
    body = conflicting_template(work)
    work.ask("PUT", template, body)
    report = (await work.collect("alert"))["alert"]
    assert (report.created, report.dead) == (0, 30)
    tally.fault("engine mapping conflict")
    letters = work.documents("dead_letter")
    assert len(letters) == 30
    assert all("event" in letter["error"]["message"] for letter in letters)
    # A template in use cannot be deleted, but another one can take its place.
    whole = work.ask("GET", "/_index_template/logs-aquila_mde.alert")["index_templates"][0]
    body = {**whole["index_template"], "index_patterns": [work.index("alert")], "priority": 9_999}
    work.ask("PUT", template, body)
    work.rollover("alert")
    (replayed,) = await replay(work.settings(), work.tree, ["alert"])
    assert (replayed.created, replayed.refused) == (30, 0)
    assert (await work.collect("alert"))["alert"].created == 0
    await all_is_there(work, ["alert"])
    work.ask("DELETE", f"/_data_stream/{work.index('alert')}")
    work.ask("DELETE", template)


async def test_rejected_items_inside_a_good_bulk(job: MakeJob, tally: Tally) -> None:
    work = job(alerts=60)
    limit = "index.mapping.nested_objects.limit"
    work.ask("PUT", f"/_data_stream/{work.index('alert')}")
    work.ask("PUT", f"/{work.index('alert')}/_settings", {limit: 1})
    report = (await work.collect("alert"))["alert"]
    assert report.created > 0 < report.dead
    assert report.created + report.dead == 60
    tally.fault("engine item rejected for good", report.dead)
    assert (await work.collect("alert"))["alert"].dead == 0
    work.ask("PUT", f"/{work.index('alert')}/_settings", {limit: None})
    await replay(work.settings(), work.tree, ["alert"])
    await all_is_there(work, ["alert"])


async def test_a_rollover_between_two_attempts(job: MakeJob, tally: Tally) -> None:
    work = job(**MANY)
    control = work.simulator.control

    def cut_off() -> None:
        down = [("/api/", "api"), ("file", "file")]
        control.set_faults([Fault(where, "status", when="always", status=503) for where, _ in down])

    first = await one_pass(work, at_first=cut_off)
    assert any(report.error is not None for report in first.values())
    for stream in STREAMS:
        if first[stream].created:
            work.rollover(stream)
            tally.fault("engine rollover between attempts")
    control.set_faults([])
    await work.collect()
    await all_is_there(work)


async def test_an_ingest_pipeline_that_is_gone_in_mid_run(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    await work.collect("alert")
    work.simulator.control.add_alerts([{}] * 3)
    found = work.ask("GET", f"/{work.index('alert')}/_settings/index.default_pipeline")
    (settings,) = found.values()
    pipeline = settings["settings"]["index"]["default_pipeline"]
    body = work.ask("GET", f"/_ingest/pipeline/{pipeline}")[pipeline]
    aside = {"index.default_pipeline": "_none"}
    work.ask("PUT", f"/{work.index('alert')}/_settings", aside)
    work.ask("DELETE", f"/_ingest/pipeline/{pipeline}")
    work.ask("PUT", f"/{work.index('alert')}/_settings", {"index.default_pipeline": "gone"})
    try:
        report = (await one_pass(work, "alert"))["alert"]
        assert isinstance(report.error, AssetsMissingError)
        assert "aquila-mde install" in told(report, ExitCode.ENGINE)
        assert report.dead == 0
        tally.fault("engine pipeline gone")
    finally:
        work.ask("PUT", f"/_ingest/pipeline/{pipeline}", body)
        back = {"index.default_pipeline": pipeline}
        work.ask("PUT", f"/{work.index('alert')}/_settings", back)
    await work.collect()
    await all_is_there(work)


async def test_an_index_template_that_is_gone_before_the_first_record(
    job: MakeJob, tally: Tally
) -> None:
    work = job(alerts=10)
    name = "logs-aquila_mde.alert"
    work.ask("DELETE", f"/_index_template/{name}")
    try:
        report = (await one_pass(work, "alert"))["alert"]
        assert isinstance(report.error, AssetsMissingError)
        assert "aquila-mde install" in told(report, ExitCode.ENGINE)
        tally.fault("engine template gone")
    finally:
        await put_everything(work)
    await work.collect("alert")
    await all_is_there(work, ["alert"])

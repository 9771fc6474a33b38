"""A collector without a disk: its state is in the engine, and one collector at a time has it."""

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aquila_mde.collect import engine_lease, engine_state
from aquila_mde.collect.backfill import backfill
from aquila_mde.collect.engine_lease import EngineStateError, Pace, StateTakenError
from aquila_mde.collect.engine_state import EngineState
from aquila_mde.collect.reconcile import reconcile
from aquila_mde.collect.runner import Collector
from aquila_mde.collect.state import Batch
from aquila_mde.collect.state_database import StateInUseError
from aquila_mde.collect.state_format import VERSION
from aquila_mde.collect.windows import moment
from aquila_mde.elastic.state_index import Head, Place, StateIndex
from aquila_mde.errors import ExitCode
from tests.system.conftest import STREAMS, Job
from tests.system.test_kill import SIZES, indexed, start

MakeJob = Callable[..., Job]
FOR_EVER = Pace(beat=0.2, patience=10_000, look=0.1)
"""A test that waited for a dead holder would not end."""


@pytest.fixture
def state_kind() -> str:
    return "engine"


def head_of(work: Job) -> dict[str, Any]:
    return work.ask("GET", f"/{work.state_index}/_doc/{work.simulator.tenant_id}")


def change_head(work: Job, **fields: Any) -> None:
    source = head_of(work)["_source"]
    for key, value in fields.items():
        (source if key == "rows" else source["head"])[key] = value
    work.ask("PUT", f"/{work.state_index}/_doc/{work.simulator.tenant_id}", source)


def segments(work: Job) -> list[str]:
    """The ids of all segments that lie in the index, named by a head or not."""
    work.ask("POST", f"/{work.state_index}/_refresh")
    body = {"size": 10_000, "query": {"exists": {"field": "number"}}, "_source": False}
    found = work.ask("POST", f"/{work.state_index}/_search", body)
    return [hit["_id"] for hit in found["hits"]["hits"]]


def contents(state: EngineState) -> dict[str, list[Any]]:
    database = state.stream("t", "alert").database
    tables = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    return {
        name: sorted(database.execute(f"SELECT * FROM main.{name}"), key=repr)
        for (name,) in tables.fetchall()
    }


@asynccontextmanager
async def opened(work: Job, tenant: str = "t") -> AsyncIterator[EngineState]:
    """A state without a collector."""
    async with await work.engine() as engine:
        state = await EngineState.open(engine, work.namespace, tenant)
        try:
            yield state
        finally:
            await state.aclose()


async def test_nothing_is_left_on_the_machine_and_a_machine_is_not_indexed_again(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_lease, "PACE", FOR_EVER)
    work = job(machines=50)
    folder = Path(tempfile.gettempdir())
    before = set(folder.glob("aquila-mde-state-*"))
    assert (await work.collect("machine"))["machine"].created == 50
    assert set(folder.glob("aquila-mde-state-*")) <= before
    assert not work.state.exists()
    work.rollover("machine")
    again = (await work.collect("machine"))["machine"]
    assert (again.created, again.existing) == (0, again.records)


async def test_a_second_collector_is_refused(job: MakeJob) -> None:
    work = job(alerts=5)
    async with await work.open() as first:
        with pytest.raises(StateInUseError, match=f"in use by process {os.getpid()} on ") as caught:
            await work.open()
        assert caught.value.exit_code == ExitCode.ENVIRONMENT
        assert work.namespace in caught.value.message
        with pytest.raises(StateInUseError, match="A collector is running"):
            await reconcile(work.settings(), work.tree, ["alert"], repair=True)
        since = moment("2026-03-02", "")
        await reconcile(work.settings(), work.tree, ["alert"], since=since)
        (report,) = await first.collect(["alert"])
        assert report.error is None
        assert report.created == 5
    assert (await work.collect("alert"))["alert"].created == 0


async def test_commands_beside_a_collector_say_so(job: MakeJob) -> None:
    work = job(alerts=5)
    process = start(work, "run")
    while indexed(work) < 5 + 30:
        assert process.poll() is None
    second = start(work)
    output, _ = second.communicate()
    assert second.returncode == ExitCode.ENVIRONMENT, output.decode()
    assert f"is in use by process {process.pid} on ".encode() in output
    status = start(work, "status", "--json")
    answer = json.loads(status.communicate()[0])
    assert list(answer["states"].values()) == ["elasticsearch"]
    assert {each["stream"] for each in answer["streams"]} == set(STREAMS)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == ExitCode.OK, output.decode()
    assert head_of(work)["_source"]["head"]["released"]


@pytest.fixture
def asleep() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that may have been stopped; none is left behind."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        with process:
            process.kill()


@pytest.mark.parametrize("moment", [300, 3_000])
async def test_one_that_was_asleep_too_long_is_out(
    job: MakeJob, moment: int, asleep: list[subprocess.Popen[bytes]]
) -> None:
    work = job(**SIZES)
    old = start(work, "run")
    asleep.append(old)
    while indexed(work) < moment:
        assert old.poll() is None
    old.send_signal(signal.SIGSTOP)
    async with await taken_over(work) as collector:
        taken = head_of(work)["_source"]["head"]
        assert taken["epoch"] == 2
        old.send_signal(signal.SIGCONT)
        output, _ = old.communicate()
        assert old.returncode == ExitCode.ENVIRONMENT, output.decode()
        assert b"was taken over by process" in output
        reports = await collector.collect()
        assert [report.error for report in reports] == [None] * 4
        assert head_of(work)["_source"]["head"]["run"] == taken["run"]
    for stream in STREAMS:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)


async def taken_over(work: Job) -> Collector:
    """A collector in the place of one that sleeps: a sign of life may still be on its way."""
    while True:
        try:
            return await work.open()
        except StateInUseError:
            continue


async def test_a_deleted_state_stops_the_collector_and_is_rebuilt(job: MakeJob) -> None:
    work = job(alerts=20)
    async with await work.open() as collector:
        await collector.collect(["alert"])
        work.ask("POST", f"/{work.index('checkpoint')}/_refresh")
        work.lose_state()
        work.simulator.control.add_alerts([{}])
        with pytest.raises(StateTakenError, match="was deleted from the index"):
            while True:
                await collector.collect(["alert"])
    await work.collect("alert")
    assert (await work.compare("alert")).perfect
    assert len(work.documents("alert")) == 21


async def test_a_newer_format_is_refused_and_an_older_one_brought_up(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = job(alerts=30)
    monkeypatch.setattr(engine_lease, "PACE", FOR_EVER)
    await work.collect("alert")
    change_head(work, format=99)
    with pytest.raises(EngineStateError, match=f"it has format 99, this version reads {VERSION}"):
        await work.open()
    with pytest.raises(EngineStateError, match="it has format 99"):
        async with work.view():
            pass
    change_head(work, format=1)
    async with work.view() as state:
        assert state.stream(work.simulator.tenant_id, "alert").read().delivered == 30
    assert (await work.collect("alert"))["alert"].created == 0
    assert head_of(work)["_source"]["head"]["format"] == VERSION


async def test_what_is_damaged_is_told_and_left_as_it_is(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_lease, "PACE", FOR_EVER)
    monkeypatch.setattr(engine_state, "_IN_HEAD", 100)
    work = job(alerts=30)
    await work.collect("alert")
    good = head_of(work)["_source"]
    change_head(work, rows="bm9uc2Vuc2U=")
    for _ in range(2):
        with pytest.raises(EngineStateError, match="it is damaged") as caught:
            await work.open()
        assert f"Delete the index {work.state_index}" in caught.value.hint
    change_head(work, rows=good["rows"])
    assert head_of(work)["_source"]["head"]["segments"] == good["head"]["segments"]
    one, *_ = segments(work)
    lost = work.ask("GET", f"/{work.state_index}/_doc/{one}")["_source"]
    work.ask("DELETE", f"/{work.state_index}/_doc/{one}")
    with pytest.raises(EngineStateError, match="its segment 1.0 is missing"):
        await work.open()
    with pytest.raises(EngineStateError, match="its segment 1.0 is missing"):
        async with work.view():
            pass
    work.ask("PUT", f"/{work.state_index}/_doc/{one}", lost)
    assert (await work.collect("alert"))["alert"].created == 0


async def test_segments_are_written_anew_when_they_have_grown(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_state, "_IN_HEAD", 200)
    monkeypatch.setattr(engine_state, "_SEGMENT", 2_000)
    monkeypatch.setattr(engine_state, "_GROWN", 1_000)
    work = job()
    async with opened(work) as state:
        store = state.stream("t", "alert")
        store.begin(started=1, since=None, sweep=True)
        counts = []
        for number in range(60):
            store.commit(Batch(delivered=[(f"{number}-{each}", number) for each in range(10)]))
            machines = [(f"machine-{each}", b"%d" % number, "day") for each in range(9)]
            store.commit(Batch(content=machines))
            await state._save()
            counts.append(len(segments(work)))
        head = state._lease.head
        named = {f"t.{epoch}.{number}" for epoch, number in head.numbers()}
        assert named <= set(segments(work))
        assert head.least > 0
        assert counts != sorted(counts)
        held = contents(state)
    async with opened(work) as again:
        assert contents(again) == held


async def test_what_changes_while_it_is_sent_is_not_lost(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_state, "_IN_HEAD", 200)
    monkeypatch.setattr(engine_state, "_SEGMENT", 500)
    work = job()
    put = StateIndex.put_segment
    sent = 0

    async def put_and_change(self: StateIndex, epoch: int, number: int, rows: bytes) -> None:
        nonlocal sent
        sent += 1
        if sent == 2:
            raise EngineStateError(self, "a fault")
        store.commit(Batch(delivered=[(f"more-{sent}", sent)], closed=["x"], created=1))
        store.commit(Batch(opened=[("x", sent)]))
        await put(self, epoch, number, rows)

    async with await work.engine() as engine:
        state = await EngineState.open(engine, work.namespace, "t")
        await quiet(state)
        store = state.stream("t", "alert")
        store.commit(Batch(delivered=[(f"id-{number}", number) for number in range(80)]))
        monkeypatch.setattr(StateIndex, "put_segment", put_and_change)
        with pytest.raises(EngineStateError, match="a fault"):
            await state._save()
        await state._save()
        held = contents(state)
        # As when the process is killed: nothing is kept at the end.
        await state._lease.release()
        state.close()
    async with opened(work) as again:
        assert contents(again) == held
    assert len(held["delivered"]) > 80


async def quiet(state: EngineState) -> None:
    """No sign of life any more."""
    assert state._beating is not None
    state._beating.cancel()
    await asyncio.gather(state._beating, return_exceptions=True)


async def test_the_answer_to_a_write_of_ours_may_be_lost(job: MakeJob) -> None:
    work = job()
    async with await work.engine() as engine:
        index = StateIndex(engine, work.namespace, "t")
        await index.create()
        first = Head(VERSION, 1, "me", "run", 1.0)
        place = await index.put(first, None)
        assert await index.put(first, None) == place
        second = msgspec.structs.replace(first, beat=1)
        third = msgspec.structs.replace(first, beat=2)
        assert await index.put(second, place) == Place(1, 1)
        assert await index.put(third, place) == Place(2, 1)
        other = msgspec.structs.replace(first, run="other", epoch=2)
        assert await index.put(other, place) is None
        assert await index.put(other, None) is None
        found = await index.head()
        assert found is not None
        assert found.head == third


async def test_what_a_killed_collector_left_on_the_machine_is_removed(job: MakeJob) -> None:
    work = job(**SIZES)
    process = start(work)
    (folder,) = work.folder.glob("tmp*")
    while not list(folder.glob("aquila-mde-state-*/state.sqlite3.lock")) or not indexed(work):
        assert process.poll() is None
    process.kill()
    process.communicate()
    (left,) = folder.glob("aquila-mde-state-*")
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        async with await work.open():
            (now,) = folder.glob("aquila-mde-state-*")
            assert now != left
            assert now.stat().st_mode & 0o77 == 0
            async with opened(work, "another"):
                assert now.exists()
        assert [*folder.glob("aquila-mde-state-*")] == []


async def test_a_poll_with_nothing_new_writes_no_more_than_the_end_of_it(job: MakeJob) -> None:
    work = job(alerts=10)
    async with await work.open() as collector:
        await collector.collect(["alert"])
        state = collector._state
        assert isinstance(state, EngineState)
        await quiet(state)
        await state._save()
        before = head_of(work)["_seq_no"]
        await collector.collect(["alert"])
        await collector.collect(["alert"])
        assert head_of(work)["_seq_no"] == before


async def test_a_backfill_goes_on_and_leaves_nothing_of_its_own(job: MakeJob) -> None:
    work = job(alerts=1_500, actions=50)
    times = ("--from", "2026-01-25", "--to", "2026-03-03")
    process = start(work, "backfill", *times)
    while indexed(work) < 100:
        assert process.poll() is None
    process.kill()
    process.communicate()
    own = f"{work.simulator.tenant_id}.backfill-20260125t000000z-20260303t000000z"
    assert work.ask("GET", f"/{work.state_index}/_doc/{own}")["found"]
    since, until = moment(times[1], ""), moment(times[3], "")
    reports = await backfill(work.settings(), work.tree, since, until, retry_wait=False)
    assert [report.error for report in reports] == [None, None]
    for stream in ("alert", "machine_action"):
        result = await work.compare(stream)
        assert result.duplicates == result.unknown == 0
    body = {"query": {"term": {"key": own}}}
    work.ask("POST", f"/{work.state_index}/_refresh")
    assert work.ask("POST", f"/{work.state_index}/_count", body)["count"] == 0
    await work.collect()
    for stream in STREAMS:
        assert (await work.compare(stream)).perfect

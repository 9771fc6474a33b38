"""Pages of records: read together or one by one, and which of their ids are written down."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from aquila_mde.collect import incremental
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.identity import IdentityReader, PassContext
from aquila_mde.collect.joins import Join, Joins
from aquila_mde.collect.state import Batch, State, StreamStore
from aquila_mde.collect.stream_pass import Counts, Owner, StreamPass
from aquila_mde.defender.page_reader import Page
from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks
from aquila_mde.elastic.bulk import Documents, Outcome, Result
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {each.name: each for each in load_streams(PackageTree.default())}
ALERT = STREAMS["alert"]
NOW = parse_ticks("2026-03-01T00:00:00Z")
HOUR = 36_000_000_000


class Sink:
    """Keeps the body of every request; ``older`` are the ids in an older index."""

    def __init__(self) -> None:
        self.body = b""
        self.ids: list[str] = []
        self.letters = 0
        self.older: set[str] = set()

    async def send(self, index: str, items: Documents | list) -> list[Outcome]:
        documents = Documents.of(items)
        if "dead_letter" in index:
            self.letters += len(documents)
        else:
            self.body += b"".join(documents.body)
            self.ids += documents.ids
        return [Outcome(Result.CREATED)] * len(documents)

    async def already_in(self, index: str, ids: list[str]) -> set[str]:
        return self.older & set(ids)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state.sqlite3")
    yield state
    state.close()


@pytest.fixture
def store(state: State) -> StreamStore:
    machines = Join(ALERT, "machine", state.stream("t", "alert"))
    machines.learn([msgspec.json.encode({"id": "m1", "computerDnsName": "one"})], "id")
    return state.stream("t", "alert")


def work(
    store: StreamStore, sink: Sink, delivery: Delivery, *, careful: bool = False
) -> StreamPass:
    return StreamPass(
        ALERT,
        Owner("t", "default", {"id": "t"}),
        store=store,
        sink=sink,  # type: ignore[arg-type]
        delivery=delivery,
        context=PassContext(NOW),
        time_field="lastUpdateTime",
        counts=Counts(),
        joins=Joins(ALERT, store, enabled=["machine"]),
        careful=careful,
        observed=datetime(2026, 3, 1, tzinfo=UTC),
    )


def alert(number: int, time: Ticks = NOW, **rest: object) -> bytes:
    values = {"id": f"da{number}", "lastUpdateTime": format_ticks(time), "machineId": "m1"}
    return msgspec.json.encode(values | rest)


async def deliver(store: StreamStore, sink: Sink, *pages: list[bytes]) -> Counts:
    async with Delivery(sink, "i") as delivery:
        one = work(store, sink, delivery)
        for page in pages:
            await one.deliver(page)
        await one.settled()
    return one.counts


RECORDS = [
    alert(1),
    alert(2, NOW - 1, machineId="unknown"),
    alert(3, NOW - 2, machineId=None, title='\u00e4 "quoted" \x7f\n'),
    b'{"Id": "da4", "LastUpdateTime": "2026-01-01T00:00:00Z", "MachineId": "m1"}',
    b'{"id": "da5",\n "lastUpdateTime": "no time", "machineId": 7}',
]
UNUSUAL = [b'{"id": "", "lastUpdateTime": "2026-01-01T00:00:00Z"}', b'{"id": "da6"}', b"no json"]


async def test_records_that_are_read_together_make_what_they_make_alone(store: StreamStore) -> None:
    sinks = [Sink(), Sink(), Sink()]
    await deliver(store, sinks[0], RECORDS)
    noted = store.known(sinks[0].ids)
    assert len(noted) == len(RECORDS)
    assert len(sinks[0].body.splitlines()) == 2 * len(RECORDS)
    await deliver(store, sinks[0], RECORDS)
    assert len(sinks[0].ids) == len(RECORDS)
    for sink, pages in zip(
        sinks[1:], ([[each] for each in RECORDS], [RECORDS + UNUSUAL]), strict=True
    ):
        with store.change() as database:
            database.execute("DELETE FROM delivered")
        await deliver(store, sink, *pages)
        assert store.known(sinks[0].ids) == noted
        assert sink.ids[: len(RECORDS)] == sinks[0].ids
        assert sink.body.startswith(sinks[0].body)
    assert len(sinks[2].ids) == len(RECORDS) + 2
    assert sinks[2].letters == 1


async def test_an_id_that_the_end_of_the_pass_would_forget_is_not_written_down(
    store: StreamStore,
) -> None:
    sink, since = Sink(), NOW - HOUR
    page = [alert(1, since - 1), alert(2, since), alert(3), alert(4, since - 1)]
    page.append(b'{"id": "da5", "lastUpdateTime": "no time"}')
    async with Delivery(sink, "i") as delivery:
        one = work(store, sink, delivery, careful=True)
        one.remember_since = since
        await one.deliver(page)
        await one.settled()
        assert store.known(sink.ids) == {sink.ids[place] for place in (1, 2, 4)}
        # What was found in an older index is treated alike.
        more = [alert(6, since - 1), alert(7)]
        reader = IdentityReader(ALERT.collect, "t", time_field="lastUpdateTime")
        ids = [reader.read(each, PassContext(NOW)).document_id for each in more]
        sink.older = set(ids)
        await one.deliver(more)
        await one.settled()
    assert store.known(ids) == {ids[1]}
    assert (one.counts.created, one.counts.existing) == (5, 2)


async def test_what_this_pass_has_written_down_is_not_sent_twice(store: StreamStore) -> None:
    sink = Sink()
    async with Delivery(sink, "i") as delivery:
        one = work(store, sink, delivery)
        one.remember_since = NOW - HOUR
        await one.deliver([alert(1), alert(2)])
        await one.settled()
        await one.deliver([alert(0, NOW - 2 * HOUR), alert(2), alert(3)])
        await one.settled()
    assert (one.counts.created, one.counts.existing) == (4, 1)


async def test_an_old_id_that_an_earlier_pass_has_written_down_is_known(store: StreamStore) -> None:
    assert not store.knows_any()
    old = [alert(1, NOW - 2 * HOUR), alert(2, NOW - 2 * HOUR)]
    first, second = Sink(), Sink()
    await deliver(store, first, old[:1])
    assert store.knows_any()
    async with Delivery(second, "i") as delivery:
        one = work(store, second, delivery)
        one.remember_since = NOW - HOUR
        await one.deliver(old)
        await one.settled()
    assert (one.counts.created, one.counts.existing) == (1, 1)
    assert not set(first.ids) & set(second.ids)


@pytest.mark.parametrize(
    ("stream", "kept"), [("alert", 73 * HOUR), ("machine_action", (30 * 24 + 1) * HOUR)]
)
async def test_what_is_written_down_follows_the_services_clock(
    monkeypatch: pytest.MonkeyPatch, stream: str, kept: Ticks
) -> None:
    async def pages(*_: object, **__: object) -> AsyncIterator[Page]:
        yield Page([], None, NOW)
        yield Page([], None, None)

    told: list[Ticks | None] = []

    async def note(*_: object, **__: object) -> None:
        told.append(one.remember_since)

    one = SimpleNamespace(deliver=note)
    monkeypatch.setattr(incremental, "read_since", pages)
    monkeypatch.setattr(incremental, "read_all", pages)
    for field in ("lastUpdateTime", None):
        one.remember_since = None
        await incremental.collect_incremental(
            STREAMS[stream],
            SimpleNamespace(holds_room=False),  # type: ignore[arg-type]
            one,  # type: ignore[arg-type]
            SimpleNamespace(since=0, position=None),  # type: ignore[arg-type]
            field=field,
            first_look_back=None,
            stop=SimpleNamespace(is_set=lambda: False),  # type: ignore[arg-type]
        )
    assert told == [NOW - kept, None, None, None]


def test_what_is_not_written_down_is_what_the_end_of_a_pass_forgets(store: StreamStore) -> None:
    spec = ALERT.collect
    begun = store.begin(started=NOW, since=0, sweep=True)
    since = incremental.forget_before(spec, NOW)
    assert since is not None
    batch = Batch(delivered=[("before", since - 1), ("after", since)], position=NOW)
    store.commit(batch)
    forget = incremental.forget_before(spec, store.read().cursor)
    store.finish(begun, now=NOW, keep_since=forget)
    assert store.known(["before", "after"]) == {"after"}

"""Lines of an export: gathered, sent and settled without an object for each, or one by one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from aquila_mde.collect.columns import ColumnReader
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.identity import PassContext
from aquila_mde.collect.joins import Joins
from aquila_mde.collect.state import ExportMark, State, StreamStore
from aquila_mde.collect.stream_pass import Counts, Owner, StreamPass
from aquila_mde.defender.export import ExportChunk, ExportPosition
from aquila_mde.elastic.bulk import Documents, Outcome, Result
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAM = next(each for each in load_streams(PackageTree.default()) if each.name == "vulnerability")
NOW = 17_000_000_000_000_000
GENERATED = "2026-01-01T00:00:00Z"


class Sink:
    """Says what it is told to say of a document, and keeps all of them."""

    def __init__(self, **outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.older: set[str] = set()
        self.requests: list[list[dict]] = []
        self.letters: list[dict] = []

    async def send(self, index: str, items: Documents | list) -> list[Outcome]:
        documents = Documents.of(items)
        sources = [msgspec.json.decode(documents[place].source) for place in range(len(documents))]
        if "dead_letter" in index:
            self.letters += sources
            return [Outcome(Result.CREATED)] * len(documents)
        self.requests.append(sources)
        rows = [msgspec.json.decode(source["message"]) for source in sources]
        return [self.outcomes.get(row["cveId"], Outcome(Result.CREATED)) for row in rows]

    async def already_in(self, index: str, ids: list[str]) -> set[str]:
        return self.older & set(ids)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StreamStore]:
    state = State(tmp_path / "state.sqlite3")
    yield state.stream("t", STREAM.name)
    state.close()


def work(store: StreamStore, sink: Sink, delivery: Delivery) -> StreamPass:
    return StreamPass(
        STREAM,
        Owner("t", "default", {"id": "t"}),
        store=store,
        sink=sink,  # type: ignore[arg-type]
        delivery=delivery,
        context=PassContext(NOW, NOW),
        time_field=None,
        counts=Counts(),
        joins=Joins(STREAM, store, enabled=["machine"]),
        careful=True,
        observed=datetime(2026, 1, 1, tzinfo=UTC),
    )


def line(cve: str, device: str = "m1") -> bytes:
    return msgspec.json.encode({"id": f"{device}_{cve}", "deviceId": device, "cveId": cve})


def chunk(text: bytes, at: int = 0) -> ExportChunk:
    return ExportChunk(text, ExportPosition(GENERATED, 0, at), 1)


def mark(lines: int) -> ExportMark:
    return ExportMark(GENERATED, 0, lines)


async def test_lines_that_are_all_alike_and_those_that_are_not_make_the_same_documents(
    store: StreamStore,
) -> None:
    sources = []
    for last in (b"", b"\n"):
        sink = Sink()
        async with Delivery(sink, "i") as delivery:
            one = work(store, sink, delivery)
            # An empty line is enough to have all of them read one by one.
            await one.deliver_lines(chunk(b"\n".join([line("c1"), line("c2")]) + last))
            await one.settled()
        sources.append(sink.requests)
        assert (one.counts.records, one.counts.created) == (2, 2)
    assert sources[0] == sources[1]


async def test_chunks_are_put_together_and_the_position_follows_the_last(
    store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aquila_mde.collect.stream_pass._LINES", 3)
    sink = Sink()
    async with Delivery(sink, "i") as delivery:
        one = work(store, sink, delivery)
        for number in range(5):
            await one.deliver_lines(chunk(line(f"c{number}"), number))
        # What is only gathered is not written down.
        await delivery.drain()
        assert store.export_mark() == mark(3)
        # Nothing overtakes it, either.
        await one.deliver_lines(chunk(b"no json", 5))
        await one.settled()
    assert [len(request) for request in sink.requests] == [3, 2]
    assert store.export_mark() == mark(6)
    assert (one.counts.records, one.counts.created, one.counts.dead) == (6, 5, 1)
    assert [letter["mde"]["dead_letter"]["original"] for letter in sink.letters] == ["no json"]


async def test_each_outcome_is_counted_and_what_is_refused_is_kept_whole(
    store: StreamStore,
) -> None:
    sink = Sink(
        c1=Outcome(Result.EXISTS, None, 409),
        c2=Outcome(Result.DEAD, None, 400, "document_parsing_exception", "no"),
    )
    lines = [line(f"c{number}") for number in range(4)]
    async with Delivery(sink, "i") as delivery:
        one = work(store, sink, delivery)
        await one.deliver_lines(chunk(b"\n".join(lines)))
        await one.settled()
    counts = one.counts
    assert (counts.created, counts.existing, counts.dead) == (2, 1, 1)
    (letter,) = (each["mde"]["dead_letter"] for each in sink.letters)
    assert letter["original"].encode() == lines[2]
    assert msgspec.json.decode(letter["document"])["message"].encode() == lines[2]
    # All but the refused one wait for their machine.
    assert one._joins.each[0].store.count_waiting() == 3


async def test_what_an_older_index_has_is_not_sent_again(store: StreamStore) -> None:
    sink = Sink()
    lines = [line(f"c{number}", f"m{number}") for number in range(3)]
    reader = ColumnReader.of(STREAM.collect, "t")
    assert reader is not None
    columns = reader.read(b"\n".join(lines))
    assert columns is not None
    ids = reader.ids(columns, PassContext(NOW, NOW), [[b""] * 3] * 2)
    sink.older = {ids[1].decode()}
    async with Delivery(sink, "i") as delivery:
        one = work(store, sink, delivery)
        await one.deliver_lines(chunk(b"\n".join(lines)))
        await one.settled()
    assert [source["message"].encode() for source in sink.requests[0]] == [lines[0], lines[2]]
    assert (one.counts.created, one.counts.existing) == (2, 1)
    assert one._joins.each[0].store.count_waiting() == 2

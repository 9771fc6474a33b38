"""Which pass of an export stream reads all of it, and which the changes, and since when."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from aquila_mde.collect.delta import (
    forget_changes_before,
    give_up,
    go_on_from,
    next_reading,
    note_read,
)
from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.identity import IdentityReader, PassContext, Version
from aquila_mde.collect.incremental import Reach
from aquila_mde.collect.state import Batch, ExportMark, State, StreamStore
from aquila_mde.defender.times import Ticks, parse_ticks, ticks_of
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

SPEC = {each.name: each.collect for each in load_streams(PackageTree.default())}["vulnerability"]
ALL = Reach(None, sweep=True)
GENERATED = "2026-03-01T06:00:00Z"
# The clocks of both sides are a year apart: only what passes on each counts.
HERE, THERE = parse_ticks("2027-05-05T01:00:00Z"), parse_ticks(GENERATED)


def span(**length: float) -> Ticks:
    return ticks_of(timedelta(**length))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StreamStore]:
    state = State(tmp_path / "state.sqlite3")
    yield state.stream("t", "vulnerability")
    state.close()


def full(store: StreamStore, generated: str = GENERATED, *, at: Ticks = HERE) -> bool:
    """A full export, begun ``at`` and delivered whole an hour later."""
    current = store.begin(started=at, since=None, sweep=True)
    store.commit(Batch(export=ExportMark(generated, 3, 0)))
    newer = note_read(store, current)
    store.finish(current, now=at + span(hours=1), keep_since=None)
    return newer


def changes(store: StreamStore, until: Ticks, *, at: Ticks) -> None:
    """A reading of the changes that the service answered at ``until``."""
    to_read = next_reading(SPEC, store, now=at)
    assert not to_read.sweep
    current = store.begin(started=at, since=to_read.since, sweep=False)
    store.commit(Batch(position=until))
    note_read(store, current)
    store.finish(current, now=at, keep_since=forget_changes_before(SPEC, store.read()))


def test_all_is_read_as_long_as_no_export_was_delivered_whole(store: StreamStore) -> None:
    assert next_reading(SPEC, store, now=HERE) == ALL
    store.begin(started=HERE, since=None, sweep=True)
    store.commit(Batch(export=ExportMark(GENERATED, 1, 700)))
    assert next_reading(SPEC, store, now=HERE) == ALL
    assert store.begin(started=HERE + 1, since=5, sweep=False).sweep, "it is gone on with"


def test_changes_begin_with_the_export_and_go_on_an_overlap_behind(store: StreamStore) -> None:
    assert full(store)
    assert next_reading(SPEC, store, now=HERE + span(hours=2)) == Reach(THERE, sweep=False)
    changes(store, THERE + span(hours=2), at=HERE + span(hours=2))
    assert next_reading(SPEC, store, now=HERE + span(hours=3)).since == THERE, "never before it"
    changes(store, THERE + span(hours=20), at=HERE + span(hours=20))
    expected = Reach(THERE + span(hours=14), sweep=False)
    assert next_reading(SPEC, store, now=HERE + span(hours=21)) == expected


def test_an_old_export_is_renewed_and_changes_go_on_where_they_were(store: StreamStore) -> None:
    full(store)
    delivered = HERE + span(hours=1)
    for day in range(1, 7):
        changes(store, THERE + span(days=day), at=HERE + span(days=day))
    assert not next_reading(SPEC, store, now=delivered + span(days=7) - 1).sweep
    assert next_reading(SPEC, store, now=delivered + span(days=7)) == ALL
    assert full(store, "2026-03-08T06:00:00Z", at=delivered + span(days=7))
    since = THERE + span(days=6, hours=-6)
    later = delivered + span(days=7, hours=2)
    assert next_reading(SPEC, store, now=later) == Reach(since, sweep=False)


def test_a_clock_that_was_set_back_makes_an_export_due(store: StreamStore) -> None:
    full(store)
    assert next_reading(SPEC, store, now=HERE - span(days=2)) == ALL


@pytest.mark.parametrize("read_before", [True, False])
def test_after_fourteen_days_all_is_read_and_changes_begin_anew(
    store: StreamStore, read_before: bool
) -> None:
    full(store)
    last = HERE
    if read_before:
        last = HERE + span(days=1)
        changes(store, THERE + span(days=1), at=last)
    # A week later there was a full export, so that none is due, but no changes were read.
    full(store, at=HERE + span(days=10))
    at_most = last + span(days=13, hours=18)
    assert not next_reading(SPEC, store, now=at_most).sweep
    assert DeltaStore(store).read().since == THERE
    assert next_reading(SPEC, store, now=at_most + 1) == ALL
    chain = DeltaStore(store).read()
    assert (chain.full_export, chain.since, store.read().cursor) == (GENERATED, None, None)
    full(store, "2026-03-15T06:00:00Z", at=at_most + 2)
    begun = parse_ticks("2026-03-15T06:00:00Z")
    assert next_reading(SPEC, store, now=at_most + span(days=2)) == Reach(begun, sweep=False)


def test_a_reading_that_cannot_go_on_is_over_and_an_export_under_way_is_not(
    store: StreamStore,
) -> None:
    full(store)
    store.begin(started=HERE, since=THERE, sweep=False)
    give_up(store, "refused")
    assert next_reading(SPEC, store, now=HERE) == ALL
    current = store.begin(started=HERE + 5, since=None, sweep=True)
    assert not current.resumed
    give_up(store, "refused")
    assert store.begin(started=HERE + 9, since=None, sweep=True) == replace(current, resumed=True)


def test_an_export_that_was_known_is_told_from_a_newer_one(store: StreamStore) -> None:
    assert full(store)
    assert not full(store, at=HERE + span(days=8))
    assert full(store, "2026-03-09T06:00:00Z", at=HERE + span(days=16))


def test_ids_are_kept_as_long_as_their_changes_can_come_again(store: StreamStore) -> None:
    full(store)
    assert forget_changes_before(SPEC, store.read()) is None
    store.commit(Batch(delivered=[("old", THERE + span(hours=1)), ("new", THERE + span(hours=3))]))
    changes(store, THERE + span(hours=20), at=HERE + span(hours=20))
    # Read again from 14:00 on; that period may have begun at 08:00, and be one late.
    assert store.known(["old", "new"]) == {"new"}


def test_an_export_stream_without_delta_reads_all_each_time(store: StreamStore) -> None:
    spec = SPEC.model_copy(update={"delta": None})
    full(store)
    assert next_reading(spec, store, now=HERE + span(hours=2)) == ALL
    assert forget_changes_before(spec, store.read()) is None
    assert spec.for_changes() is spec


ROW = {
    "id": "m_tool_1.0_CVE-2026-1_",
    "rbacGroupId": 5,
    "status": "New",
    "eventTimestamp": "2026-03-01T07:00:00.1234567Z",
    "cvssScore": 5.0,
}


def version(row: dict, *, cve: bytes = b"") -> Version:
    reader = IdentityReader(SPEC.for_changes(), "t", time_field=SPEC.delta.time_field)
    raw = msgspec.json.encode(row)
    return reader.version(raw, reader.values(raw), PassContext(1), [b"", cve])


def test_a_change_is_told_by_id_group_status_and_time() -> None:
    same = version(ROW | {"cvssScore": 9.0}, cve=b"other")
    assert version(ROW).document_id == same.document_id
    assert version(ROW).time == parse_ticks(ROW["eventTimestamp"])
    pascal = {name[0].upper() + name[1:]: value for name, value in ROW.items()}
    assert version(pascal).document_id == version(ROW).document_id
    for name, other in (
        ("id", "other"),
        ("rbacGroupId", 6),
        ("status", "Fixed"),
        ("eventTimestamp", "2026-03-01T07:00:00.1234568Z"),
    ):
        assert version(ROW | {name: other}).document_id != version(ROW).document_id, name


def test_changes_of_a_restored_chain_go_on_behind_a_full_export(store: StreamStore) -> None:
    since, last = THERE + span(days=3), HERE + span(days=3)
    assert go_on_from(SPEC, store) is None
    DeltaStore(store).restore(since, last)
    assert next_reading(SPEC, store, now=last + span(days=1)) == ALL
    assert full(store, at=last + span(days=1))
    assert go_on_from(SPEC, store) == (since, last)
    at_most = last + span(days=13, hours=18)
    full(store, at=at_most - span(hours=1))
    assert next_reading(SPEC, store, now=at_most) == Reach(since, sweep=False)
    assert next_reading(SPEC, store, now=at_most + 1) == ALL
    assert go_on_from(SPEC, store) is None


def test_changes_are_a_stream_of_their_own() -> None:
    changes_alone = SPEC.for_changes()
    assert SPEC.delta is not None
    assert changes_alone.endpoint == SPEC.delta.endpoint
    assert (changes_alone.strategy, changes_alone.delta) == ("incremental", None)

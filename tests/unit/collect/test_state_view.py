from pathlib import Path

import pytest

from aquila_mde.collect.state import Batch, State
from aquila_mde.collect.state_database import StateError
from aquila_mde.collect.state_view import StateView


def test_a_view_reads_beside_the_collector_that_writes(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite3"
    state = State(file)
    store = state.stream("t1", "alert")
    assert store.is_new()
    view = StateView(file)
    seen = view.stream("t1", "alert")
    begun = store.begin(started=1, since=5, sweep=True)
    assert not store.is_new()
    store.commit(Batch(delivered=[("a", 10)], position=50))
    assert seen.known(["a", "b"]) == {"a"}
    assert seen.read().cursor == 50
    under_way = seen.under_way()
    assert under_way is not None
    assert under_way.since == 5
    store.finish(begun, now=60, keep_since=None)
    assert seen.under_way() is None
    assert view.stream("t1", "other").read().cursor is None
    with pytest.raises(StateError, match="readonly"):
        seen.commit(Batch(position=70))
    view.close()
    state.close()


def test_a_state_that_is_not_there_is_empty_and_stays_away(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "state.sqlite3"
    view = StateView(file)
    store = view.stream("t1", "alert")
    assert store.read().cursor is None
    assert store.known(["a"]) == set()
    assert store.export_mark() is None
    view.close()
    assert not file.parent.exists()


def test_a_file_that_is_no_state_is_named(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite3"
    file.write_text("a letter" * 200)
    with pytest.raises(StateError, match="file is not a database"):
        StateView(file)


def test_a_restored_cursor_is_followed(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    store = state.stream("t1", "alert")
    store.restore(70)
    assert store.read().cursor == 70
    assert not store.is_new()
    state.close()

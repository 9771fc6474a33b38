"""A state that is put together from what has changed in another is the same."""

import random
import sqlite3
from pathlib import Path

import pytest

from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.join_store import JoinStore, Partner
from aquila_mde.collect.state import Batch, ExportMark, State, Waiting
from aquila_mde.collect.state_format import statements
from aquila_mde.collect.state_rows import ChangedRows, put_rows

NAMES = [f"n{number}" for number in range(40)]


def empty() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements(0):
        database.execute(statement)
    return database


def rows(database: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    tables = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    return {name: set(database.execute(f"SELECT * FROM main.{name}")) for (name,) in tables}


def step(state: State, choose: random.Random) -> None:
    """One of the things that a collector writes down."""
    store = state.stream("tenant", choose.choice(["alert", "machine"]))
    join = JoinStore(store, "machine")
    some = choose.sample(NAMES, 5)
    now = choose.randrange(1_000)
    match choose.randrange(9):
        case 0:
            store.commit(Batch(delivered=[(name, now) for name in some], created=5, position=now))
        case 1:
            digest = bytes([choose.randrange(256)])
            store.commit(Batch(content=[(name, digest, "day") for name in some]))
        case 2:
            store.commit(Batch(opened=[(name, now) for name in some], closed=some[:2]))
        case 3:
            waits = [Waiting("machine", name, "id", b"{}") for name in some]
            store.commit(Batch(waiting=waits, export=ExportMark("g", now, now)), now=now)
        case 4:
            value = bytes([choose.randrange(3)])
            join.put({name: Partner(value, value) for name in some})
        case 5:
            join.settle(join.arrived(3))
            join.give_up(choose.randrange(500))
            join.move_cursor(None, now)
        case 6:
            current = store.begin(started=now, since=None, sweep=bool(now % 2))
            if now % 3:
                store.finish(current, now=now, keep_since=now - 100)
        case 7:
            DeltaStore(store).complete("export", now, now)
            if now % 3 == 0:
                DeltaStore(store).give_up()
        case 8:
            store.fail("text")
            store.use_field("field")


@pytest.mark.parametrize("seed", range(8))
def test_what_has_changed_makes_the_same_state_elsewhere(tmp_path: Path, seed: int) -> None:
    choose, copy = random.Random(seed), empty()
    state = State(tmp_path / "state.sqlite3")
    store = state.stream("tenant", "alert")
    changed = ChangedRows(store.database)
    changed.mark_all()
    for _ in range(60):
        for _ in range(choose.randrange(8)):
            step(state, choose)
        # Some of it goes in pieces between which it changes again, and is only then complete.
        while (taken := changed.read(choose.randrange(200, 2_000))).more:
            changed.forget(taken)
            put_rows(copy, taken.pack())
            step(state, choose)
        put_rows(copy, taken.pack())
        if choose.randrange(2):
            changed.forget(taken)
        assert rows(copy) == rows(store.database)
    assert sum(len(each) for each in rows(copy).values()) > 50
    state.close()


def test_what_was_rolled_back_has_not_changed(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    store = state.stream("tenant", "alert")
    changed = ChangedRows(store.database)
    with pytest.raises(ZeroDivisionError), store.change() as database:
        database.execute("UPDATE scope SET cursor = 1")
        _ = 1 / 0
    assert changed.read(1_000).pack() == b""
    store.restore(1)
    assert [*changed.read(1_000).keys] == ["scope"]
    state.close()


def test_what_could_not_be_sent_is_read_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    store = state.stream("tenant", "alert")
    changed = ChangedRows(store.database)
    store.commit(Batch(delivered=[("a", 1)]))
    taken = changed.read(1_000)
    changed.forget(taken)
    assert changed.read(1_000).keys == {}
    changed.note(taken)
    assert changed.read(1_000).pack() == taken.pack() != b""
    state.close()


@pytest.mark.parametrize("packed", [b"nonsense", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_what_is_damaged_is_told(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"Error -3|truncated"):
        put_rows(empty(), packed)


def test_rows_of_a_table_that_there_is_not_change_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    store = state.stream("tenant", "alert")
    with store.change() as database:
        database.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    changed = ChangedRows(store.database)
    changed.mark_all()
    with store.change() as database:
        database.execute("INSERT INTO other VALUES (1)")
    copy = empty()
    with pytest.raises(ValueError, match="there is no table 'other'"):
        put_rows(copy, changed.read(1_000).pack())
    assert rows(copy)["scope"] == set()
    state.close()

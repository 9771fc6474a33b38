from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from aquila_mde.collect.document import with_join
from aquila_mde.collect.join_store import JoinCursor, JoinStore, Partner
from aquila_mde.collect.joins import Join, Joined, Joins
from aquila_mde.collect.state import Batch, State, StreamStore
from aquila_mde.defender.times import format_ticks
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream for stream in load_streams(PackageTree.default())}
NOW = 17_000_000_000_000_000
STAMP = "2023-11-14T22:13:20.0000000Z"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state.sqlite3")
    yield state
    state.close()


@pytest.fixture
def store(state: State) -> StreamStore:
    return state.stream("t", "alert")


def joins(stream: Stream, store: StreamStore, *enabled: str) -> Joins:
    return Joins(stream, store, enabled=enabled or tuple(STREAMS))


def members(found: Joined, place: int = 0) -> dict[str, msgspec.Raw]:
    written = b"".join([each[place] for each in found.members])
    return msgspec.json.decode(b"{%b}" % written[1:], type=dict[str, msgspec.Raw])


def learn(join: Join, *records: dict) -> None:
    join.learn([msgspec.json.encode(record) for record in records], "id")


MACHINE = {"id": "m1", "osPlatform": "Windows11", "exposureLevel": "High", "agentVersion": "1"}


def test_only_what_the_mapping_has_rows_for_is_put_beside(store: StreamStore) -> None:
    alert = joins(STREAMS["alert"], store)
    learn(alert.each[0], MACHINE, {"id": "m2", "riskScore": None})
    found = alert.find([{"machineId": "m1"}, {"machineId": "m2"}], 17_000_000_000_000_000)
    assert msgspec.json.decode(members(found)["machine"]) == {
        "osPlatform": "Windows11",
        "exposureLevel": "High",
        "joinedAt": STAMP,
    }
    assert msgspec.json.decode(members(found, 1)["machine"]) == {"joinedAt": STAMP}


def test_a_record_without_a_partner_says_so(store: StreamStore) -> None:
    found = joins(STREAMS["alert"], store).find([{"machineId": "m9"}, {}, {"machineId": 7}], NOW)
    assert found.missing == {0: (("machine", "m9"),)}
    assert msgspec.json.decode(members(found)["missing"]) == ["machine"]
    assert members(found, 1) == members(found, 2) == {}
    assert found.told() == [(b"",)] * 3
    assert found.only([1, 2]).missing == {}
    assert found.only([1, 0]).missing == {1: (("machine", "m9"),)}
    assert found.only([0]).members == [[b""], [b',"missing":["machine"]']]


def test_a_partner_is_told_when_it_was_joined_in_every_pass(store: StreamStore) -> None:
    alert = joins(STREAMS["alert"], store)
    learn(alert.each[0], MACHINE)
    for now in (NOW, NOW + 10_000_000, NOW):
        found = alert.find([{"machineId": "m1"}] * 2, now)
        stamps = {
            msgspec.json.decode(members(found, place)["machine"])["joinedAt"] for place in (0, 1)
        }
        assert stamps == {format_ticks(now)}


def test_a_line_break_of_the_service_does_not_end_a_line_of_the_request(
    store: StreamStore,
) -> None:
    alert = joins(STREAMS["alert"], store)
    alert.each[0].learn([b'{"id":"m1","machineTags":["a",\n"b"]}'], "id")
    found = alert.find([{"machineId": "m1"}], NOW)
    assert b"\n" not in found.members[0][0]
    assert msgspec.json.decode(members(found)["machine"])["machineTags"] == ["a", "b"]


def test_partners_are_found_in_either_casing(state: State) -> None:
    vulnerability = joins(STREAMS["vulnerability"], state.stream("t", "vulnerability"))
    (cve,) = (join for join in vulnerability.each if join.name == "cve")
    cve.learn([b'{"Id":"CVE-1","Description":"text","CveSupportability":"Supported"}'], "id")
    found = vulnerability.find([{"cveId": "CVE-1"}], NOW)
    assert msgspec.json.decode(members(found)["cve"]) == {
        "description": "text",
        "cveSupportability": "Supported",
    }


def test_what_is_volatile_makes_no_new_version(state: State) -> None:
    vulnerability = joins(STREAMS["vulnerability"], state.stream("t", "vulnerability"))
    (cve,) = (join for join in vulnerability.each if join.name == "cve")
    digests = []
    for exposed, score in ((5, 7.5), (6, 7.5), (6, 9.1)):
        learn(cve, {"id": "CVE-1", "exposedMachines": exposed, "cvssV3": score})
        found = vulnerability.find([{"cveId": "CVE-1"}], NOW)
        assert msgspec.json.decode(members(found)["cve"])["exposedMachines"] == exposed
        digests.append(found.digests[1][0])
    assert digests[0] == digests[1] != digests[2]


def test_a_broken_partner_and_one_without_an_id_are_passed_over(store: StreamStore) -> None:
    alert = joins(STREAMS["alert"], store)
    alert.each[0].learn([b"[]", b'{"osPlatform":"Linux"}', b'{"id":7}'], "id")
    found = alert.find([{"machineId": "7"}], NOW)
    assert found.missing


def test_what_waits_is_there_when_its_partner_arrives(store: StreamStore) -> None:
    alert = joins(STREAMS["alert"], store)
    found = alert.find([{"machineId": "m1"}], NOW)
    waiting = alert.waiting("doc", b'{"mde":{"join":{}}}', found.missing[0])
    store.commit(Batch(waiting=waiting), now=NOW)
    held = alert.each[0].store
    assert held.count_waiting() == 1
    assert held.arrived(10) == []
    learn(alert.each[0], MACHINE)
    assert [each.document_id for each in held.arrived(10)] == ["doc"]
    held.settle(held.arrived(10))
    assert held.arrived(10) == []


def test_a_partner_that_comes_before_its_document_is_noted_is_not_missed(
    store: StreamStore,
) -> None:
    alert = joins(STREAMS["alert"], store)
    held = alert.each[0].store
    found = alert.find([{"machineId": "m1"}], NOW)
    learn(alert.each[0], MACHINE)
    assert held.arrived(10) == []
    store.commit(Batch(waiting=alert.waiting("doc", b"{}", found.missing[0])), now=NOW)
    assert [each.document_id for each in held.arrived(10)] == ["doc"]


def test_what_waited_too_long_is_given_up(store: StreamStore) -> None:
    alert = joins(STREAMS["alert"], store)
    found = alert.find([{"machineId": "m1"}], NOW)
    store.commit(Batch(waiting=alert.waiting("doc", b"{}", found.missing[0])), now=NOW)
    assert alert.each[0].store.give_up(NOW) == 0
    assert alert.each[0].store.give_up(NOW + 1) == 1
    assert alert.each[0].store.count_waiting() == 0


def test_nothing_waits_for_a_stream_that_is_turned_off(store: StreamStore) -> None:
    alert = joins(STREAMS["alert"], store, "alert")
    found = alert.find([{"machineId": "m1"}], NOW)
    assert alert.waiting("doc", b"{}", found.missing[0]) == []


def test_a_join_that_no_version_waits_for_has_no_room(state: State) -> None:
    vulnerability = joins(STREAMS["vulnerability"], state.stream("t", "vulnerability"))
    found = vulnerability.find([{"cveId": "CVE-1", "deviceId": "m1"}], NOW)
    assert {name for name, _ in found.missing[0]} == {"cve", "machine"}
    assert [each.name for each in vulnerability.waiting("doc", b"{}", found.missing[0])] == [
        "machine"
    ]


def test_only_so_many_documents_wait(store: StreamStore, monkeypatch) -> None:
    monkeypatch.setattr("aquila_mde.collect.joins._MOST_WAITING", 2)
    alert = joins(STREAMS["alert"], store)
    found = alert.find([{"machineId": f"m{number}"} for number in range(5)], NOW)
    waiting = [
        each
        for number, missing in found.missing.items()
        for each in alert.waiting(f"{number}", b"", missing)
    ]
    assert len(waiting) == 2


def test_the_cache_forgets_what_was_used_longest_ago(store: StreamStore, monkeypatch) -> None:
    monkeypatch.setattr("aquila_mde.collect.join_store._CACHED_BYTES", 1_000)
    held = JoinStore(store, "machine")
    held.put({f"m{number}": Partner(b"%d" % number * 200, b"d") for number in range(9)})
    for number in range(9):
        assert held.find_each([f"m{number}"]) == [(b"%d" % number * 200, b"d")]
    assert len(held._younger) + len(held._older) <= 2
    held.put({"m8": Partner(b"new", b"e")})
    assert held.find_each(["m8", "m0"]) == [(b"new", b"e"), (b"0" * 200, b"d")]
    assert held.find(["m8", "m9"])["m8"].value == b"new"


def test_more_keys_than_one_statement_takes(store: StreamStore) -> None:
    held = JoinStore(store, "machine")
    held.put({f"m{number}": Partner(b"{}", b"") for number in range(1_200)})
    assert len(held.find(f"m{number}" for number in range(1_300))) == 1_200


def test_the_cursor_of_a_collection_is_kept(store: StreamStore) -> None:
    held = JoinStore(store, "cve")
    assert held.cursor() is None
    held.move_cursor(5, NOW)
    assert JoinStore(store, "cve").cursor() == JoinCursor(5, NOW)


def test_a_partner_is_put_into_a_document_that_was_written_without() -> None:
    document = b'{"message":"{}","mde":{"join":{"tenant":{"id":"t"},"missing":["cve","machine"]}}}'
    one = with_join(document, "machine", b'{"a":1.50}')
    assert one == (
        b'{"message":"{}","mde":{"join":{"tenant":{"id":"t"},"machine":{"a":1.50},'
        b'"missing":["cve"]}}}'
    )
    two = msgspec.json.decode(with_join(one, "cve", b"{}"))
    assert two["mde"]["join"] == {"tenant": {"id": "t"}, "machine": {"a": 1.5}, "cve": {}}

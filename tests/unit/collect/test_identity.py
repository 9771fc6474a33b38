import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aquila_mde.collect.identity import IdentityReader, PassContext, Version, content_digest
from aquila_mde.defender.times import parse_ticks
from aquila_mde.streams.collect_spec import CollectSpec
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream.collect for stream in load_streams(PackageTree.default())}
TENANT = "11111111-1111-1111-1111-111111111111"
DAY = 24 * 3600 * 10_000_000


def read(
    stream: str, record: dict | bytes, *, started: int = 1, generated: int = 0, tenant: str = TENANT
) -> Version:
    spec = STREAMS[stream]
    field = spec.cursor.field if spec.cursor else None
    raw = record if isinstance(record, bytes) else msgspec.json.encode(record)
    reader = IdentityReader(spec, tenant, time_field=field)
    return reader.read(raw, PassContext(started, generated))


ALERT = {"id": "da1", "lastUpdateTime": "2026-01-01T00:00:00.1234567Z", "status": "New"}


def test_an_id_is_short_url_safe_text_that_never_changes() -> None:
    # A changed value here means that every record would be indexed a second time on upgrade.
    assert read("alert", ALERT).document_id == "vefUvzihr3i0z9O2TSMwoQ"


def test_seven_digits_tell_versions_apart() -> None:
    later = ALERT | {"lastUpdateTime": "2026-01-01T00:00:00.1234568Z"}
    assert read("alert", ALERT).document_id != read("alert", later).document_id
    assert read("alert", later).time == read("alert", ALERT).time + 1


def test_the_same_update_time_is_the_same_version_unless_the_status_differs() -> None:
    other = ALERT | {"incidentId": 7, "title": "another"}
    assert read("alert", ALERT).document_id == read("alert", other).document_id
    resolved = ALERT | {"status": "Resolved"}
    assert read("alert", ALERT).document_id != read("alert", resolved).document_id


def test_tenants_never_share_an_id() -> None:
    other = read("alert", ALERT, tenant="22222222-2222-2222-2222-222222222222")
    assert read("alert", ALERT).document_id != other.document_id


def test_parts_do_not_run_into_each_other() -> None:
    one = read("vulnerability", {"deviceId": "a", "softwareVendor": "bc"})
    two = read("vulnerability", {"deviceId": "ab", "softwareVendor": "c"})
    assert one.document_id != two.document_id


MACHINE = {
    "id": "m1",
    "lastSeen": "2026-01-01T10:00:00Z",
    "machineTags": ["b", "a"],
    "riskScore": "Low",
    "ipAddresses": [
        {
            "ipAddress": "10.0.0.1",
            "macAddress": "0A",
            "operationalStatus": "Up",
            "type": "Ethernet",
        },
        {
            "ipAddress": "10.0.0.2",
            "macAddress": "0B",
            "operationalStatus": "Up",
            "type": "Ethernet",
        },
    ],
}


@pytest.mark.parametrize(
    "change",
    [
        {"lastSeen": "2026-01-01T11:00:00Z"},
        {"firstSeen": "2020-01-01T11:00:00Z"},
        {"machineTags": ["a", "b"]},
        {"ipAddresses": list(reversed(MACHINE["ipAddresses"]))},
        {"ipAddresses": [each | {"operationalStatus": "Down"} for each in MACHINE["ipAddresses"]]},
        {"ipAddresses": [*MACHINE["ipAddresses"], MACHINE["ipAddresses"][0]]},
        {"osVersion": None},
    ],
)
def test_a_machine_is_unchanged_by(change: dict) -> None:
    assert read("machine", MACHINE | change).content == read("machine", MACHINE).content


@pytest.mark.parametrize(
    "change",
    [
        {"machineTags": ["a"]},
        {"riskScore": "High"},
        {"ipAddresses": MACHINE["ipAddresses"][:1]},
        {"agentVersion": "1"},
    ],
)
def test_a_machine_is_changed_by(change: dict) -> None:
    assert read("machine", MACHINE | change).content != read("machine", MACHINE).content


def test_a_machine_state_that_returns_in_a_later_pass_is_a_version_of_its_own() -> None:
    first, again = read("machine", MACHINE, started=1), read("machine", MACHINE, started=2)
    assert first.content == again.content
    assert first.document_id != again.document_id


def test_a_machine_is_renewed_by_the_day_it_was_seen() -> None:
    assert read("machine", MACHINE).renewal == "2026-01-01"
    later = read("machine", MACHINE | {"lastSeen": "2026-01-02T00:00:00Z"})
    assert later.content == read("machine", MACHINE).content
    assert later.document_id != read("machine", MACHINE).document_id


def test_commands_that_change_within_one_time_value_make_another_version() -> None:
    action = {
        "id": "a1",
        "status": "InProgress",
        "lastUpdateDateTimeUtc": "2026-01-01T00:00:00Z",
        "commands": [{"commandStatus": "Created"}, {"commandStatus": "Completed"}],
    }
    swapped = action | {"commands": list(reversed(action["commands"]))}
    words = action | {"commands": ["RunScript"]}
    ids = {read("machine_action", each).document_id for each in (action, swapped, words)}
    assert len(ids) == 3


def test_the_update_time_of_an_action_has_two_names() -> None:
    time = "2026-01-01T00:00:00Z"
    one = {"id": "a1", "status": "Failed", "lastUpdateDateTimeUtc": time}
    two = {"id": "a1", "status": "Failed", "lastUpdateTimeUtc": time}
    assert read("machine_action", one).document_id == read("machine_action", two).document_id


ROW = {"id": "d_s_1_CVE-1", "rbacGroupId": 5, "cvssScore": 7.5, "diskPaths": ["b", "a"]}


def test_the_ids_of_the_other_streams_never_change_either() -> None:
    row = ROW | {"diskPaths": ["b", "a", "a", None], "softwareVersion": "1.0"}
    row["recommendedSecurityUpdateId"] = None
    nameless = {"deviceId": "d", "softwareName": "ü", "cveId": None}
    action = {
        "id": "a1",
        "status": "Failed",
        "lastUpdateDateTimeUtc": "2026-01-01T00:00:00.1234567Z",
        "commands": [{"commandStatus": "Created"}, {"commandStatus": None}],
    }
    found = [
        read("vulnerability", row, generated=17_000_000_000_000_000),
        read("vulnerability", nameless),
        read("machine", MACHINE, started=5),
        read("machine_action", action),
        read("alert", {"title": "no id"}),
    ]
    assert [version.document_id for version in found] == [
        "GGlXw7NZ0WZjxzK8czcmng",
        "9LDQzAO33daxmf6cVBDJRQ",
        "rLwYQyqwvf2378T-6DY8hg",
        "y6XNc0vUP9mqaSwUNyta5g",
        "D_emEvyDBfC7eTO2wVSXlw",
    ]


def test_a_row_is_the_same_in_either_casing() -> None:
    pascal = {"Id": "d_s_1_CVE-1", "RbacGroupId": 5, "CvssScore": 7.5, "DiskPaths": ["a", "b"]}
    assert read("vulnerability", ROW).document_id == read("vulnerability", pascal).document_id


def test_a_device_that_moves_to_another_group_gives_two_rows() -> None:
    moved = ROW | {"rbacGroupId": 6}
    assert read("vulnerability", ROW).document_id != read("vulnerability", moved).document_id


def test_an_open_row_is_renewed_once_in_thirty_days() -> None:
    begin = parse_ticks("2026-01-01T00:00:00Z") // (30 * DAY) * (30 * DAY)
    same = read("vulnerability", ROW, generated=begin + 29 * DAY)
    assert read("vulnerability", ROW, generated=begin).document_id == same.document_id
    later = read("vulnerability", ROW, generated=begin + 30 * DAY)
    assert later.document_id != same.document_id


def test_a_row_without_an_id_is_told_by_what_it_names() -> None:
    row = {"deviceId": "d", "softwareName": "s", "softwareVersion": "1"}
    other = row | {"softwareVersion": "2"}
    assert read("vulnerability", row).document_id != read("vulnerability", other).document_id


def test_a_record_that_names_nothing_is_told_by_all_it_says() -> None:
    assert read("alert", {"title": "a"}).document_id != read("alert", {"title": "b"}).document_id


@pytest.mark.parametrize("broken", [b"[1]", b"{", b"7", b'"x"'])
@pytest.mark.parametrize("stream", ["alert", "machine"])
def test_what_is_no_object_is_refused(stream: str, broken: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(stream, broken)


def test_a_time_that_is_none_is_left_out() -> None:
    assert read("alert", {"id": "1", "lastUpdateTime": "soon"}).time is None
    assert read("alert", {"id": "1", "lastUpdateTime": 5}).time is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=4), JSON, max_size=5), st.randoms())
def test_the_order_of_keys_and_lists_never_changes_the_content(record: dict, random) -> None:
    def shuffled(value):
        if isinstance(value, dict):
            items = [(key, shuffled(item)) for key, item in value.items()]
            random.shuffle(items)
            return dict(items)
        if isinstance(value, list):
            items = [shuffled(item) for item in value]
            random.shuffle(items)
            return items
        return value

    assert content_digest(record, []) == content_digest(shuffled(record), [])


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5))
def test_any_object_has_a_version_in_every_stream(record: dict) -> None:
    for stream in STREAMS:
        version = read(stream, record)
        assert len(version.document_id) == 22


FOLLOWED = STREAMS["alert"].model_copy(update={"cursor": STREAMS["machine_action"].cursor})
"""Alerts, if they said by their status that they may still change."""
RECORDS = st.lists(
    st.dictionaries(
        st.sampled_from(["id", "ID", "Id", "lastUpdateTime", "LastUpdateTime", "machineId"])
        | st.sampled_from(["MachineId", "status", "Status"]),
        st.sampled_from(
            [None, "", 7, "x\n", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.1234567Z"]
        ),
        max_size=6,
    )
    | st.builds(
        dict,
        id=st.text(min_size=1, max_size=3),
        lastUpdateTime=st.sampled_from(["2026-01-01T00:00:00.1234567Z", "2026-01-01 00:00:00"]),
        machineId=st.none() | st.just("m1"),
        status=st.none() | st.just("New"),
    ),
    max_size=4,
)


@given(RECORDS, st.sampled_from([STREAMS["alert"], FOLLOWED]))
@example([ALERT, ALERT | {"id": "da2"}], FOLLOWED)
def test_versions_that_are_read_together_are_those_read_alone(
    records: list[dict], spec: CollectSpec
) -> None:
    reader = IdentityReader(spec, TENANT, time_field="lastUpdateTime")
    raw = [msgspec.json.encode(record) for record in records]
    alone = [reader.values(each) for each in raw]
    columns = reader.columns(raw)
    told = [each[name] for each in alone for name in ("id", "lastUpdateTime", "status")]
    assert (columns is not None) == (bool(told) and all(isinstance(t, str) and t for t in told))
    if columns is not None:
        assert columns == {name: [each[name] for each in alone] for name in alone[0]}
        assert reader.versions(columns) == [reader.read(each, PassContext(1)) for each in raw]


@pytest.mark.parametrize("stream", ["machine", "machine_action", "vulnerability"])
def test_what_is_told_by_more_than_single_properties_is_read_alone(stream: str) -> None:
    reader = IdentityReader(STREAMS[stream], TENANT, time_field=None)
    assert reader.columns([b'{"id": "1", "status": "Pending"}']) is None


def test_among_records_that_are_none_each_is_read_alone() -> None:
    reader = IdentityReader(STREAMS["alert"], TENANT, time_field=None)
    good = msgspec.json.encode(ALERT)
    assert reader.columns([good, good]) is not None
    assert reader.columns([good, b"[]"]) is None

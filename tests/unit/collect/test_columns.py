"""Reading a batch column by column gives what reading its records one by one gives."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aquila_mde.collect.columns import ColumnReader
from aquila_mde.collect.identity import IdentityReader, PassContext
from aquila_mde.streams.casing import spellings
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream.collect for stream in load_streams(PackageTree.default())}
SPEC = STREAMS["vulnerability"]
TENANT = "11111111-1111-1111-1111-111111111111"
CONTEXT = PassContext(1, 17_000_000_000_000_000)
CVE = list(SPEC.joins).index("cve")

ROW = {
    "id": "d_s_1_CVE-1",
    "deviceId": "d",
    "rbacGroupId": 5,
    "softwareName": "s",
    "cveId": "CVE-1",
    "diskPaths": ["b", "a", "a"],
    "cvssScore": 7.5,
    "recommendedSecurityUpdate": None,
    "lastSeenTimestamp": "2026-01-01 00:00:00",
}


def spelled(record: dict, choice: int) -> bytes:
    names = {name: spellings(name)[: choice + 1][-1] for name in record}
    return msgspec.json.encode({names[name]: value for name, value in record.items()})


def one_by_one(records: list[bytes], digests: list[bytes]) -> list:
    reader = IdentityReader(SPEC, TENANT, time_field=None)
    found = []
    for record, digest in zip(records, digests, strict=True):
        joined = tuple(digest if place == CVE else b"" for place in range(len(SPEC.joins)))
        version = reader.version(record, reader.values(record), CONTEXT, joined)
        found.append(version.document_id.encode())
    return found


def by_columns(records: list[bytes], digests: list[bytes], reader=None) -> list | None:
    reader = reader or ColumnReader.of(SPEC, TENANT)
    columns = reader.read(b"\n".join(records))
    if columns is None:
        return None
    assert [msgspec.json.decode(b'"%b"' % each).encode() for each in columns.records] == records
    joined = [digests if place == CVE else [b""] * len(records) for place in range(len(SPEC.joins))]
    return reader.ids(columns, CONTEXT, joined)


VALUES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 10) | st.text(max_size=3)
    | st.lists(st.sampled_from(["a", "b", None, 1]), max_size=3)
)  # fmt: skip
NAMES = [*ROW, "registryPaths", "exploitabilityLevel", "recommendedSecurityUpdateId"]
RECORDS = st.dictionaries(st.sampled_from(NAMES), VALUES).map(
    lambda some: some | {"id": some.get("id") or "x"}
)


@pytest.mark.parametrize("choice", [0, 1], ids=["camel", "pascal"])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=st.lists(RECORDS, min_size=1, max_size=5), digest=st.binary(max_size=2))
def test_the_ids_are_the_same(choice: int, records: list[dict], digest: bytes) -> None:
    lines = [spelled(record, choice) for record in records]
    digests = [digest if number % 2 else b"" for number in range(len(lines))]
    found = by_columns(lines, digests)
    if found is None:
        numbered = any(not isinstance(record["id"], str) for record in records)
        assert numbered
    else:
        assert found == one_by_one(lines, digests)


def test_a_reader_that_has_seen_other_rows_gives_the_same() -> None:
    reader = ColumnReader.of(SPEC, TENANT)
    lines = [spelled(ROW | {"cvssScore": score % 3}, 1) for score in range(9)]
    digests = [b"one"] * 9
    first = by_columns(lines, digests, reader)
    assert by_columns(lines, digests, reader) == first == one_by_one(lines, digests)
    assert by_columns(lines, [b"two"] * 9, reader) == one_by_one(lines, [b"two"] * 9)


def test_another_export_makes_other_ids_of_the_same_rows(monkeypatch) -> None:
    monkeypatch.setattr("aquila_mde.collect.columns._REMEMBERED", 0)
    reader = ColumnReader.of(SPEC, TENANT)
    columns = reader.read(spelled(ROW, 0))
    joined = [[b""], [b""]]
    ids = [
        reader.ids(columns, PassContext(1, generated), joined) for generated in (0, 10**16, 10**16)
    ]
    assert ids[0] != ids[1] == ids[2]


@pytest.mark.parametrize(
    "odd",
    [
        b"[]",
        b"{",
        b'{"deviceId":"d"}',
        b'{"id":7}',
        b'{"id":""}',
        b'{"Id":"pascal among camel"}',
        b'{"id":"x","CvssScore":1}',
        b'{"id":"x","RBACGroupId":1}',
        b'{"id":"x"}{"id":"y"}',
        b'{"id":"x"}{"id":"y"}\n',
        b'{"id":"x"}{"id":"y"}\n ',
        b'{"id":\n"x"}',
        b' {"id":"x"}',
        b'{"id":"x"}\r',
        b'{"id":"\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"}',
        b'{"id":"\xff"}',
        b"",
    ],
)
def test_a_batch_with_something_unusual_is_left_to_be_read_one_by_one(odd: bytes) -> None:
    assert by_columns([spelled(ROW, 0), odd], [b"", b""]) is None


def test_an_id_with_a_line_break_is_read_like_any_other() -> None:
    lines = [spelled(ROW | {"id": name}, 0) for name in ("a", "b\nc", "\n")]
    assert by_columns(lines, [b""] * 3) == one_by_one(lines, [b""] * 3)


def test_only_streams_of_similar_rows_are_read_by_columns() -> None:
    served = {name for name, spec in STREAMS.items() if ColumnReader.of(spec, TENANT)}
    assert served == {"vulnerability"}

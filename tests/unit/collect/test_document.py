"""Documents as the lines of a bulk request."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aquila_mde.collect.document import (
    DocumentWriter,
    escaped_lines,
    original_of,
)
from aquila_mde.elastic.documents import Documents, Item
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream for stream in load_streams(PackageTree.default())}
TEXT = st.text(max_size=9).map(str.encode)
RECORDS = st.lists(TEXT, max_size=5)


def writer() -> DocumentWriter:
    observed = datetime(2026, 1, 1, tzinfo=UTC)
    return DocumentWriter(STREAMS["alert"], "default", tenant={"id": "t"}, observed=observed)


@given(st.lists(st.builds(bytes.__add__, st.sampled_from([b"{"] * 9 + [b""]), TEXT), min_size=1))
def test_lines_are_escaped_together_or_left_to_be_escaped_alone(records: list[bytes]) -> None:
    lines = b"\n".join(records).split(b"\n")
    found = escaped_lines(b"\n".join(lines))
    if found is None:
        assert any(not line.startswith(b"{") or b"\x7f" in line for line in lines)
    else:
        assert [msgspec.json.decode(b'"%b"' % each).encode() for each in found] == lines


IDS = ["a", 'b"', "c"]
MEMBERS = [[b',"machine":{"a":1}', b"", b""], [b"", b',"missing":["machine"]', b""]]


def test_a_document_has_the_shape_that_an_agent_sends() -> None:
    lines = writer().records(IDS, [b'{"id":"1"}'] * 3, MEMBERS).splitlines()
    assert lines[2:4] == [
        b'{"create":{"_id":"b\\""}}',
        b'{"@timestamp":"2026-01-01T00:00:00.000Z","data_stream":{"type":"logs",'
        b'"dataset":"aquila_mde.alert","namespace":"default"},"mde":{"join":{"tenant":{"id":"t"},'
        b'"missing":["machine"]}},"message":"{\\"id\\":\\"1\\"}"}',
    ]


@given(RECORDS)
def test_documents_of_records_are_those_of_lines(records: list[bytes]) -> None:
    ids = [f"i{number}" for number in range(len(records))]
    members = [[b',"n":%d' % number for number in range(len(records))], [b""] * len(records)]
    one = writer()
    one.join("export", {"generated": "g"})
    texts = [msgspec.json.encode(record.decode())[1:-1] for record in records]
    lines = one.lines([each.encode() for each in ids], texts, members)
    assert one.records(ids, records, members) == lines
    assert lines.count(b"\n") == 2 * len(records)
    documents = Documents(ids, [lines])
    for place, record in enumerate(records):
        source = documents[place].source
        assert original_of(source) == record
        join = {"tenant": {"id": "t"}, "export": {"generated": "g"}}
        assert msgspec.json.decode(source)["mde"]["join"] == join | {"n": place}
        alone = one.records(ids[place : place + 1], [record], [[b""]])
        assert one.write(record) == Documents([""], [alone])[0].source


def test_what_is_no_utf_8_is_replaced_in_its_own_record_only() -> None:
    body = writer().records(["a", "b"], [b'a"', msgspec.Raw(b"\xff")], [])
    documents = Documents(["a", "b"], [body])
    assert [original_of(documents[place].source) for place in (0, 1)] == [b'a"', "\ufffd".encode()]


def test_documents_are_what_their_items_are() -> None:
    items = [Item("a", b'{"x":1}'), Item('b"', b'{"x":\n2}'), Item("c", b"{}")]
    documents = Documents.of(items)
    assert Documents.of(documents) is documents
    assert [documents[place].id for place in range(3)] == ["a", 'b"', "c"]
    assert documents[1].source == b'{"x": 2}'
    assert sum(map(documents.length, range(3))) == documents.size == len(documents.body[0])
    assert documents.lines([0, 1, 2]) is documents.body
    assert documents.lines([1]) == [b'{"create":{"_id":"b\\""}}\n{"x": 2}\n']
    kept = documents.only([0, 2])
    assert (kept.ids, kept[1].source) == (["a", "c"], b"{}")
    assert documents.only([0, 1, 2]) is documents


def test_only_the_piece_that_is_looked_into_is_taken_apart() -> None:
    ids = [f"i{number}" for number in range(5)]
    body = [writer().records(ids[part], [each.encode() for each in ids[part]], [])
            for part in (slice(0, 2), slice(2, 2), slice(2, 5))]  # fmt: skip
    documents = Documents(ids, body)
    assert original_of(documents[3].source) == b"i3"
    assert list(documents._split) == [2]
    assert [original_of(documents[place].source).decode() for place in range(5)] == ids
    lines = b"".join(body).splitlines(keepends=True)
    assert documents.lines([1, 4]) == [b"".join(lines[2:4] + lines[8:])]
    assert [documents.length(place) for place in (1, 2)] == [
        len(b"".join(lines[2:4])),
        len(b"".join(lines[4:6])),
    ]

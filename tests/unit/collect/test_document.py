"""Documents as the lines of a bulk request."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aquila_mde.collect.document import (
    DocumentWriter,
    escaped,
    escaped_lines,
    original_of,
)
from aquila_mde.elastic.documents import Documents, Item
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream for stream in load_streams(PackageTree.default())}
TEXT = st.text(max_size=9).map(str.encode)
RECORDS = st.lists(TEXT, max_size=5)


@given(RECORDS)
def test_records_become_the_content_of_json_strings(records: list[bytes]) -> None:
    found = escaped(records)
    assert [msgspec.json.decode(b'"%b"' % each).encode() for each in found] == records


def test_what_is_no_utf_8_is_replaced_in_its_own_record_only() -> None:
    assert escaped([b'a"', b"\xff"]) == [b'a\\"', "\ufffd".encode()]


@given(st.lists(st.builds(bytes.__add__, st.sampled_from([b"{"] * 9 + [b""]), TEXT), min_size=1))
def test_lines_are_escaped_together_or_left_to_be_escaped_alone(records: list[bytes]) -> None:
    lines = b"\n".join(records).split(b"\n")
    found = escaped_lines(b"\n".join(lines))
    if found is None:
        assert any(not line.startswith(b"{") or b"\x7f" in line for line in lines)
    else:
        assert found == escaped(lines)


def test_the_lines_of_a_request_are_the_documents() -> None:
    writer = DocumentWriter(
        STREAMS["alert"], "default", tenant={"id": "t"}, observed=datetime(2026, 1, 1, tzinfo=UTC)
    )
    records = [b'{"id":"%d"}' % number for number in range(3)]
    members = [[b',"machine":{"a":1}', b"", b""], [b"", b',"missing":["machine"]', b""]]
    lines = writer.lines([b"a", b"b", b"c"], escaped(records), members)
    assert lines.count(b"\n") == 6
    documents = Documents(["a", "b", "c"], [lines])
    joins = []
    for place, record in enumerate(records):
        item = documents[place]
        assert original_of(item.source) == record
        joins.append(msgspec.json.decode(item.source)["mde"]["join"])
    tenant = {"tenant": {"id": "t"}}
    assert joins == [tenant | {"machine": {"a": 1}}, tenant | {"missing": ["machine"]}, tenant]
    assert writer.write(records[2]) == documents[2].source
    assert writer.lines([], [], []) == b""


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

import dataclasses
from pathlib import Path

import pytest

from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.indexed import indexed_field
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream for stream in load_streams(PackageTree.default())}


@pytest.mark.parametrize(
    ("stream", "name", "field"),
    [
        ("alert", "lastUpdateTime", "mde.alert.last_update_time"),
        ("alert", "id", "event.id"),
        ("machine_action", "creationDateTimeUtc", "event.created"),
        ("machine", "id", "host.id"),
        ("vulnerability", "id", "event.id"),
        ("alert", "evidence", "mde.alert.evidence"),
        ("alert", "nothing", None),
    ],
)
def test_a_property_is_found_where_the_mapping_puts_it(
    stream: str, name: str, field: str | None
) -> None:
    assert indexed_field(STREAMS[stream], name) == field


def test_every_cursor_and_every_entity_is_in_the_index() -> None:
    for stream in STREAMS.values():
        assert indexed_field(stream, stream.collect.identity.entity)
        cursor = stream.collect.cursor
        if cursor is not None:
            assert indexed_field(stream, cursor.field)
            if cursor.otherwise is not None:
                assert indexed_field(stream, cursor.otherwise.field)
                assert indexed_field(stream, cursor.otherwise.open.field)


def test_a_stream_without_a_mapping_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultsFoundError, match=r"mapping\.yml"):
        indexed_field(dataclasses.replace(STREAMS["alert"], folder=tmp_path), "id")

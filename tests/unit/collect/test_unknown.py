"""Properties that mapping.yml does not know are noticed, once each, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from aquila_mde.collect.unknown import PropertyWatch, known_properties, unknown_in
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree

STREAMS = {stream.name: stream for stream in load_streams(PackageTree.default())}
encode = msgspec.json.encode


def golden(stream: Stream) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Records, and what the pipeline of their stream makes of each beside ECS."""
    folder = stream.folder / "_dev" / "test" / "pipeline"
    for file in sorted(folder.glob("test-*.json-expected.json")):
        events = msgspec.json.decode(Path(str(file).removesuffix("-expected.json")).read_bytes())
        expected = msgspec.json.decode(file.read_bytes())["expected"]
        for event, document in zip(events["events"], expected, strict=True):
            try:
                record = msgspec.json.decode(event["message"])
            except (KeyError, msgspec.DecodeError):
                continue
            if isinstance(record, dict) and document:
                yield record, document.get("mde", {}).get(stream.name, {})


@pytest.mark.parametrize("name", sorted(set(STREAMS) - {"hunting"}))
def test_what_is_unknown_is_what_the_pipeline_keeps_as_extra(name: str) -> None:
    known = known_properties(STREAMS[name].folder)
    pairs = list(golden(STREAMS[name]))
    assert pairs
    for record, own in pairs:
        top = {each for each in unknown_in(record, known) if "." not in each}
        texts = [msgspec.json.decode(text) for text in own.get("extra_text", ())]
        extra = {*own.get("extra", {}), *(key for text in texts for key in text)}
        assert top <= extra
        # What is mapped is there too where its value could not be converted.
        assert {each for each in extra - top if not each.startswith("@")} <= set(known)


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as logs:
        yield logs


def test_each_name_is_told_once(logged: list[EventDict]) -> None:
    watch = PropertyWatch(STREAMS["alert"])
    record = {"id": "a", "BrandNew": 1, "evidence": [{"sha1": "b", "mood": "c"}, {"mood": "d"}]}
    watch.look([encode(record)])
    watch.look([encode({"brandNew": 2})])
    assert watch.names == {"brandNew", "evidence.mood"}
    assert [each["property"] for each in logged] == ["brandNew", "evidence.mood"]
    assert {(each["log_level"], each["stream"]) for each in logged} == {("warning", "alert")}


def test_what_says_nothing_and_what_is_no_record_is_passed_over(logged: list[EventDict]) -> None:
    watch = PropertyWatch(STREAMS["alert"])
    empty = {"new": None, "newer": "", "newest": [], "other": {}, "@odata.type": "x", "id": "a"}
    for record in (encode(empty), b"[1]", b"{", b""):
        watch.look([record])
        watch.look_at_lines(record)
    assert watch.names == set()
    assert logged == []


def test_a_sample_of_many_and_one_line_of_a_chunk_are_looked_at() -> None:
    watch = PropertyWatch(STREAMS["vulnerability"])
    watch.look([encode({f"new{place}": 1}) for place in range(130)])
    assert watch.names == {"new0", "new64", "new128", "new129"}
    watch = PropertyWatch(STREAMS["vulnerability"])
    watch.look_at_lines(b'{"first":1}\n{"second":1}\n')
    watch.look_at_lines(b'{"third":1}')
    assert watch.names == {"first", "third"}


def test_names_without_end_are_not_remembered_without_end(logged: list[EventDict]) -> None:
    watch = PropertyWatch(STREAMS["alert"])
    for place in range(200):
        watch.look([encode({f"new{place}": 1})])
    assert len(watch.names) == len(logged) == 100


def test_the_columns_of_a_hunt_are_what_its_query_calls_them() -> None:
    watch = PropertyWatch(STREAMS["hunting"])
    watch.look([encode({"HowMany": 3})])
    assert watch.names == set()

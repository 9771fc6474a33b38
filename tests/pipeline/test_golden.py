"""The golden pairs: what goes in, what comes out, and that it is what ECS and we declare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aquila_mde.build import ecs
from tests.pipeline import golden
from tests.pipeline.indices import StrictIndices
from tests.pipeline.pipelines import STREAMS, Document, Pipelines, golden_files

FILES = golden_files()


def every_field(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from every_field(one, f"{path}.{key}" if path else key)
    else:
        yield path


def empty_parts(value: Any, path: str = "") -> Iterator[str]:
    if value is None or value in ("", [], {}):
        yield path
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from empty_parts(one, f"{path}.{key}")
    elif isinstance(value, list):
        for one in value:
            yield from empty_parts(one, f"{path}[]")


def expected_documents(stream: str) -> list[Document]:
    return [
        document
        for file in FILES
        if golden.stream_of(file) == stream
        for document in golden.read_expected(file)
    ]


def readable(documents: list[Document]) -> list[Document]:
    return [one for one in documents if one["event"]["kind"] != "pipeline_error"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_pipeline_makes_the_expected_documents(file: Path, pipelines: Pipelines) -> None:
    dynamic = golden.dynamic_fields(file)
    made = pipelines.run(golden.stream_of(file), golden.read_events(file))
    expected = golden.read_expected(file)
    assert len(made) == len(expected)
    for number, (one, wanted) in enumerate(zip(made, expected, strict=True)):
        assert golden.settled(one, dynamic) == wanted, f"event {number} of {file.name}"


@pytest.mark.parametrize("stream", STREAMS)
def test_every_expected_field_is_declared_with_a_type_that_takes_it(
    stream: str, indices: StrictIndices
) -> None:
    assert indices.refusals(stream, expected_documents(stream)) == []


@pytest.mark.parametrize("stream", STREAMS)
def test_every_document_has_the_fields_that_ecs_and_kibana_need(stream: str) -> None:
    needed = {
        "@timestamp",
        "ecs.version",
        "event.kind",
        "event.category",
        "event.type",
        "event.module",
        "event.dataset",
        "event.provider",
        "organization.id",
        "organization.name",
        "cloud.account.id",
        "observer.vendor",
        "observer.product",
        "tags",
        "data_stream.type",
        "data_stream.dataset",
        "data_stream.namespace",
    }
    if stream == "hunting":
        # A query may give anything; what comes of no table has no category.
        needed.remove("event.category")
    for document in readable(expected_documents(stream)):
        assert needed <= set(every_field(document))


@pytest.mark.parametrize("stream", STREAMS)
def test_event_kind_category_type_and_outcome_are_legal_together(stream: str) -> None:
    legal = ecs.values()
    for document in readable(expected_documents(stream)):
        event = document["event"]
        assert event["kind"] in legal["kind"]
        assert event.get("outcome", "unknown") in legal["outcome"]
        categories = event.get("category", ())
        allowed = {kind for category in categories for kind in legal["category"][category]}
        assert set(event["type"]) <= (allowed if categories else {"info"})


@pytest.mark.parametrize("stream", STREAMS)
def test_ecs_lists_are_lists_and_the_rest_is_not(stream: str) -> None:
    for document in expected_documents(stream):
        for name in every_field(document):
            known = ecs.fields().get(name)
            if known is None or name == "error.message":
                continue
            value: Any = document
            for step in name.split("."):
                value = value[step]
            assert isinstance(value, list) == known.many, name


@pytest.mark.parametrize("stream", STREAMS)
def test_nothing_empty_is_left(stream: str) -> None:
    for document in readable(expected_documents(stream)):
        assert list(empty_parts(document)) == []


@pytest.mark.parametrize("stream", STREAMS)
def test_a_record_that_cannot_be_read_is_kept_whole(stream: str) -> None:
    broken = [one for one in expected_documents(stream) if one["event"]["kind"] == "pipeline_error"]
    assert len(broken) >= 3
    for document in broken:
        assert isinstance(document["event"]["original"], str)
        assert "preserve_original_event" in document["tags"]
        assert document["organization"]["id"]
        assert "json" not in document
        assert "mde" not in document

"""The rendering that the benchmark compares with does the same work: nearly the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.pipeline_cost import all_pipelines
from tests.pipeline import golden
from tests.pipeline.pipelines import Pipelines, golden_files


@pytest.fixture(scope="module")
def per_field(engine_url: str) -> Iterator[Pipelines]:
    made = Pipelines(engine_url, prefix="aquila-test-per-field")
    for stream, pipelines in all_pipelines().items():
        made.put(stream, pipelines["per_field"])
    yield made
    made.close()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, one in enumerate(value):
            yield from leaves(one, f"{path}.{number}")
    else:
        yield path, comparable(value)


def comparable(value: Any) -> Any:
    """Lists in any order, times to the second, numbers as text."""
    if isinstance(value, list):
        return tuple(sorted(map(str, value)))
    text = str(value).strip()
    return text[:19] if text[4:5] == "-" and text[10:11] == "T" else text


@pytest.mark.parametrize("stream", sorted(all_pipelines()))
def test_both_renderings_of_a_mapping_make_the_same_of_usual_records(
    stream: str, per_field: Pipelines
) -> None:
    files = [file for file in golden_files() if golden.stream_of(file) == stream]
    usual = [file for file in files if "traps" not in file.name]
    assert usual
    for file in usual:
        dynamic = golden.dynamic_fields(file)
        made = per_field.run(stream, golden.read_events(file))
        same = wanted = 0
        for one, other in zip(made, golden.read_expected(file), strict=True):
            there, needed = set(leaves(golden.settled(one, dynamic))), set(leaves(other))
            same += len(there & needed)
            wanted += len(needed)
        assert same / wanted > 0.95

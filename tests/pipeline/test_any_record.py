"""Whatever Defender may send: a document comes out, the engine takes it, and nothing is lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aquila_mde.build import load_mappings
from aquila_mde.streams.casing import camel_case
from tests.pipeline.indices import StrictIndices
from tests.pipeline.pipelines import STREAMS, TREE, Pipelines, document

MAPPINGS = {mapping.stream: mapping.spec for mapping in load_mappings(TREE)[0]}
# A leaf is drawn as its kind, so that each can be given a value that is found again.
WORDS = ["word", "word", "word", "number", "fraction", "null", "blank", "dash", "true", "zero"]
OTHERS = ["time", "address", "hash", "guid", "long", "huge", "class"]
KINDS = st.sampled_from([*WORDS, *OTHERS])


def property_names(stream: str) -> list[str]:
    return sorted({place[-1] for place, _ in MAPPINGS[stream].walk()})


def spelled(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name, name[:1].upper() + name[1:], name.upper()])


def records(stream: str) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(property_names(stream)).flatmap(spelled)
    keys = st.one_of(names, names, names, st.text(max_size=12), st.just("@odata.type"))
    values = st.recursive(
        st.one_of(KINDS, st.builds(lambda text: ("as is", text), st.text(max_size=20))),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=8)
        ),
        max_leaves=6,
    )
    return st.dictionaries(keys, values, max_size=10)


def given_values(drawn: Any, numbers: Iterator[int]) -> tuple[Any, list[str]]:
    """The drawn record with a value for every leaf, and the texts that must be found again."""
    if isinstance(drawn, dict):
        parts = {key: given_values(value, numbers) for key, value in drawn.items()}
        return (
            {key: value for key, (value, _) in parts.items()},
            [text for _, texts in parts.values() for text in texts],
        )
    if isinstance(drawn, list):
        items = [given_values(value, numbers) for value in drawn]
        return [value for value, _ in items], [text for _, texts in items for text in texts]
    if isinstance(drawn, tuple):
        return drawn[1], []
    number = 900_000_000 + next(numbers)
    fixed: dict[str, Any] = {
        "null": None,
        "blank": " ",
        "dash": "-",
        "true": True,
        "zero": 0,
        "huge": 10**30,
        "fraction": 0.25,
        "time": "2026-03-01 20:33:59.1234567",
        "address": "::ffff:10.0.0.5",
        "hash": "AB" * 20,
        "guid": "00000000-0000-0000-0000-000000000000",
    }
    if drawn in fixed:
        return fixed[drawn], []
    if drawn == "number":
        return number, [str(number)]
    word = f"word{number}end"
    return {"long": f"{word} " * 800, "class": f"#Class.{word}"}.get(drawn, word), [word]


@pytest.mark.parametrize("stream", STREAMS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_any_object_becomes_a_document_and_loses_nothing(
    stream: str, data: st.DataObject, pipelines: Pipelines, indices: StrictIndices
) -> None:
    numbers = itertools.count()
    drawn = data.draw(st.lists(records(stream), min_size=6, max_size=10))
    batch = [given_values(one, numbers) for one in drawn]
    made = pipelines.run(stream, [document(stream, record) for record, _ in batch])
    for (record, texts), one in zip(batch, made, strict=True):
        assert one["event"]["kind"] != "pipeline_error", (record, one.get("error"))
        assert "error" not in one or set(one["error"]) == {"code"}, (record, one["error"])
        found = json.dumps(one).lower()
        lost = [text for text in texts if text not in found]
        assert not lost, (record, one)
    assert indices.refusals(stream, made) == []


@pytest.mark.parametrize("stream", STREAMS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(texts=st.lists(st.text(), min_size=5, max_size=20))
def test_any_text_becomes_a_document(
    stream: str, texts: list[str], pipelines: Pipelines, indices: StrictIndices
) -> None:
    made = pipelines.run(stream, [document(stream, text) for text in texts])
    for text, one in zip(texts, made, strict=True):
        if one["event"]["kind"] == "pipeline_error":
            assert one["event"]["original"] == text
    assert indices.refusals(stream, made) == []


@pytest.mark.parametrize(
    "name", ["iD", "OSPlatformX", "CveIdX", "URL", "A", "aB", "ABc", "Odata.Type", "X1", "IDs"]
)
def test_the_script_and_the_collector_spell_alike(name: str, pipelines: Pipelines) -> None:
    made = pipelines.run("machine", [document("machine", {name: "kept"})])[0]
    assert made["mde"]["machine"]["extra"] == {camel_case(name): "kept"}

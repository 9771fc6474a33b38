"""Golden pairs in the format of elastic-package: ``test-x.json`` and ``test-x.json-expected.json``.

``python -m tests.pipeline.golden`` writes every expected file anew from what the pipelines make
now: look at the difference before you keep it.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from aquila_mde.engine import EmbeddedEngine
from tests.pipeline.pipelines import Document, Pipelines, golden_files


def stream_of(file: Path) -> str:
    """The data stream that a golden file belongs to."""
    return file.parents[3].name


def expected_file(file: Path) -> Path:
    """Where the expected documents of an input stand."""
    return file.with_name(f"{file.name}-expected.json")


def read_events(file: Path) -> list[Document]:
    """The input documents."""
    return list(json.loads(file.read_text(encoding="utf-8"))["events"])


def read_expected(file: Path) -> list[Document]:
    """The documents that must come of them."""
    return list(json.loads(expected_file(file).read_text(encoding="utf-8"))["expected"])


def dynamic_fields(file: Path) -> dict[str, str]:
    """Fields whose value differs from run to run, each with the pattern that it must match."""
    config = file.with_name("test-common-config.yml")
    return dict(yaml.safe_load(config.read_text(encoding="utf-8"))["dynamic_fields"])


def settled(document: Document, dynamic: dict[str, str]) -> Document:
    """``document`` without its dynamic fields, which are checked against their patterns."""
    for name, pattern in dynamic.items():
        value = _take(document, name.split("."))
        assert value is None or re.fullmatch(pattern, str(value)), f"{name} is {value!r}"
    return document


def regenerate(url: str) -> None:
    """Write the expected file of every input."""
    pipelines = Pipelines(url, prefix="aquila-golden")
    try:
        for file in golden_files():
            made = pipelines.run(stream_of(file), read_events(file))
            dynamic = dynamic_fields(file)
            text = json.dumps(
                {"expected": [settled(one, dynamic) for one in made]},
                indent=2,
                sort_keys=True,
                ensure_ascii=False,
            )
            expected_file(file).write_text(f"{text}\n", encoding="utf-8")
    finally:
        pipelines.close()


def _take(value: Any, path: list[str]) -> Any:
    """Take the leaf at ``path`` out of nested objects, and the objects that it leaves empty."""
    if not isinstance(value, dict) or path[0] not in value:
        return None
    if len(path) == 1:
        return value.pop(path[0])
    found = _take(value[path[0]], path[1:])
    if value[path[0]] == {}:
        del value[path[0]]
    return found


def main() -> None:
    """Regenerate on the engine of ``AQUILA_TEST_ES_URL``, or on one started for it."""
    with ExitStack() as stack:
        url = os.environ.get("AQUILA_TEST_ES_URL")
        regenerate(url or stack.enter_context(EmbeddedEngine()).url)


if __name__ == "__main__":
    main()

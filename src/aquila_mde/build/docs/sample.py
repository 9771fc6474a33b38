"""The sample event of a stream: one of the documents that its golden tests expect.

The pipeline made that document on a real engine, and a test compares it with what the pipeline
makes today, so the sample shows what a user will find.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aquila_mde.streams.faults import Fault, FaultsFoundError

_EXPECTED = "_dev/test/pipeline/test-{name}.json-expected.json"


def sample_event(folder: Path) -> str | None:
    """``sample_event.json`` of the data stream in ``folder``; ``None`` where it has no test.

    Of the expected documents it is the one with most fields whose properties are all known to the
    mapping, the first of several. Raises an error that names the file when it cannot be read.
    """
    file = folder / _EXPECTED.format(name=folder.name.replace("_", "-"))
    if not file.is_file():
        return None
    try:
        documents = json.loads(file.read_text(encoding="utf-8"))["expected"]
    except (ValueError, KeyError, TypeError):
        fault = Fault(file, 1, "", "is no file of expected documents")
        raise FaultsFoundError([fault]) from None
    known = [document for document in documents if not _leaves_over(document)]
    if not known:
        return None
    # max takes the first of equals.
    best = max(known, key=lambda document: len(set(leaves(document))))
    return f"{json.dumps(best, indent=2, sort_keys=True, ensure_ascii=False)}\n"


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The dotted names of the fields that have a value, those inside lists once a member."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one, path)
    else:
        yield path


def _leaves_over(document: dict[str, Any]) -> bool:
    """Whether something in it failed, or was not known to the mapping."""
    return "error" in document or any(
        part in ("extra", "extra_text") for name in leaves(document) for part in name.split(".")
    )

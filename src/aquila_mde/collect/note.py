"""Small documents that the collector leaves in the engine, and on which no pass depends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from aquila_mde.collect.delivery import Sink
from aquila_mde.collect.document import iso_milliseconds
from aquila_mde.elastic.bulk import Item, Result
from aquila_mde.errors import AquilaError


def note(
    dataset: str,
    namespace: str,
    *place: object,
    at: datetime,
    event: Mapping[str, Any],
    more: Mapping[str, Any],
) -> Item:
    """A document of ``dataset``; ``place`` tells it from every other one."""
    document = {
        "@timestamp": iso_milliseconds(at),
        "data_stream": {"type": "logs", "dataset": dataset, "namespace": namespace},
        "event": {"module": "aquila_mde", "dataset": dataset, **event},
        **more,
    }
    name = "\0".join(map(str, place)).encode()
    return Item(hashlib.blake2b(name, digest_size=16).hexdigest(), msgspec.json.encode(document))


async def leave(sink: Sink, dataset: str, namespace: str, notes: Sequence[Item]) -> str:
    """Send ``notes``; the reason why the engine did not take them, or nothing when it did."""
    try:
        outcomes = await sink.send(f"logs-{dataset}-{namespace}", list(notes))
    except AquilaError as error:
        return f"{error.message} {error.hint}"
    return next((each.reason for each in outcomes if each.result is Result.DEAD), "")

"""Changes documents where they lie; those of a data stream, whichever backing index that is.

A data stream takes nothing but new documents. Only the backing index that holds a document can
replace or delete it, and only by its sequence number, so that what somebody changed in the
meantime stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from aquila_mde.elastic.bulk import Item
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import RETRIABLE_STATUS, EngineUnavailableError, forbidden
from aquila_mde.elastic.lookup import backing_indices
from aquila_mde.elastic.retry import RetryPolicy

_PARAMETERS = {
    "_source": "false",
    "filter_path": "docs._id,docs.found,docs._seq_no,docs._primary_term",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one document: another source, or none, which deletes it."""

    index: str
    """The index that holds it; of a data stream, the backing index."""
    id: str
    seq_no: int | None
    """``None``: the document must not be there yet."""
    primary_term: int
    source: bytes | None


class _Place(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    found: bool = False
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    primary_term: int = msgspec.field(name="_primary_term", default=0)


class _Cause(msgspec.Struct):
    reason: str | None = ""


class _Verdict(msgspec.Struct):
    status: int
    error: _Cause | None = None


class _Answer(msgspec.Struct):
    items: list[dict[str, _Verdict]]


async def replace(engine: Engine, index: str, items: Sequence[Item]) -> int:
    """Put each of ``items`` in the place of the document with its id; how many were replaced.

    A document that is not there any more, or that somebody changed in the meantime, is left.
    """
    left = {item.id: item for item in items}
    replaced = 0
    # The newest first: that is where most of them are.
    for backing in reversed(await backing_indices(engine, index)):
        if not left:
            break
        found = await engine.request(
            "POST", f"{backing}/_mget", {"ids": list(left)}, params=_PARAMETERS
        )
        changes = [
            Change(backing, each.id, each.seq_no, each.primary_term, left.pop(each.id).source)
            for each in msgspec.convert(found["docs"], list[_Place])
            if each.found
        ]
        replaced += await change(engine, changes)
    return replaced


async def change(
    engine: Engine, changes: Sequence[Change], *, retry: RetryPolicy | None = None
) -> int:
    """Make ``changes``; how many were made.

    Not made, without an error, are those of documents that are gone, that somebody changed in
    the meantime, or whose new source the engine refuses. Made again, a change finds its document
    changed and does nothing.
    """
    by_index: defaultdict[str, list[Change]] = defaultdict(list)
    for each in changes:
        by_index[each.index].append(each)
    made = 0
    for index, there in by_index.items():
        async for attempt in (retry or RetryPolicy()).attempted():
            with attempt:
                made += await _change_in(engine, index, there)
    return made


async def _change_in(engine: Engine, index: str, changes: list[Change]) -> int:
    answer = await engine.bulk(index, b"".join(_lines(each) for each in changes))
    made = 0
    for verdict in (next(iter(one.values())) for one in _decoded(engine, answer)):
        reason = verdict.error.reason or "" if verdict.error else ""
        if verdict.status == 403:
            raise forbidden(reason, engine.place, f"changing documents of {index}")
        if verdict.status in RETRIABLE_STATUS:
            raise EngineUnavailableError(
                f"{engine.place.host} answers {verdict.status} for documents of {index}: {reason}",
                hint="The engine is overloaded or shards are missing; it was tried again.",
            )
        made += verdict.status in (200, 201)
    return made


def _lines(change: Change) -> bytes:
    if change.seq_no is None:
        head = msgspec.json.encode({"create": {"_id": change.id}})
        return b"%b\n%b\n" % (head, change.source or b"{}")
    place = {
        "_id": change.id,
        "if_seq_no": change.seq_no,
        "if_primary_term": change.primary_term,
    }
    if change.source is None:
        return msgspec.json.encode({"delete": place}) + b"\n"
    return b"%b\n%b\n" % (msgspec.json.encode({"index": place}), change.source)


def _decoded(engine: Engine, answer: bytes) -> list[dict[str, _Verdict]]:
    try:
        return msgspec.json.decode(answer, type=_Answer).items
    except msgspec.DecodeError:
        raise EngineUnavailableError(
            f"{engine.place.host} sent something else than the answer to a bulk request",
            hint="Check what is between this machine and the engine.",
        ) from None

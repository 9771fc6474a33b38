"""Replaces documents of a data stream where they lie, whichever backing index that is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aquila_mde.elastic.bulk import Item
from aquila_mde.elastic.client import Engine

_PARAMETERS = {
    "_source": "false",
    "filter_path": "docs._id,docs.found,docs._seq_no,docs._primary_term",
}


class _Place(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    found: bool = False
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    primary_term: int = msgspec.field(name="_primary_term", default=0)


class _Verdict(msgspec.Struct):
    status: int


class _Answer(msgspec.Struct):
    items: list[dict[str, _Verdict]]


async def replace(engine: Engine, index: str, items: Sequence[Item]) -> int:
    """Put each of ``items`` in the place of the document with its id; how many were replaced.

    A document that is not there any more, or that somebody changed in the meantime, is left as it
    is. Only the backing index that holds a document can replace it, and only by its sequence
    number: a data stream takes nothing but new documents.
    """
    answer = await engine.request("GET", f"_data_stream/{index}", missing_ok=True)
    streams = (answer or {}).get("data_streams") or []
    left = {item.id: item for item in items}
    replaced = 0
    # The newest first: that is where most of them are.
    for backing in reversed([each["index_name"] for one in streams for each in one["indices"]]):
        if not left:
            break
        found = await engine.request(
            "POST", f"{backing}/_mget", {"ids": list(left)}, params=_PARAMETERS
        )
        body = bytearray()
        for place in msgspec.convert(found["docs"], list[_Place]):
            if place.found:
                action = {
                    "_id": place.id,
                    "if_seq_no": place.seq_no,
                    "if_primary_term": place.primary_term,
                }
                body += msgspec.json.encode({"index": action})
                body += b"\n%b\n" % left.pop(place.id).source
        if body:
            said = await engine.bulk(backing, bytes(body))
            verdicts = msgspec.json.decode(said, type=_Answer).items
            replaced += sum(one["index"].status in (200, 201) for one in verdicts)
    return replaced

"""The index that keeps a state for a collector without a disk.

A state is a *head* document and the *segments* that the head names. Segments are written once and
never changed; the head is replaced by its sequence number only, so that of two collectors one
notices that the other has taken over. All of them are read by their id, which sees what was just
written and needs no refresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineRefusedError
from aquila_mde.errors import AquilaError

_PACKAGE = "aquila_mde"
_CONFLICT = 409
_LARGE_ANSWER = 4
"""Segments in one answer: each is up to a few megabytes."""
_INDEX: dict[str, Any] = {
    "settings": {
        "index": {
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
            "hidden": True,
            # Only forgetting searches, and it may come later.
            "refresh_interval": "30s",
        }
    },
    "mappings": {
        "dynamic": "strict",
        "_meta": {"managed_by": "aquila"},
        "properties": {
            "key": {"type": "keyword"},
            "epoch": {"type": "long"},
            "number": {"type": "long"},
            "head": {"type": "object", "enabled": False},
            "rows": {"type": "binary"},
        },
    },
}
_log = structlog.get_logger(__name__)


class Head(msgspec.Struct, frozen=True):
    """Who holds a state, and which segments it consists of."""

    format: int
    """Of the rows in the segments and in ``rows``."""
    epoch: int
    """How often the state has changed hands."""
    owner: str
    """Machine and process, for people."""
    run: str
    """The owner, for programs: no other process has the same."""
    patience: float
    """Seconds without a sign of life after which the owner may be taken for dead."""
    beat: int = 0
    """Counts the writes of this owner."""
    released: bool = False
    """Whether the owner has let go."""
    segments: tuple[tuple[int, int, int], ...] = ()
    """Epoch, first and last number of each stretch of segments, in the order of their writing."""
    size: int = 0
    """Bytes of the segments."""
    least: int = 0
    """Bytes that they had when they were last written anew."""
    rows: bytes = b""
    """What has changed since the last segment."""

    def numbers(self) -> list[tuple[int, int]]:
        """Epoch and number of each segment, in order."""
        return [
            (epoch, number)
            for epoch, first, last in self.segments
            for number in range(first, last + 1)
        ]


@dataclass(frozen=True, slots=True)
class Place:
    """Which version of a head is in the index."""

    seq_no: int
    primary_term: int


@dataclass(frozen=True, slots=True)
class Found:
    """A head, and the version that it is."""

    head: Head
    place: Place


class StateIndex:
    """What the index of one namespace keeps under one key."""

    def __init__(self, engine: Engine, namespace: str, key: str) -> None:
        self.name = state_index(_PACKAGE, namespace)
        self.host = engine.place.host
        self._engine = engine
        self._key = key

    async def create(self) -> None:
        """Make the index unless it is there."""
        try:
            await self._engine.request("PUT", self.name, _INDEX)
        except EngineRefusedError as error:
            if error.error_type != "resource_already_exists_exception":
                raise

    async def head(self) -> Found | None:
        """The head as it was written last, or ``None``."""
        answer = await self._engine.request("GET", f"{self.name}/_doc/{self._key}", missing_ok=True)
        if not answer or not answer.get("found"):
            return None
        source = answer["_source"]
        head = msgspec.convert(source["head"] | {"rows": source["rows"]}, Head)
        return Found(head, Place(answer["_seq_no"], answer["_primary_term"]))

    async def format(self) -> int | None:
        """The format that the head says, whatever else it holds; ``None`` without a head."""
        answer = await self._engine.request("GET", f"{self.name}/_doc/{self._key}", missing_ok=True)
        if not answer or not answer.get("found"):
            return None
        return int(answer["_source"]["head"]["format"])

    async def put(self, head: Head, place: Place | None) -> Place | None:
        """Replace the head at ``place`` (``None``: there is none yet).

        ``None`` when somebody else has written it in the meantime.
        """
        fields = msgspec.to_builtins(head)
        rows = fields.pop("rows")
        body = {"key": self._key, "head": fields, "rows": rows}
        while True:
            if place is None:
                path, params = f"{self.name}/_create/{self._key}", {}
            else:
                path = f"{self.name}/_doc/{self._key}"
                params = {"if_seq_no": place.seq_no, "if_primary_term": place.primary_term}
            # 404: the whole index is gone, and the engine may not make up a new one.
            answer = await self._engine.request(
                "PUT", path, body, params=params, ok=(200, 201, 404, _CONFLICT)
            )
            if "_seq_no" in answer:
                return Place(answer["_seq_no"], answer["_primary_term"])
            found = await self.head()
            if found is None or found.head.run != head.run:
                return None
            if found.head == head:
                return found.place
            # The answer to an earlier write of ours was lost.
            place = found.place

    async def put_segment(self, epoch: int, number: int, rows: bytes) -> None:
        """Write a segment. Its id holds the epoch, so nobody writes it but the owner."""
        await self._engine.request(
            "PUT",
            f"{self.name}/_doc/{self._segment(epoch, number)}",
            {
                "key": self._key,
                "epoch": epoch,
                "number": number,
                "rows": msgspec.to_builtins(rows),
            },
        )

    async def segments(self, numbers: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The segments with these epochs and numbers; ``None`` for one that is gone."""
        ids = [self._segment(*each) for each in numbers]
        answer = await self._engine.request(
            "POST",
            f"{self.name}/_mget",
            {"ids": ids},
            params={"filter_path": "docs._id,docs.found,docs._source.rows"},
        )
        return [
            msgspec.convert(each["_source"]["rows"], bytes) if each.get("found") else None
            for each in answer["docs"]
        ]

    async def forget(self, epoch: int, number: int) -> None:
        """Delete the segments before this one, which no head names any more.

        What cannot be deleted now stays in nobody's way, and goes with the next.
        """
        query = {
            "bool": {
                "filter": [{"term": {"key": self._key}}],
                "should": [
                    {"range": {"epoch": {"lt": epoch}}},
                    {
                        "bool": {
                            "filter": [
                                {"term": {"epoch": epoch}},
                                {"range": {"number": {"lt": number}}},
                            ]
                        }
                    },
                ],
                "minimum_should_match": 1,
            }
        }
        await self._delete(query)

    async def remove(self, segments: Sequence[tuple[int, int]]) -> None:
        """Delete the head and these ``segments``."""
        path = f"{self.name}/_doc"
        await self._engine.request("DELETE", f"{path}/{self._key}", missing_ok=True)
        for each in segments:
            await self._engine.request("DELETE", f"{path}/{self._segment(*each)}", missing_ok=True)

    async def _delete(self, query: dict[str, Any]) -> None:
        try:
            await self._engine.request(
                "POST",
                f"{self.name}/_delete_by_query",
                {"query": query},
                params={"conflicts": "proceed"},
            )
        except AquilaError as error:
            _log.warning("Old segments of the state stay", index=self.name, reason=error.message)

    def _segment(self, epoch: int, number: int) -> str:
        return f"{self._key}.{epoch}.{number}"


def state_index(package: str, namespace: str) -> str:
    """The index for the states of one namespace; ``*`` for all of them."""
    return f"{package}-state-{namespace}"


async def state_indices(engine: Engine, package: str) -> list[str]:
    """The names of all indices that keep states."""
    answer = await engine.request(
        "GET",
        f"{state_index(package, '*')}/_settings",
        params={"expand_wildcards": "all", "allow_no_indices": "true"},
        missing_ok=True,
    )
    return sorted(answer or {})


def in_groups(numbers: Sequence[tuple[int, int]]) -> list[Sequence[tuple[int, int]]]:
    """``numbers`` in the groups in which their segments are read."""
    return [
        numbers[start : start + _LARGE_ANSWER] for start in range(0, len(numbers), _LARGE_ANSWER)
    ]

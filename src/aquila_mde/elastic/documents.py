"""Documents on their way to the engine, as the lines of a bulk request."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import msgspec

_encode = msgspec.json.Encoder().encode
ACTION = b'{"create":{"_id":'
"""What the line before each document begins with; the id follows as a JSON string."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One document: its `_id` and its source, one line of JSON without the newline."""

    id: str
    source: bytes


class Documents:
    """Documents that are sent together. Until one of them has to be looked at there is no object
    for each, and no copy of it.

    ``body`` are pieces of a bulk request, each of whole lines; two lines for each of ``ids``, the
    action and the source. ``starts``, where it is known, has the place of each piece's first
    document.
    """

    def __init__(self, ids: list[str], body: list[bytes], starts: Sequence[int] = ()) -> None:
        self.ids = ids
        self.body = body
        self.size = sum(map(len, body))
        self._starts = starts
        self._split: dict[int, list[bytes]] = {}
        """The lines of the pieces that were looked into."""

    @classmethod
    def of(cls, items: Documents | Sequence[Item]) -> Documents:
        """``items`` as the lines of a bulk request."""
        if isinstance(items, Documents):
            return items
        pieces: list[bytes] = []
        for item in items:
            # A line break can only be white space between tokens in JSON.
            source = item.source.replace(b"\n", b" ")
            pieces += (ACTION, _encode(item.id), b"}}\n", source, b"\n")
        return cls([item.id for item in items], [b"".join(pieces)])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Item:
        return Item(self.ids[place], self._lines_of(place)[1])

    def length(self, place: int) -> int:
        """The bytes that one document takes."""
        action, source = self._lines_of(place)
        return len(action) + len(source) + 2

    def lines(self, places: Sequence[int]) -> list[bytes]:
        """The body of a request that sends those at ``places`` only, in pieces."""
        if len(places) == len(self.ids):
            return self.body
        return [b"".join([b"%b\n%b\n" % self._lines_of(place) for place in places])]

    def only(self, places: Sequence[int]) -> Documents:
        """Those at ``places``."""
        if len(places) == len(self.ids):
            return self
        return Documents([self.ids[place] for place in places], self.lines(places))

    def _lines_of(self, place: int) -> tuple[bytes, bytes]:
        """The action and the source of one document."""
        if not self._starts:
            counts = (piece.count(b"\n") // 2 for piece in self.body)
            self._starts = list(accumulate(counts, initial=0))
        piece = bisect_right(self._starts, place) - 1
        lines = self._split.get(piece)
        if lines is None:
            lines = self._split[piece] = self.body[piece].split(b"\n")
        at = 2 * (place - self._starts[piece])
        return lines[at], lines[at + 1]

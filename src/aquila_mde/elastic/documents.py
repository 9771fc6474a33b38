"""Documents on their way to the engine, as the lines of a bulk request."""

from __future__ import annotations

from collections.abc import Sequence

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
    action and the source.
    """

    def __init__(self, ids: list[str], body: list[bytes]) -> None:
        self.ids = ids
        self.body = body
        self.size = sum(map(len, body))
        self._lines: list[bytes] = []

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
        return Item(self.ids[place], self._each()[2 * place + 1])

    def length(self, place: int) -> int:
        """The bytes that one document takes."""
        action, source = self._each()[2 * place : 2 * place + 2]
        return len(action) + len(source) + 2

    def lines(self, places: Sequence[int]) -> list[bytes]:
        """The body of a request that sends those at ``places`` only, in pieces."""
        if len(places) == len(self.ids):
            return self.body
        each = self._each()
        return [b"".join([b"%b\n%b\n" % (each[2 * at], each[2 * at + 1]) for at in places])]

    def only(self, places: Sequence[int]) -> Documents:
        """Those at ``places``."""
        if len(places) == len(self.ids):
            return self
        return Documents([self.ids[place] for place in places], self.lines(places))

    def _each(self) -> list[bytes]:
        if not self._lines:
            self._lines = b"".join(self.body).split(b"\n")
        return self._lines

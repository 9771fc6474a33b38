"""Documents on their way to the engine, and what has to be known of them once it has answered."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aquila_mde.collect.identity import Version
from aquila_mde.collect.joins import Joined, Missing
from aquila_mde.collect.state import ExportMark
from aquila_mde.elastic.bulk import Documents


class Fresh(msgspec.Struct, gc=False):
    """Documents that are sent."""

    documents: Documents
    missing: dict[int, Missing]
    """What the joins of some of them did not find, by their place."""
    versions: list[Version]
    """What each of them is; empty where nothing of it is written down."""

    def only(self, places: Sequence[int]) -> Fresh:
        """Those at ``places``, which are in order."""
        if len(places) == len(self.documents):
            return self
        return Fresh(
            self.documents.only(places),
            {new: self.missing[old] for new, old in enumerate(places) if old in self.missing},
            [self.versions[place] for place in places] if self.versions else [],
        )


class Gathered:
    """Lines of an export that are sent together."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.export: ExportMark | None = None
        self._body: list[bytes] = []
        self._missing: dict[int, Missing] = {}

    def add(self, ids: list[bytes], body: bytes, joined: Joined) -> None:
        """Put lines behind those that are there."""
        for place, missing in joined.missing.items():
            self._missing[len(self.ids) + place] = missing
        self.ids += ids
        self._body.append(body)

    def fresh(self) -> Fresh:
        """The documents of all of them."""
        ids = b"\n".join(self.ids).decode().split("\n")
        return Fresh(Documents(ids, self._body), self._missing, [])

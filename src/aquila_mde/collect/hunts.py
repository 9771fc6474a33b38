"""The hunting queries of a tenant: each is a stream of its own that shares one data stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from aquila_mde.defender.times import Ticks, format_ticks, ticks_of
from aquila_mde.settings import Settings
from aquila_mde.streams.casing import camel_case
from aquila_mde.streams.collect_spec import Identity, Part
from aquila_mde.streams.hunts import LONGEST, NamedHunt, chosen_hunts, load_hunts
from aquila_mde.streams.stream import Stream


def hunts_of(stream: Stream, settings: Settings) -> list[NamedHunt]:
    """The queries of the package and of the settings' folder that the settings choose.

    Raises an error that names every fault of every file, or a query that does not exist.
    """
    folders = [stream.folder / "queries"]
    if settings.hunting.folder is not None:
        folders.append(settings.hunting.folder)
    return chosen_hunts(load_hunts(folders), settings.hunting.queries, settings.hunting.api)


@dataclass(frozen=True)
class HuntStream:
    """One query, and the stream that it is."""

    hunt: NamedHunt
    stream: Stream
    """As the query is collected: with its overlap, its look-back and its identity."""

    @property
    def scope(self) -> str:
        """What the state remembers it by, and messages call it."""
        return scope_of(self.stream.name, self.hunt.name)

    @property
    def bin(self) -> Ticks | None:
        """The time that one row stands for, where it is no moment."""
        return ticks_of(self.hunt.hunt.bin) if self.hunt.hunt.bin else None

    def over(self, now: Ticks) -> Ticks:
        """The end of the last bin whose rows have had their time to become visible by ``now``."""
        if self.bin is None:
            return now
        cursor = self.stream.collect.cursor
        overlap = ticks_of(cursor.overlap) if cursor else 0
        return (now - overlap) // self.bin * self.bin

    def told(self, start: Ticks, end: Ticks) -> dict[str, Any]:
        """What the documents of a slice say of the query that found them."""
        hunt = self.hunt.hunt
        return {
            "name": self.hunt.name,
            "title": hunt.title,
            "description": hunt.description.strip(),
            "query_hash": self.hunt.digest,
            "table": self.hunt.table,
            "tactics": list(hunt.tactics),
            "techniques": list(hunt.techniques),
            "mapping": {camel_case(name): column for name, column in hunt.mapping.items()},
            "slice_start": format_ticks(start),
            "slice_end": format_ticks(end),
        }


def scope_of(stream: str, hunt: str) -> str:
    """What the state remembers a query by."""
    return f"{stream}/{hunt}"


def hunt_stream(stream: Stream, hunt: NamedHunt, look_back: timedelta | None) -> HuntStream:
    """``hunt`` as a stream. ``look_back`` is that of the settings and has the say."""
    spec, said = stream.collect, hunt.hunt
    cursor = spec.cursor
    if cursor is None:  # pragma: no cover - the model of collect.yml asks for it
        raise ValueError("a hunting stream has a cursor")
    back = min(look_back or said.look_back or cursor.look_back, LONGEST)
    cursor = cursor.model_copy(
        update={"overlap": said.overlap or cursor.overlap, "look_back": back}
    )
    ids = tuple(map(camel_case, said.ids))
    parts = (Part(text=hunt.name), Part(columns_or_all=ids))
    collect = spec.model_copy(
        update={
            "cursor": cursor,
            "sweep": None if said.bin else spec.sweep,
            "interval": said.interval or spec.interval,
            "identity": Identity(entity=spec.identity.entity, parts=parts),
        }
    )
    return HuntStream(hunt, replace(stream, collect=collect))

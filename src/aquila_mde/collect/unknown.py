"""Notices properties that mapping.yml does not know: what Microsoft has added since.

They are not lost: the pipeline keeps them in ``mde.<stream>.extra``. What the records of one answer
have is much alike, so a few of them are looked at, which costs nothing that could be measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import structlog

from aquila_mde.streams.casing import camel_case
from aquila_mde.streams.mapping_spec import MappingSpec, Row
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.yaml_source import load

_log = structlog.get_logger(__name__)
_ONE_OF = 64
"""Of so many records that come together one is looked at, and the last one."""
_MEMBERS = 4
"""So many members of each of its lists are."""
_MOST = 100
"""Names that are told of a stream; an object whose names are data would have no end."""
_NOTHING: tuple[Any, ...] = (None, "", [], {})

Known = Mapping[str, "Known"]
"""The names that are known, each with those below it; none: what is below is kept as it is."""


class PropertyWatch:
    """Looks at records of one stream. Each name is told once, in the log.

    Of hunting nothing is looked at: the names of its columns are those that a query gives them.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream.name
        hunts = stream.collect.strategy == "hunting"
        self._known: Known = {} if hunts else known_properties(stream.folder)
        self.names: set[str] = set()
        """What was found so far, as ``evidence.newProperty``."""

    def look(self, records: Sequence[msgspec.Raw | bytes]) -> None:
        """Look at some of ``records``, which came together: the newest is often the last."""
        if self._known:
            for record in records[::_ONE_OF]:
                self._look_at(record)
            if len(records) > 1:
                self._look_at(records[-1])

    def look_at_lines(self, text: bytes) -> None:
        """Look at the first line of ``text``."""
        if self._known:
            end = text.find(b"\n")
            self._look_at(text if end < 0 else text[:end])

    def _look_at(self, record: msgspec.Raw | bytes) -> None:
        try:
            values = msgspec.json.decode(record)
        except msgspec.DecodeError:
            return  # told by who has to deliver it
        if not isinstance(values, dict):
            return
        for name in unknown_in(values, self._known):
            if name not in self.names and len(self.names) < _MOST:
                self.names.add(name)
                _log.warning(
                    "The service gives a property that is not mapped",
                    stream=self._stream,
                    property=name,
                )


@cache
def known_properties(folder: Path) -> Known:
    """What the mapping.yml of a stream knows; nothing where it cannot be read."""
    mapping, _, faults = load(MappingSpec, folder / "mapping.yml")
    return {} if mapping is None or faults else _names(mapping.properties)


def unknown_in(values: Mapping[str, Any], known: Known, place: str = "") -> Iterator[str]:
    """The names in ``values`` that are not known, with those that they are below."""
    for spelled, value in values.items():
        # The pipeline drops what says nothing; what begins with @ is about the answer (OData).
        if value in _NOTHING or spelled.startswith("@"):
            continue
        name = camel_case(spelled)
        below = known.get(name)
        if below is None:
            yield place + name
        elif below:
            for member in value[:_MEMBERS] if isinstance(value, list) else (value,):
                if isinstance(member, dict):
                    yield from unknown_in(member, below, f"{place}{name}.")


def _names(rows: Mapping[str, Row]) -> Known:
    return {name: _names(row.rows) for key, row in rows.items() for name in (key, *row.otherwise)}

"""Where the index holds a property of a record, as ``mapping.yml`` says."""

from __future__ import annotations

from aquila_mde.streams.faults import raise_if_any
from aquila_mde.streams.mapping_spec import MappingSpec, snake_case
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.yaml_source import load


def indexed_field(stream: Stream, name: str) -> str | None:
    """The field that holds the property ``name`` unchanged; ``None`` when no document does.

    Raises an error that lists every fault of a ``mapping.yml`` that cannot be read.
    """
    mapping, _, faults = load(MappingSpec, stream.folder / "mapping.yml")
    raise_if_any(faults)
    row = mapping.properties.get(name) if mapping else None
    if row is None:
        return None
    own = f"mde.{stream.name}"
    if row.keep:
        return f"{own}.{row.name or snake_case(name)}"
    unchanged = (target for target, steps in row.to.items() if not steps)
    target = next(unchanged, None)
    return target if target is None or target[0] != "~" else f"{own}.{target[1:]}"

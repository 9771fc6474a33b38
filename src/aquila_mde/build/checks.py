"""What a ``mapping.yml`` can get wrong although every key in it is known."""

from __future__ import annotations

from aquila_mde.build.library import Library
from aquila_mde.streams.faults import Fault
from aquila_mde.streams.mapping_spec import MappingSpec
from aquila_mde.streams.yaml_source import YamlSource


def check_mapping(spec: MappingSpec, source: YamlSource, library: Library) -> list[Fault]:
    """Every fault of one mapping, each with its line."""
    return []

"""The mappings of a package tree, checked against ECS and the library they draw on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aquila_mde.build.checks import check_mapping
from aquila_mde.build.library import Library, load_library
from aquila_mde.streams.faults import FaultsFoundError, raise_if_any
from aquila_mde.streams.mapping_spec import MappingSpec
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import YamlSource, load, read_yaml


@dataclass(frozen=True)
class Mapping:
    """One ``mapping.yml`` without a fault."""

    stream: str
    folder: Path
    dataset: str
    spec: MappingSpec
    source: YamlSource


def load_mappings(tree: PackageTree) -> tuple[list[Mapping], Library]:
    """Every mapping by the name of its stream, and the library.

    Raises one error that lists every fault of every file.
    """
    library, faults = load_library(tree)
    mappings: list[Mapping] = []
    for folder in tree.data_streams():
        file = folder / "mapping.yml"
        if not file.is_file():
            continue
        spec, source, found = load(MappingSpec, file)
        faults += found
        if spec is None or source is None:
            continue
        if library is not None:
            faults += check_mapping(spec, source, library)
        manifest, found = read_yaml(folder / "manifest.yml")
        faults += found
        values = manifest.values if manifest and isinstance(manifest.values, dict) else {}
        dataset = str(values.get("dataset", f"aquila_mde.{folder.name}"))
        mappings.append(Mapping(folder.name, folder, dataset, spec, source))
    if library is None:
        raise FaultsFoundError(faults)
    raise_if_any(faults)
    return mappings, library

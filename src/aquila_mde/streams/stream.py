"""The streams of a package tree, as their folders declare them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aquila_mde.streams.collect_spec import CollectSpec
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.mapping_spec import MappingSpec
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import YamlSource, load, read_yaml


@dataclass(frozen=True)
class Stream:
    """One folder of ``data_stream/`` that has a ``collect.yml``."""

    name: str
    folder: Path
    title: str
    dataset: str
    collect: CollectSpec
    joined_properties: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each join, the properties of the partner that mapping.yml has rows for."""

    def index(self, namespace: str) -> str:
        """The data stream that the records of ``namespace`` are written to."""
        return f"logs-{self.dataset}-{namespace}"


def load_streams(tree: PackageTree) -> list[Stream]:
    """Every collected stream, by name. Raises one error that lists every fault of every file."""
    streams: list[Stream] = []
    faults: list[Fault] = []
    for folder in tree.data_streams():
        if not (folder / "collect.yml").is_file():
            continue
        spec, source, found = load(CollectSpec, folder / "collect.yml")
        faults += found
        title, dataset, found = _manifest(folder)
        faults += found
        if spec is not None and source is not None:
            properties, found = _joined_properties(folder, spec, source)
            faults += found
            streams.append(Stream(folder.name, folder, title, dataset, spec, properties))
    if not streams and not faults:
        faults.append(Fault(tree.root / "data_stream", 1, "", "holds no stream with a collect.yml"))
    faults += _unknown_sources(streams)
    raise_if_any(faults)
    return streams


def _joined_properties(
    folder: Path, spec: CollectSpec, source: YamlSource
) -> tuple[dict[str, tuple[str, ...]], list[Fault]]:
    if not spec.joins:
        return {}, []
    mapping, _, faults = load(MappingSpec, folder / "mapping.yml")
    if mapping is None:
        return {}, faults
    found: dict[str, tuple[str, ...]] = {}
    for name in spec.joins:
        if name in mapping.joins:
            found[name] = tuple(mapping.joins[name].properties)
        else:
            faults.append(source.fault(("joins", name), "has no rows under joins in mapping.yml"))
    return found, faults


def _unknown_sources(streams: list[Stream]) -> list[Fault]:
    names = {stream.name for stream in streams}
    return [
        Fault(
            stream.folder / "collect.yml", 1, f"joins.{name}.stream", f"there is no {join.stream}"
        )
        for stream in streams
        for name, join in stream.collect.joins.items()
        if join.stream is not None and join.stream not in names
    ]


def _manifest(folder: Path) -> tuple[str, str, list[Fault]]:
    source, faults = read_yaml(folder / "manifest.yml")
    if source is None:
        return "", "", faults
    values: dict[str, Any] = source.values if isinstance(source.values, dict) else {}
    for key in ("title", "type"):
        if not isinstance(values.get(key), str):
            faults.append(source.fault((key,), "is missing"))
    if values.get("type") not in (None, "logs"):
        faults.append(source.fault(("type",), "must be logs"))
    dataset = str(values.get("dataset", f"aquila_mde.{folder.name}"))
    return str(values.get("title", "")), dataset, faults

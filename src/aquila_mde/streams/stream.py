"""The streams of a package tree, as their folders declare them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aquila_mde.streams.collect_spec import CollectSpec
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import load, read_yaml


@dataclass(frozen=True)
class Stream:
    """One folder of ``data_stream/`` that has a ``collect.yml``."""

    name: str
    folder: Path
    title: str
    dataset: str
    collect: CollectSpec

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
        spec, _, found = load(CollectSpec, folder / "collect.yml")
        faults += found
        title, dataset, found = _manifest(folder)
        faults += found
        if spec is not None:
            streams.append(Stream(folder.name, folder, title, dataset, spec))
    if not streams and not faults:
        faults.append(Fault(tree.root / "data_stream", 1, "", "holds no stream with a collect.yml"))
    raise_if_any(faults)
    return streams


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

"""What the manifests of the package say about the engine, and the names that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aquila_mde.streams.faults import Fault, FaultsFoundError, raise_if_any
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import read_yaml

Json = dict[str, Any]


@dataclass(frozen=True)
class DataStream:
    """One folder of ``data_stream/`` with what its manifest says of the engine."""

    folder: Path
    dataset: str
    ilm_policy: str | None
    settings: Json = field(default_factory=dict)
    mappings: Json = field(default_factory=dict)

    @property
    def base(self) -> str:
        """What the names of its objects begin with."""
        return f"logs-{self.dataset}"

    @property
    def pattern(self) -> str:
        """The data streams that it is for, one for each namespace."""
        return f"{self.base}-*"

    @property
    def template(self) -> str:
        """The index template's name."""
        return self.base

    @property
    def component(self) -> str:
        """The component template's name."""
        return f"{self.base}@package"

    def pipeline(self, version: str, name: str = "") -> str:
        """The name of the entry pipeline, or of the one in the file ``name``."""
        return f"{self.base}-{version}-{name}" if name else f"{self.base}-{version}"


@dataclass(frozen=True)
class Package:
    """The package as its manifests describe it."""

    name: str
    version: str
    streams: list[DataStream]
    kibana: str = ""
    """The versions of Kibana that it is made for, ``^8.19.0 || ^9.1.0``."""

    @property
    def globals(self) -> str:
        """The component template that every data stream of the package shares."""
        return f"logs-{self.name}@globals"

    @property
    def final_pipeline(self) -> str:
        """The pipeline that every document passes last."""
        return f"logs-{self.name}@final"

    def custom_components(self, stream: DataStream) -> list[str]:
        """Component templates a user may create, the weakest first."""
        return ["logs@custom", f"{self.name}@custom", f"{stream.base}@custom"]

    def custom_pipelines(self, stream: DataStream) -> list[str]:
        """Pipelines a user may create, in the order in which they are called."""
        return [
            "global@custom",
            "logs@custom",
            f"logs-{self.name}.integration@custom",
            f"{stream.base}@custom",
        ]


def read_package(tree: PackageTree) -> Package:
    """The manifests of ``tree``; raises one error that lists every fault in them."""
    faults: list[Fault] = []
    source, found = read_yaml(tree.manifest)
    faults += found
    values = source.values if source and isinstance(source.values, dict) else {}
    faults += [
        source.fault((key,), "is missing")
        for key in ("name", "version")
        if source is not None and not isinstance(values.get(key), str)
    ]
    streams = []
    for folder in tree.data_streams():
        stream, found = _read_stream(folder, str(values.get("name")))
        faults += found
        streams.append(stream)
    raise_if_any(faults)
    kibana = ((values.get("conditions") or {}).get("kibana") or {}).get("version")
    return Package(values["name"], values["version"], streams, str(kibana or ""))


def _read_stream(folder: Path, package: str) -> tuple[DataStream, list[Fault]]:
    source, faults = read_yaml(folder / "manifest.yml")
    values: Json = source.values if source and isinstance(source.values, dict) else {}
    template = ((values.get("elasticsearch") or {}).get("index_template")) or {}
    stream = DataStream(
        folder=folder,
        dataset=str(values.get("dataset", f"{package}.{folder.name}")),
        ilm_policy=values.get("ilm_policy"),
        settings=template.get("settings") or {},
        mappings=template.get("mappings") or {},
    )
    policy = stream.ilm_policy
    if source is not None and policy and policy.startswith(f"{stream.base}-"):
        file = f"{policy.removeprefix(f'{stream.base}-')}.json"
        if not (folder / "elasticsearch" / "ilm" / file).is_file():
            faults.append(source.fault(("ilm_policy",), f"needs elasticsearch/ilm/{file}"))
    return stream, faults


def read_mapping(file: Path, *needed: str) -> Json:
    """The mapping that ``file`` (YAML or JSON) holds, with mappings under the ``needed`` keys."""
    source, faults = read_yaml(file)
    if source is None:
        raise FaultsFoundError(faults)
    values: Json = source.values if isinstance(source.values, dict) else {}
    if not isinstance(source.values, dict):
        faults.append(Fault(file, 1, "", "must hold a mapping"))
    faults += [
        source.fault((key,), "is missing")
        for key in needed
        if not isinstance(values.get(key), dict)
    ]
    raise_if_any(faults)
    return values

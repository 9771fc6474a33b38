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
class Transform:
    """One transform of the package: what it makes of which data, and the index that it fills."""

    folder: Path
    package: str
    definition: Json
    """``transform.yml``."""
    start: bool = True
    settings: Json = field(default_factory=dict)
    mappings: Json = field(default_factory=dict)

    @property
    def base(self) -> str:
        """What the names of its objects begin with."""
        return f"logs-{self.package}.{self.folder.name}"

    @property
    def version(self) -> str:
        """Changes when what it has made must be made anew."""
        return str((self.definition.get("_meta") or {}).get("fleet_transform_version", "0.1.0"))

    @property
    def ids(self) -> str:
        """What matches the transforms of every version."""
        return f"{self.base}-default-*"

    @property
    def id(self) -> str:
        """The name of the transform itself."""
        return f"{self.base}-default-{self.version}"

    @property
    def index(self) -> str:
        """The index that it fills."""
        return str(self.definition["dest"]["index"])

    @property
    def alias(self) -> str:
        """The name that the index is read by."""
        aliases = self.definition["dest"].get("aliases") or [{"alias": self.index}]
        return str(aliases[0]["alias"])

    @property
    def template(self) -> str:
        """The template of the index."""
        return f"{self.base}-template"

    @property
    def component(self) -> str:
        """The component template with the mappings of the index."""
        return f"{self.template}@package"

    @property
    def custom(self) -> str:
        """The component template that a user may create."""
        return f"{self.template}@custom"


@dataclass(frozen=True)
class Package:
    """The package as its manifests describe it."""

    name: str
    version: str
    streams: list[DataStream]
    kibana: str = ""
    """The versions of Kibana that it is made for, ``^8.19.0 || ^9.1.0``."""
    transforms: list[Transform] = field(default_factory=list)

    @property
    def globals(self) -> str:
        """The component template that every data stream of the package shares."""
        return f"logs-{self.name}@globals"

    @property
    def latest_progress(self) -> str:
        """Where it is noted how far the newest versions were read, where no transform does it."""
        return progress_index(self.name)

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


def progress_index(package: str) -> str:
    """The index that notes how far the newest versions were read."""
    return f"{package}-latest"


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
    transforms = []
    for file in sorted(tree.transforms.glob("*/transform.yml")):
        transform, found = _read_transform(file, str(values.get("name")))
        faults += found
        transforms += [] if transform is None else [transform]
    raise_if_any(faults)
    kibana = ((values.get("conditions") or {}).get("kibana") or {}).get("version")
    return Package(values["name"], values["version"], streams, str(kibana or ""), transforms)


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


def _read_transform(file: Path, package: str) -> tuple[Transform | None, list[Fault]]:
    source, faults = read_yaml(file)
    values: Json = source.values if source and isinstance(source.values, dict) else {}
    for key in ("source", "dest"):
        part = values.get(key)
        if source is not None and not (isinstance(part, dict) and part.get("index")):
            faults.append(source.fault((key, "index"), "is missing"))
    manifest, found = read_yaml(file.with_name("manifest.yml"))
    faults += found
    said: Json = manifest.values if manifest and isinstance(manifest.values, dict) else {}
    template = said.get("destination_index_template") or {}
    if faults:
        return None, faults
    return (
        Transform(
            folder=file.parent,
            package=package,
            definition=values,
            start=bool(said.get("start", True)),
            settings=template.get("settings") or {},
            mappings=template.get("mappings") or {},
        ),
        [],
    )


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

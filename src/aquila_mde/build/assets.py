"""What the mappings of a package tree are built into: ingest pipelines, fields, transforms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aquila_mde.build.fields import declared_types, render_fields
from aquila_mde.build.mappings import load_mappings
from aquila_mde.build.pipeline import SCRIPT_LIMIT, render_pipeline, script_sizes
from aquila_mde.build.plan import plan_mapping
from aquila_mde.build.transforms import latest_faults, render_transform
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.latest import transform_name
from aquila_mde.streams.tree import PackageTree

MODULE = "aquila_mde"


@dataclass(frozen=True)
class BuiltFile:
    """One file that is built and checked in."""

    path: Path
    content: str


def assets(tree: PackageTree, *, module: str = MODULE) -> list[BuiltFile]:
    """Every built file of ``tree`` as it must be. Raises an error that lists all faults.

    ``module`` becomes ``event.module``: Kibana offers response actions by it.
    """
    mappings, library = load_mappings(tree)
    built: list[BuiltFile] = []
    faults: list[Fault] = []
    for mapping in mappings:
        plan = plan_mapping(mapping.stream, mapping.spec, library)
        names = {"dataset": mapping.dataset, "module": module}
        pipeline = render_pipeline(plan, library, tree.pipelines, **names)
        faults += [
            Fault(
                mapping.folder / "mapping.yml",
                1,
                "",
                f"makes a script of {size} bytes; engines take {SCRIPT_LIMIT} ({tag})",
            )
            for tag, size in script_sizes(pipeline).items()
            if size > SCRIPT_LIMIT
        ]
        built.append(
            BuiltFile(
                mapping.folder / "elasticsearch" / "ingest_pipeline" / "default.yml", pipeline
            )
        )
        fields = render_fields(mapping.stream, mapping.spec, library, **names)
        built += [
            BuiltFile(mapping.folder / "fields" / name, content) for name, content in fields.items()
        ]
        faults += latest_faults(mapping, declared_types(fields))
        if mapping.spec.latest is not None:
            folder = tree.transforms / transform_name(mapping.stream)
            files = render_transform(mapping, mapping.spec.latest, fields)
            built += [BuiltFile(folder / name, content) for name, content in files.items()]
    raise_if_any(faults)
    return built

"""The built files of a package tree: what they must hold, and whether they do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aquila_mde.build.fields import render_fields
from aquila_mde.build.mappings import load_mappings
from aquila_mde.build.pipeline import render_pipeline
from aquila_mde.build.plan import plan_mapping
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
    for mapping in mappings:
        plan = plan_mapping(mapping.stream, mapping.spec, library)
        built.append(
            BuiltFile(
                mapping.folder / "elasticsearch" / "ingest_pipeline" / "default.yml",
                render_pipeline(plan, library, tree.pipelines, module),
            )
        )
        built += [
            BuiltFile(mapping.folder / "fields" / name, content)
            for name, content in render_fields(
                mapping.stream, mapping.spec, library, module
            ).items()
        ]
    return built


def stale(tree: PackageTree) -> list[Path]:
    """The built files that are missing or differ from what the declarative files say."""
    return [file.path for file in assets(tree) if _current(file.path) != file.content]


def write(tree: PackageTree) -> list[Path]:
    """Bring every built file up to date; the files that changed."""
    changed = []
    for file in assets(tree):
        if _current(file.path) != file.content:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_text(file.content, encoding="utf-8", newline="\n")
            changed.append(file.path)
    return changed


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None

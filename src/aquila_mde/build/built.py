"""Everything that is built and checked in: pipelines and fields, sample events, and the pages."""

from __future__ import annotations

from pathlib import Path

import yaml

from aquila_mde.build.assets import BuiltFile, assets
from aquila_mde.build.docs.pages import DataStreamText, render_pages
from aquila_mde.build.docs.sample import sample_event
from aquila_mde.build.mappings import load_mappings
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree


def built_files(tree: PackageTree) -> list[BuiltFile]:
    """Every built file of ``tree`` as it must be. Raises an error that lists all faults."""
    made = assets(tree)
    return [*made, *_documentation(tree, {file.path: file.content for file in made})]


def stale(tree: PackageTree) -> list[Path]:
    """The built files that are missing or differ from what they are built from."""
    return [file.path for file in built_files(tree) if _current(file.path) != file.content]


def write(tree: PackageTree) -> list[Path]:
    """Bring every built file up to date; the files that changed."""
    changed = []
    for file in built_files(tree):
        if _current(file.path) != file.content:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_text(file.content, encoding="utf-8", newline="\n")
            changed.append(file.path)
    return changed


def _documentation(tree: PackageTree, made: dict[Path, str]) -> list[BuiltFile]:
    files: list[BuiltFile] = []
    texts: list[DataStreamText] = []
    for folder in tree.data_streams():
        sample = sample_event(folder)
        if sample is not None:
            files.append(BuiltFile(folder / "sample_event.json", sample))
        manifest = yaml.safe_load((folder / "manifest.yml").read_text(encoding="utf-8"))
        names = {path for path in made if path.parent == folder / "fields"}
        names |= set((folder / "fields").glob("*.yml"))
        texts.append(
            DataStreamText(
                folder=folder,
                title=str(manifest["title"]),
                fields=tuple(
                    made[path] if path in made else path.read_text(encoding="utf-8")
                    for path in sorted(names)
                ),
                sample=sample,
            )
        )
    mappings, library = load_mappings(tree)
    pages = render_pages(tree, load_streams(tree), mappings, library, texts)
    return files + [
        BuiltFile(tree.root / "docs" / name, content) for name, content in pages.items()
    ]


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None

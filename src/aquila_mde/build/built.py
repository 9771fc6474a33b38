"""Everything that is built and checked in: pipelines, fields, samples, Kibana's objects, pages."""

from __future__ import annotations

from pathlib import Path

import yaml

from aquila_mde.build.assets import BuiltFile, assets
from aquila_mde.build.docs.pages import DataStreamText, Shown, exported_fields, render_pages
from aquila_mde.build.docs.rules import described
from aquila_mde.build.docs.sample import sample_event
from aquila_mde.build.kibana import saved_object, saved_search
from aquila_mde.build.kibana.rule import asset
from aquila_mde.build.mappings import load_mappings
from aquila_mde.build.sigma import sigma_pipeline
from aquila_mde.dashboards.load import Types, load_dashboards
from aquila_mde.hunting_pack.load import load_pack
from aquila_mde.rules.attack import load_attack
from aquila_mde.rules.load import load_rules
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree


def built_files(tree: PackageTree) -> list[BuiltFile]:
    """Every built file of ``tree`` as it must be. Raises an error that lists all faults."""
    made = assets(tree)
    texts = _described(tree, {file.path: file.content for file in made})
    types = _types(texts)
    dashboards = load_dashboards(tree, types)
    pack = load_pack(tree, types)
    rules, attack = load_rules(tree, types), load_attack(tree)
    folder = tree.package / "kibana"
    objects = [
        BuiltFile(folder / "dashboard" / f"{one.id}.json", saved_object(one, dashboards, types))
        for one in dashboards
    ]
    objects += [BuiltFile(folder / "search" / f"{one.id}.json", saved_search(one)) for one in pack]
    objects += [
        BuiltFile(folder / "security_rule" / f"{one.id}.json", asset(one, attack, types))
        for one in rules
    ]
    pipeline = sigma_pipeline(*load_mappings(tree), types)
    objects.append(BuiltFile(tree.package / "sigma" / "aquila_mde.yml", pipeline))
    shown = Shown(dashboards, pack, described(tree, rules, attack))
    return [*made, *_documentation(tree, texts, shown), *objects]


def field_types(tree: PackageTree) -> Types:
    """The type of every field as it is built, by data stream. Raises what ``assets`` raises."""
    return _types(_described(tree, {file.path: file.content for file in assets(tree)}))


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


def _described(tree: PackageTree, made: dict[Path, str]) -> list[DataStreamText]:
    """Every data stream with its field files, those that are built as they must be."""
    texts: list[DataStreamText] = []
    for folder in tree.data_streams():
        manifest = yaml.safe_load((folder / "manifest.yml").read_text(encoding="utf-8"))
        names = {path for path in made if path.parent == folder / "fields"}
        names |= set((folder / "fields").glob("*.yml"))
        fields = (
            made[path] if path in made else path.read_text(encoding="utf-8")
            for path in sorted(names)
        )
        texts.append(
            DataStreamText(folder, str(manifest["title"]), tuple(fields), sample_event(folder))
        )
    return texts


def _types(texts: list[DataStreamText]) -> Types:
    return {
        text.folder.name: {field["name"]: field["type"] for field in exported_fields(text.fields)}
        for text in texts
    }


def _documentation(tree: PackageTree, texts: list[DataStreamText], shown: Shown) -> list[BuiltFile]:
    files = [
        BuiltFile(text.folder / "sample_event.json", text.sample)
        for text in texts
        if text.sample is not None
    ]
    mappings, library = load_mappings(tree)
    pages = render_pages(tree, load_streams(tree), mappings, library, texts, shown=shown)
    return files + [
        BuiltFile(tree.root / "docs" / name, content) for name, content in pages.items()
    ]


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None

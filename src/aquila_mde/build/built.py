"""Everything that is built and checked in: pipelines, fields, samples, Kibana objects and pages."""

from __future__ import annotations

from pathlib import Path

import yaml

from aquila_mde.build.assets import BuiltFile, assets
from aquila_mde.build.docs.pages import DataStreamText, exported_fields, render_pages
from aquila_mde.build.docs.rules import described
from aquila_mde.build.docs.sample import sample_event
from aquila_mde.build.kibana import saved_object
from aquila_mde.build.kibana.rule import asset
from aquila_mde.build.mappings import load_mappings
from aquila_mde.dashboards.load import Dashboard, Types, load_dashboards
from aquila_mde.rules.attack import Attack, load_attack
from aquila_mde.rules.load import Rule, load_rules
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree


def built_files(tree: PackageTree) -> list[BuiltFile]:
    """Every built file of ``tree`` as it must be. Raises an error that lists all faults."""
    made = assets(tree)
    texts = _described(tree, {file.path: file.content for file in made})
    types = _types(texts)
    dashboards = load_dashboards(tree, types)
    folder = tree.package / "kibana" / "dashboard"
    objects = [
        BuiltFile(folder / f"{one.id}.json", saved_object(one, dashboards, types))
        for one in dashboards
    ]
    rules = load_rules(tree, types)
    attack = load_attack(tree)
    folder = tree.package / "kibana" / "security_rule"
    objects += [BuiltFile(folder / f"{one.id}.json", asset(one, attack, types)) for one in rules]
    return [*made, *_documentation(tree, texts, dashboards, rules, attack), *objects]


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


def _documentation(
    tree: PackageTree,
    texts: list[DataStreamText],
    dashboards: list[Dashboard],
    rules: list[Rule],
    attack: Attack,
) -> list[BuiltFile]:
    files = [
        BuiltFile(text.folder / "sample_event.json", text.sample)
        for text in texts
        if text.sample is not None
    ]
    mappings, library = load_mappings(tree)
    pages = render_pages(
        tree,
        load_streams(tree),
        mappings,
        library,
        texts,
        dashboards=dashboards,
        rules=described(tree, rules, attack),
    )
    return files + [
        BuiltFile(tree.root / "docs" / name, content) for name, content in pages.items()
    ]


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None

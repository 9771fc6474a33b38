"""Renders the templates of ``package/docs/``: a page for each stream, an index, a README."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound

from aquila_mde.build.docs.rows import FieldTable
from aquila_mde.build.docs.rules import RulePage, spoken
from aquila_mde.build.library import Library
from aquila_mde.build.mappings import Mapping
from aquila_mde.build.sigma import taxonomy
from aquila_mde.dashboards.load import Dashboard
from aquila_mde.hunting_pack.load import PackQuery
from aquila_mde.hunting_pack.spec import LANGUAGES
from aquila_mde.streams.cost import costs, duration, number
from aquila_mde.streams.faults import Fault, FaultsFoundError
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import parse_yaml


@dataclass(frozen=True)
class DataStreamText:
    """What was built of one data stream, as text."""

    folder: Path
    title: str
    fields: tuple[str, ...]
    """Its field files."""
    sample: str | None


@dataclass(frozen=True)
class Shown:
    """What Kibana shows of the streams."""

    dashboards: list[Dashboard]
    pack: list[PackQuery]
    rules: RulePage


def render_pages(
    tree: PackageTree,
    streams: list[Stream],
    mappings: list[Mapping],
    library: Library,
    built: list[DataStreamText],
    *,
    shown: Shown,
) -> dict[str, str]:
    """Every page by its path in ``docs/``.

    Raises an error that names the template when one is missing or wrong.
    """
    templates = _Templates(tree.package / "docs")
    tables = {one.stream: FieldTable(one.stream, one.spec, library) for one in mappings}
    specs = {one.stream: one.spec for one in mappings}
    known = [stream for stream in streams if stream.name in tables]
    pages: dict[str, str] = {}
    for stream in known:
        pages[f"streams/{stream.name}.md"] = templates.render(
            "stream.md.j2",
            stream=stream,
            collect=stream.collect,
            mapping=specs[stream.name],
            table=tables[stream.name],
            costs=costs(stream.collect),
        )
    manifest = yaml.safe_load(tree.manifest.read_text(encoding="utf-8"))
    overview = {
        "manifest": manifest,
        "streams": known,
        "counts": {name: table.counts() for name, table in tables.items()},
        "costs": {stream.name: costs(stream.collect) for stream in known},
    }
    pages["streams/README.md"] = templates.render("index.md.j2", **overview)
    pages["hunting-pack.md"] = templates.render(
        "hunting-pack.md.j2", pack=shown.pack, languages=LANGUAGES
    )
    pages["detection-rules.md"] = templates.render(
        "detection-rules.md.j2", page=shown.rules, sigma=taxonomy()
    )
    pages["README.md"] = templates.render(
        "README.md.j2",
        **overview,
        shown=shown,
        data_streams=[
            {
                "name": one.folder.name,
                "title": one.title,
                "fields": exported_fields(one.fields),
                "sample": one.sample,
            }
            for one in built
        ],
    )
    return pages


def exported_fields(files: tuple[str, ...]) -> list[dict[str, str]]:
    """Every field of the field files by name, with type and description."""
    found: dict[str, dict[str, str]] = {}
    for text in files:
        source, _ = parse_yaml(Path("fields.yml"), text)
        if source is not None:
            _flatten(source.values or [], "", found)
    return [found[name] for name in sorted(found)]


def _flatten(fields: list[dict[str, Any]], before: str, found: dict[str, dict[str, str]]) -> None:
    for field in fields:
        name = f"{before}{field['name']}"
        if field.get("type") != "group":
            found[name] = {
                "name": name,
                "type": str(field.get("type", "keyword")),
                "about": str(field.get("description", "")),
            }
        _flatten(field.get("fields") or [], f"{name}.", found)


class _Templates:
    """The Jinja2 templates of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - Markdown, from files of the package itself
        )
        self._environment.filters |= {
            "duration": duration,
            "number": number,
            "cell": lambda text: str(text).replace("|", "\\|"),
            "codes": _codes,
            "spoken": spoken,
            "anchor": _anchor,
        }

    def render(self, name: str, **values: Any) -> str:
        try:
            return self._environment.get_template(name).render(values)
        except TemplateNotFound:
            fault = Fault(self._folder / name, 1, "", "is missing")
        except TemplateError as error:
            line = getattr(error, "lineno", None) or 1
            fault = Fault(self._folder / name, line, "", f"cannot be rendered: {error}")
        raise FaultsFoundError([fault])


def _anchor(title: str) -> str:
    """What a link to the heading ``title`` ends in, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _codes(names: MappingType[str, Any] | tuple[str, ...] | list[str], word: str = "and") -> str:
    """The names as code, with commas and ``word``: `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"

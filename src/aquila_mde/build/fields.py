"""The field files of a stream: every field that its pipeline fills, with its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from aquila_mde.build import ecs
from aquila_mde.build.library import Library
from aquila_mde.build.plan import conversion_of
from aquila_mde.streams.mapping_spec import MappingSpec, Row, snake_case

_HEAD = (
    "# Built from data_stream/{stream}/mapping.yml; run `aquila-mde build` after a change there.\n"
)


def render_fields(
    stream: str, spec: MappingSpec, library: Library, *, dataset: str, module: str
) -> dict[str, str]:
    """``base-fields.yml``, ``ecs.yml`` and ``fields.yml`` by name."""
    parts = {
        "base-fields.yml": _base(library, dataset, module),
        "ecs.yml": _ecs(spec, library),
        "fields.yml": _own(stream, spec, library),
    }
    return {name: _HEAD.format(stream=stream) + _dump(part) for name, part in parts.items()}


def declared_types(files: dict[str, str]) -> dict[str, str]:
    """The type of every field of the field ``files``, by name; groups are none."""
    found: dict[str, str] = {}
    for content in files.values():
        _note_types(yaml.safe_load(content), "", found)
    return found


def _note_types(fields: list[dict[str, Any]], before: str, found: dict[str, str]) -> None:
    for one in fields:
        name = f"{before}{one['name']}"
        found[name] = one["type"]
        _note_types(one.get("fields") or [], f"{name}.", found)


def _base(library: Library, dataset: str, module: str) -> list[dict[str, Any]]:
    fixed = {
        "event.module": module,
        "event.dataset": dataset,
        "observer.vendor": "Microsoft",
    }
    return [
        {
            "name": name,
            "type": one.type,
            **({"value": fixed[name]} if name in fixed else {}),
            "description": one.about,
        }
        for name, one in library.common.base.items()
    ]


def _ecs(spec: MappingSpec, library: Library) -> list[dict[str, Any]]:
    filled: dict[str, list[str]] = {name: [about] for name, about in library.common.ecs.items()}
    for name, source in _targets(spec, library):
        known = filled.setdefault(name, [])
        if source not in known and name not in library.common.ecs:
            known.append(source)
    return [
        _ecs_field(name, sources)
        for name, sources in sorted(filled.items())
        if name in ecs.fields() and name not in library.common.base
    ]


def _ecs_field(name: str, sources: list[str]) -> dict[str, Any]:
    known = ecs.fields()[name]
    about = sources[0] if sources[0].endswith(".") else f"From {', '.join(sources)}."
    if known.type == "object":
        return {
            "name": name,
            "type": "object",
            "object_type": "keyword",
            "description": about,
        }
    made: dict[str, Any] = {"name": name, "type": known.type, "description": about}
    if name == "event.original":
        made |= {"index": False, "doc_values": False}
    elif known.text:
        made["multi_fields"] = [{"name": "text", "type": "match_only_text"}]
    return made


def _targets(spec: MappingSpec, library: Library) -> Iterator[tuple[str, str]]:
    """Every ECS field that the mapping fills, with what it is filled from."""
    for place, row in spec.walk():
        for target in _filled(row, library):
            yield target, place[-1]
    for rule in spec.rules:
        for target in library.transforms.rules[rule.rule].writes:
            yield target, rule.about
    for geo in spec.geo:
        for name in library.common.geo:
            yield f"{geo.to}.{name}", geo.about


def _filled(row: Row, library: Library) -> Iterator[str]:
    yield from (target for target in row.to if not target.startswith("~"))
    if row.block:
        yield from library.transforms.blocks[row.block].writes
    elif row.table:
        yield from library.tables[row.table].columns


def _own(stream: str, spec: MappingSpec, library: Library) -> list[dict[str, Any]]:
    prefix = f"mde.{stream}"
    made = [
        {"name": f"{prefix}.{name}", **one} for name, one in _rows(spec.properties, (), library)
    ]
    for join in spec.joins.values():
        under = (join.under,) if join.under else ()
        made += [
            {"name": f"{prefix}.{name}", **one}
            for name, one in _rows(join.properties, under, library, joined=True)
        ]
    for name, one in spec.own.items():
        made.append(_field(f"{prefix}.{name}", one.type, one.about))
    for geo in spec.geo:
        if geo.network:
            network = f"{prefix}.{geo.network}"
            made.append(_field(f"{network}.number", "long", f"The network of {geo.about}."))
            made.append(
                _field(
                    f"{network}.organization.name",
                    "keyword",
                    f"Who runs the network of {geo.about}.",
                )
            )
    for name, one in library.common.own.items():
        made.append(_field(f"{prefix}.{name}", one.type, one.about))
    for name, one in spec.beyond_ecs.items():
        made.append(_field(name, one.type, one.about))
    return _unique(made)


def _rows(
    rows: dict[str, Row], under: tuple[str, ...], library: Library, *, joined: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, row in rows.items():
        own = row.name or snake_case(name)
        path = ".".join((*under, own))
        if row.object is not None:
            below = under if row.inline else (*under, own)
            yield from _rows(row.object, below, library, joined=joined)
        elif row.list is not None:
            if row.keep:
                yield path, _nested(row, library)
        elif row.keep:
            yield path, _without_name(_field("", row.keep, row.about))
        elif not joined and (row.to or row.block or row.table):
            conversion = library.transforms.conversions[conversion_of(row, library)]
            about = f"{name} as received; only with the tag preserve_duplicate_custom_fields."
            yield path, _without_name(_field("", conversion.type, about))


def _nested(row: Row, library: Library) -> dict[str, Any]:
    below = [{"name": name, **one} for name, one in _rows(row.list or {}, (), library, joined=True)]
    below += [_field(name, one.type, one.about) for name, one in row.own.items()]
    if row.extra:
        below += [_field(name, one.type, one.about) for name, one in library.common.own.items()]
    return {"type": "nested", "description": row.about, "fields": _unique(below)}


def _field(name: str, kind: str, about: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "type": kind}
    if kind in ("keyword", "flattened"):
        made["ignore_above"] = 1024
    made["description"] = about
    return made


def _without_name(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "name"}


def _unique(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({one["name"]: one for one in reversed(made)}.values())[::-1]


def _dump(part: list[dict[str, Any]]) -> str:
    return yaml.safe_dump(part, sort_keys=False, allow_unicode=True, width=1000)

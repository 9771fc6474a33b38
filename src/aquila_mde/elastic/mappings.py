"""``fields/*.yml`` turned into mappings, the way Fleet does it when it installs a package.

Followed is what Kibana's ``epm/fields/field.ts`` and ``epm/elasticsearch/template/`` do (8.19 to
9.x), so that an index has the same mappings whichever way the package was installed: wildcard
names become objects, dotted names become groups, siblings of one name are merged, aliases to
nothing are dropped, and whatever cannot be a property becomes a dynamic template.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.yaml_source import read_yaml

Field = dict[str, Any]
Json = dict[str, Any]

_IGNORE_ABOVE = 1024
_SCALING_FACTOR = 1000
# What a dynamic template of an object_type matches in the JSON that arrives.
_MATCHES = (
    dict.fromkeys(("ip", "keyword", "match_only_text", "text", "wildcard"), "string")
    | dict.fromkeys(("double", "float", "half_float"), "double")
    | dict.fromkeys(("byte", "long", "short", "unsigned_long", "integer"), "long")
    | {"boolean": "boolean", "flattened": "object", "scaled_float": "*", "histogram": "*"}
)


def read_fields(data_stream: Path) -> list[Field]:
    """Every field definition of one data stream folder, files in the order of their names."""
    fields: list[Field] = []
    faults: list[Fault] = []
    for file in sorted((data_stream / "fields").glob("*.yml")):
        source, found = read_yaml(file)
        faults += found
        if source is None or source.values is None:
            continue
        if not isinstance(source.values, list):
            faults.append(Fault(file, 1, "", "must hold a list of fields"))
            continue
        for index, field in enumerate(source.values):
            if isinstance(field, dict) and isinstance(field.get("name"), str):
                fields.append(field)
            else:
                faults.append(source.fault((index,), "must be a field with a name"))
    raise_if_any(faults)
    return fields


def field_tree(fields: Iterable[Field]) -> list[Field]:
    """``fields`` as a tree of groups with every name in one place."""
    tree = _merged(_expanded(_typed_wildcards(fields)))
    return _existing(tree, tree)


def count_fields(tree: Iterable[Field]) -> int:
    """Fields in ``tree`` as Fleet counts them: groups and multi-fields are fields too."""
    return sum(
        1 + count_fields(field.get("fields") or ()) + count_fields(field.get("multi_fields") or ())
        for field in tree
    )


def mappings_of(tree: Iterable[Field]) -> Json:
    """``properties`` and, where needed, ``dynamic_templates`` and ``runtime`` of ``tree``.

    Raises :class:`ValueError` for an ``object_type`` that has no dynamic mapping, as Fleet does.
    """
    builder = _Builder()
    properties = builder.group(tree, "").properties
    mappings: Json = {"properties": properties}
    if builder.templates:
        mappings["dynamic_templates"] = [
            {name: template} for name, template in builder.templates.items()
        ]
    if builder.runtime:
        mappings["runtime"] = builder.runtime
    return mappings


def _typed_wildcards(fields: Iterable[Field]) -> list[Field]:
    typed: list[Field] = []
    for original in fields:
        field = dict(original)
        if "*" in field["name"] and not field.get("object_type") and field.get("type") != "object":
            field |= {"type": "object", "object_type": field.get("type")}
        if field.get("type") == "group" and field.get("fields"):
            field["fields"] = _typed_wildcards(field["fields"])
        typed.append(field)
    return typed


def _expanded(fields: Iterable[Field]) -> list[Field]:
    expanded: list[Field] = []
    for field in fields:
        first, _, rest = field["name"].partition(".")
        if rest:
            inner = _expanded([field | {"name": rest}])
            expanded.append({"name": first, "type": "group", "fields": inner})
        elif field.get("fields"):
            expanded.append(field | {"fields": _expanded(field["fields"])})
        else:
            expanded.append(dict(field))
    return expanded


def _merged(fields: Iterable[Field]) -> list[Field]:
    merged: dict[str, Field] = {}
    for field in fields:
        found = merged.get(field["name"])
        if found is None:
            if field.get("fields"):
                field["fields"] = _merged(field["fields"])
            merged[field["name"]] = field
        elif _can_merge(found.get("type"), field.get("type")):
            _merge(found, field)
    return list(merged.values())


def _can_merge(found: str | None, other: str | None) -> bool:
    if found == "group":
        return other in ("object", "nested", "group")
    return found in ("object", "nested", "group-nested") and other == "group"


def _merge(found: Field, other: Field) -> None:
    if other.get("fields"):
        found["fields"] = _merged([*(found.get("fields") or ()), *other["fields"]])
    if found.get("fields"):
        if "nested" in (found["type"], other["type"]):
            found["type"] = "group-nested"
        elif found["type"] == "object":
            found["type"] = "group"
    found |= {key: other[key] for key in other if key not in ("name", "type", "fields")}


def _existing(fields: Iterable[Field], tree: list[Field]) -> list[Field]:
    kept: list[Field] = []
    for field in fields:
        if field.get("type") == "alias" and not _has(tree, str(field.get("path", "")).split(".")):
            continue
        if field.get("type") == "array" and not field.get("object_type"):
            continue
        if field.get("fields"):
            field["fields"] = _existing(field["fields"], tree)
        kept.append(field)
    return kept


def _has(tree: list[Field], path: list[str]) -> bool:
    for field in tree:
        if field["name"] == path[0]:
            if field.get("fields"):
                return len(path) > 1 and _has(field["fields"], path[1:])
            return len(path) == 1
    return False


class _Group:
    """What the fields of one group came to."""

    def __init__(self) -> None:
        self.properties: Json = {}
        self.has_properties = False
        self.has_templates = False


class _Builder:
    """Walks a tree of fields and gathers what belongs to the root of the mapping."""

    def __init__(self) -> None:
        self.templates: dict[str, Json] = {}
        self.runtime: Json = {}

    def group(self, fields: Iterable[Field], prefix: str) -> _Group:
        group = _Group()
        for field in fields:
            path = f"{prefix}{field['name']}"
            kind = field.get("type") or "keyword"
            if "runtime" in field and kind != "object":
                self.runtime[path] = _runtime(field, kind)
            elif kind == "object" and field.get("object_type"):
                self._dynamic(group, field, path)
            else:
                self._property(group, field, kind, path)
        return group

    def _dynamic(self, group: _Group, field: Field, path: str) -> None:
        object_type = field["object_type"]
        if object_type == "group":
            inner = [
                sub | {"type": "object", "object_type": sub.get("object_type") or sub.get("type")}
                for sub in field.get("fields") or ()
            ]
            group.has_templates |= self.group(inner, f"{path}.").has_templates
            return
        if object_type not in _MATCHES:
            raise ValueError(f"{path}: no dynamic mapping for object_type {object_type}")
        mapping = _defaults(field)
        mapping["type"] = "long" if object_type == "integer" else object_type
        if object_type == "scaled_float":
            mapping["scaling_factor"] = field.get("scaling_factor") or _SCALING_FACTOR
        match_type = field.get("object_type_mapping_type") or _MATCHES[object_type]
        pattern = path if "*" in path else f"{path}.*"
        self._template(path, pattern, match_type, mapping)
        group.has_templates = True
        if "*" not in field["name"]:
            group.properties[field["name"]] = {"type": "object", "dynamic": True}
            group.has_properties = True

    def _template(self, name: str, pattern: str, match_type: str, mapping: Json) -> None:
        if name not in self.templates:
            self.templates[name] = {
                "mapping": mapping,
                "match_mapping_type": match_type,
                "path_match": pattern,
            }
        parts = pattern.split(".")
        for length in range(len(parts) - 1, 0, -1):
            parent = ".".join(parts[:length])
            if "*" in parent:
                # Of the objects on the way only the last stays, behind what is more specific.
                self.templates.pop(parent, None)
                self.templates[parent] = {
                    "mapping": {"type": "object", "dynamic": True},
                    "match_mapping_type": "object",
                    "path_match": parent,
                }

    def _property(self, group: _Group, field: Field, kind: str, path: str) -> None:
        if kind == "group":
            mapping = self._group_property(group, field, path)
            if mapping is None:
                return
        elif kind in ("nested", "group-nested"):
            mapping = _chosen(field, "dynamic", "enabled", "include_in_parent", "include_in_root")
            mapping["type"] = "nested"
            if field.get("fields"):
                mapping["properties"] = self.group(field["fields"], f"{path}.").properties
        else:
            mapping = _leaf(field, kind)
        if kind not in ("group", "group-nested") and ("unit" in field or "metric_type" in field):
            mapping["meta"] = _chosen(field, "unit")
        group.has_properties = True
        if "*" in field["name"]:
            group.has_templates = True
        else:
            group.properties[field["name"]] = mapping

    def _group_property(self, group: _Group, field: Field, path: str) -> Json | None:
        inner = self.group(field.get("fields") or (), f"{path}.")
        if inner.has_properties:
            mapping = _chosen(field, "dynamic", "enabled")
            if inner.properties:
                mapping["properties"] = inner.properties
            if inner.has_templates:
                mapping |= {"type": "object", "dynamic": True}
            return mapping
        if inner.has_templates:
            group.has_templates = True
            return {"type": "object", "dynamic": True}
        return None


def _chosen(field: Field, *keys: str) -> Json:
    return {key: field[key] for key in keys if field.get(key) is not None}


def _defaults(field: Field) -> Json:
    return _chosen(field, "index", "doc_values", "copy_to", "store")


def _leaf(field: Field, kind: str) -> Json:
    mapping = _defaults(field)
    match kind:
        case "keyword":
            mapping = _keyword(field)
        case "wildcard":
            mapping |= {"ignore_above": field.get("ignore_above") or _IGNORE_ABOVE}
            mapping |= _chosen(field, "null_value") | {"type": "wildcard"}
        case "text":
            mapping |= _chosen(field, "analyzer", "search_analyzer") | {"type": "text"}
        case "integer":
            mapping["type"] = "long"
        case "scaled_float":
            factor = field.get("scaling_factor") or _SCALING_FACTOR
            mapping |= {"type": "scaled_float", "scaling_factor": factor}
        case "object":
            mapping |= _chosen(field, "dynamic", "enabled") | {"type": "object"}
        case "constant_keyword":
            mapping |= {"type": kind} | _chosen(field, "value")
        case "array":
            mapping["type"] = field["object_type"]
        case "alias":
            mapping |= {"type": "alias", "path": field["path"]}
        case "date":
            mapping |= _date(field)
        case _:
            mapping["type"] = kind
    if kind in ("keyword", "text", "wildcard") and field.get("multi_fields"):
        mapping["fields"] = _multi_fields(field["multi_fields"])
    return mapping


def _keyword(field: Field) -> Json:
    mapping = _defaults(field) | {"type": "keyword"}
    unsearchable = field.get("index") is False or field.get("doc_values") is False
    if not unsearchable and not field.get("dimension"):
        mapping["ignore_above"] = field.get("ignore_above") or _IGNORE_ABOVE
    return mapping | _chosen(field, "normalizer")


def _date(field: Field) -> Json:
    mapping: Json = {"type": "date"}
    if field.get("date_format"):
        mapping["format"] = field["date_format"]
    if field["name"] == "@timestamp":
        mapping["ignore_malformed"] = False
    return mapping


def _multi_fields(fields: Iterable[Field]) -> Json:
    multi: Json = {}
    for field in fields:
        match field.get("type"):
            case "text":
                multi[field["name"]] = _chosen(field, "analyzer", "search_analyzer") | {
                    "type": "text"
                }
            case "keyword":
                multi[field["name"]] = _keyword(field)
            case "long" | "double" | "match_only_text" as kind:
                multi[field["name"]] = {"type": kind}
    return multi


def _runtime(field: Field, kind: str) -> Json:
    mapping: Json = {"type": "long" if kind == "integer" else kind}
    if kind == "date":
        mapping = _date(field)
    if isinstance(field["runtime"], str):
        mapping["script"] = {"source": field["runtime"].strip()}
    return mapping

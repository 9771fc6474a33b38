"""Field files: what Fleet makes a mapping of."""

from __future__ import annotations

from aquila_mde.build.package.fields import Declared, read_fields
from aquila_mde.build.package.findings import Finding, Found
from aquila_mde.build.package.known import known
from aquila_mde.build.package.reading import PackageFiles, found_at

_KEYS = known("field_keys")
_TYPES = known("field_types")
_OBJECT_TYPES = known("object_types")
_BY_WILDCARD = known("wildcard_types")
"""What Fleet makes a dynamic mapping of; with any other type the installation fails."""
_REQUIRED = {
    "data_stream.type": "constant_keyword",
    "data_stream.dataset": "constant_keyword",
    "data_stream.namespace": "constant_keyword",
    "@timestamp": "date",
}
_MAX_FIELDS = 2_048


def check_fields(package: PackageFiles) -> Found:
    """Every finding about the fields of data streams and of transforms."""
    for stream in package.streams():
        folder = f"data_stream/{stream}/fields"
        fields = list(read_fields(package, folder))
        yield from _together(folder, fields)
        for name, kind in _REQUIRED.items():
            found = [field for field in fields if field.name == name]
            if not found:
                yield Finding(folder, 1, "required-field", f"{name} is not declared")
            elif found[0].type != kind:
                yield _at(found[0], "required-field", f"must be {kind}")
    for _, match in package.matching(r"elasticsearch/transform/([^/]+)/transform\.yml"):
        folder = f"elasticsearch/transform/{match[1]}/fields"
        yield from _together(folder, list(read_fields(package, folder)))
    for path, _ in package.matching(r".*/fields/[^/]+\.yml"):
        source = package.yaml(path)
        if source is not None and not isinstance(source.values, list):
            yield Finding(path, 1, "field-file", "must hold a list of fields")


def _together(folder: str, fields: list[Declared]) -> Found:
    first: dict[str, Declared] = {}
    for field in fields:
        yield from _field(field)
        if field.type == "group":
            continue
        before = first.setdefault(field.name, field)
        if before is not field:
            other = f"{before.source.file}:{before.source.line(before.place)}"
            yield _at(field, "field-twice", f"is declared in {other} already")
    if len(first) > _MAX_FIELDS:
        yield Finding(
            folder, 1, "limit", f"declares {len(first):,} fields; {_MAX_FIELDS:,} are allowed"
        )


def _field(field: Declared) -> Found:
    values, kind = field.values, field.type
    if not values.get("name"):
        yield _at(field, "field-name", "has no name")
    for key in values:
        if key not in _KEYS:
            yield _at(field, "field-key", f"{key} is not a key of a field")
    if "external" in values:
        yield _at(field, "field-external", "refers to another schema; a package says it itself")
        return
    if kind is None:
        yield _at(field, "field-type", "has no type, and Fleet would take it for a keyword")
    elif kind not in _TYPES:
        yield _at(field, "field-type", f"{kind} is no type of a field")
    if values.get("fields") and kind not in ("group", "nested", None):
        yield _at(field, "field-group", f"has fields and is {kind}; only group and nested may")
    if kind == "group" and ("unit" in values or "metric_type" in values):
        yield _at(field, "field-group", "is a group, which has neither unit nor metric_type")
    if "date_format" in values and kind != "date":
        yield _at(field, "field-key", "has a date_format and is no date")
    yield from _objects(field)


def _objects(field: Declared) -> Found:
    values, kind, held = field.values, field.type, field.values.get("object_type")
    if kind == "object" and held is None and values.get("enabled") is not False:
        yield _at(field, "field-object", "needs object_type, or enabled: false")
    if held == "object":
        yield _at(field, "field-object", "with object_type object cannot be installed by Fleet")
    elif held is not None and held not in _OBJECT_TYPES:
        yield _at(field, "field-object", f"{held} is no object_type")
    if "*" in field.name and held is None and kind in _TYPES - _BY_WILDCARD:
        yield _at(field, "field-wildcard", f"is a name with * and {kind}: Fleet cannot install it")


def _at(field: Declared, rule: str, problem: str) -> Finding:
    return found_at(field.source, field.place, rule, f"{field.name or 'a field'}: {problem}")

"""The fields that the field files of a package declare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aquila_mde.build.package.reading import PackageFiles, members
from aquila_mde.streams.yaml_source import Location, YamlSource

_ANYTHING_BELOW = ("flattened", "object", "geo_point", "geo_shape")


@dataclass(frozen=True)
class Declared:
    """One entry of a field file."""

    name: str
    """With the names of the groups that it is in."""
    values: dict[str, Any]
    place: Location
    source: YamlSource

    @property
    def type(self) -> str | None:
        """As written."""
        kind = self.values.get("type")
        return str(kind) if kind is not None else None


def read_fields(package: PackageFiles, folder: str) -> Iterator[Declared]:
    """Every entry of the field files in ``folder``, groups included."""
    for path, _ in package.matching(rf"{folder}/[^/]+\.yml"):
        source = package.yaml(path)
        if source is not None and isinstance(source.values, list):
            yield from _walk(source, source.values, (), "")


def declared(package: PackageFiles, folder: str) -> dict[str, str]:
    """The type of every field that can have a value, multi-fields included."""
    found: dict[str, str] = {}
    for field in read_fields(package, folder):
        if field.type == "group":
            continue
        found[field.name] = field.type or "keyword"
        for _, multi in members(field.values.get("multi_fields")):
            found[f"{field.name}.{multi.get('name')}"] = str(multi.get("type"))
    return found


def is_declared(name: str, known: dict[str, str]) -> bool:
    """Whether ``name`` is a field of ``known``, or lies in one that takes any name below it."""
    if name in known:
        return True
    parts = name.split(".")
    return any(
        known.get(".".join(parts[:length]), "") in _ANYTHING_BELOW
        for length in range(1, len(parts))
    ) or any(_fits(pattern, parts) for pattern in known if "*" in pattern)


def _fits(pattern: str, parts: list[str]) -> bool:
    wanted = pattern.split(".")
    return len(wanted) == len(parts) and all(
        one in ("*", part) for one, part in zip(wanted, parts, strict=True)
    )


def _walk(
    source: YamlSource, entries: list[Any], place: Location, before: str
) -> Iterator[Declared]:
    for number, entry in members(entries):
        here = (*place, number)
        name = f"{before}{entry.get('name', '')}"
        yield Declared(name, entry, here, source)
        below = entry.get("fields")
        if isinstance(below, list):
            yield from _walk(source, below, (*here, "fields"), f"{name}.")

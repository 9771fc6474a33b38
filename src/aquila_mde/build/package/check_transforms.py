"""Transforms: what they read, where they write, and whether the fields that they go by are there.

The validator looks at their shape only; with a wrong field a transform runs and finds nothing.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from aquila_mde.build.package.fields import declared
from aquila_mde.build.package.findings import Found
from aquila_mde.build.package.reading import PackageFiles, found_at, mapping, members, part, texts
from aquila_mde.dashboards.load import FITTING
from aquila_mde.streams.yaml_source import Location, YamlSource

_NAMESPACE = "data_stream.namespace"


def check_transforms(package: PackageFiles) -> Found:
    """Every finding about the transforms; their field files are looked at with all others."""
    for path, match in package.matching(r"elasticsearch/transform/([^/]+)/transform\.yml"):
        source = package.yaml(path)
        if source is not None:
            yield from _shape(source)
            yield from _indices(package, source)
            yield from _fields(package, source, match[1])


def destinations(package: PackageFiles) -> dict[str, str]:
    """The names that the indices of the transforms are read by, each with its folder."""
    found: dict[str, str] = {}
    for path, match in package.matching(r"elasticsearch/transform/([^/]+)/transform\.yml"):
        dest = part(mapping(package.yaml(path)), "dest")
        names = [dest.get("index"), *(one.get("alias") for _, one in members(dest.get("aliases")))]
        found |= {str(name): match[1] for name in names if name}
    return found


def _shape(source: YamlSource) -> Found:
    values = mapping(source)
    for key in ("source", "dest"):
        if key not in values:
            yield found_at(source, (), "transform", f"{key} is missing")
    given = [key for key in ("latest", "pivot") if key in values]
    if len(given) != 1:
        problem = f"needs one of latest and pivot, and has {' and '.join(given) or 'neither'}"
        yield found_at(source, tuple(given[-1:]), "transform", problem)
    if not part(values, "_meta").get("fleet_transform_version"):
        problem = "needs _meta.fleet_transform_version, or Fleet never brings a newer one"
        yield found_at(source, ("_meta",), "transform-version", problem)


def _indices(package: PackageFiles, source: YamlSource) -> Found:
    values = mapping(source)
    name = str(mapping(package.yaml("manifest.yml")).get("name"))
    patterns = {}
    for stream in package.streams():
        manifest = mapping(package.yaml(f"data_stream/{stream}/manifest.yml"))
        dataset = manifest.get("dataset", f"{name}.{stream}")
        patterns[f"{manifest.get('type', 'logs')}-{dataset}-*"] = stream
    read = part(values, "source").get("index")
    for index in texts(read) or ([read] if isinstance(read, str) else []):
        if index not in patterns:
            problem = f"reads {index}, which is no data stream of the package"
            yield found_at(source, ("source", "index"), "transform-source", problem)
    written = str(part(values, "dest").get("index", ""))
    for pattern, stream in patterns.items():
        if fnmatch.fnmatchcase(written, pattern):
            problem = f"{written} would be made by the template of the data stream {stream}"
            yield found_at(source, ("dest", "index"), "transform-destination", problem)


def _fields(package: PackageFiles, source: YamlSource, transform: str) -> Found:
    known = declared(package, f"elasticsearch/transform/{transform}/fields")
    if not known:
        return
    latest = part(mapping(source), "latest")
    used: list[tuple[Location, Any, str]] = [
        (("latest", "unique_key", number), name, "values")
        for number, name in enumerate(texts(latest.get("unique_key")))
    ]
    used += [
        (place, part(mapping(source), *place[:-1]).get(place[-1]), "time")
        for place in (
            ("latest", "sort"),
            ("sync", "time", "field"),
            ("retention_policy", "time", "field"),
        )
    ]
    for place, name, use in used:
        if not isinstance(name, str):
            continue
        kind = known.get(name)
        if kind is None:
            problem = f"goes by {name}, which its field files do not declare"
            yield found_at(source, place, "transform-field", problem)
        elif kind not in FITTING[use]:
            problem = f"goes by {name}, which is {kind}"
            yield found_at(source, place, "transform-field", problem)
    if known.get(_NAMESPACE) == "constant_keyword":
        problem = f"writes every namespace to one index, and {_NAMESPACE} is constant_keyword there"
        yield found_at(source, ("dest", "index"), "transform-field", problem)

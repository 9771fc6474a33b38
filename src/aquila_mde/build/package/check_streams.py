"""Data streams: their manifests, lifecycle policies and sample events."""

from __future__ import annotations

import re
from typing import Any

from aquila_mde.build.docs.sample import leaves
from aquila_mde.build.package.check_manifest import check_vars
from aquila_mde.build.package.fields import declared, is_declared
from aquila_mde.build.package.findings import Finding, Found, Severity
from aquila_mde.build.package.reading import PackageFiles, found_at, mapping, members, part
from aquila_mde.streams.yaml_source import YamlSource

_TYPES = ("logs", "metrics", "synthetics", "traces", "profiling")
_KEYS = {
    *("title", "type", "dataset", "dataset_is_prefix", "ilm_policy", "hidden", "categories"),
    *("streams", "elasticsearch", "agent", "release", "deprecated"),
}
_SETTINGS = {
    *("analysis", "auto_expand_replicas", "index", "max_result_window", "number_of_shards"),
    "refresh_interval",
}
_INDEX_SETTINGS = {"codec", "mapping", "sort"}
_MAPPINGS = {
    *("dynamic", "date_detection", "dynamic_date_formats", "dynamic_templates", "subobjects"),
}


def check_streams(package: PackageFiles) -> Found:
    """Every finding about the data streams."""
    name = str(mapping(package.yaml("manifest.yml")).get("name"))
    for stream in package.streams():
        yield from _stream(package, name, stream)


def _stream(package: PackageFiles, name: str, stream: str) -> Found:
    folder = f"data_stream/{stream}"
    path = f"{folder}/manifest.yml"
    if not re.fullmatch(r"[a-z0-9_]{2,}", stream) or stream == "integration":
        problem = "the folder of a data stream has a-z, 0-9 and _ in its name, two at least"
        yield Finding(path, 1, "stream-name", problem)
    if path not in package.files:
        yield Finding(path, 1, "missing-file", "is missing")
    source = package.yaml(path)
    manifest = mapping(source)
    if source is not None:
        yield from _manifest(package, source, name, stream)
    for file, _ in package.matching(rf"{folder}/elasticsearch/ilm/[^/]+\.json"):
        policy = package.json(file)
        if policy is not None and not part(policy.values, "policy", "phases"):
            yield Finding(file, 1, "lifecycle", "needs a policy with phases")
    yield from _sample(package, folder, str(manifest.get("dataset", f"{name}.{stream}")))


def _manifest(package: PackageFiles, source: YamlSource, name: str, stream: str) -> Found:
    manifest = mapping(source)
    if not manifest.get("title"):
        yield found_at(source, (), "missing-key", "title is missing")
    if "type" not in manifest:
        yield found_at(source, (), "stream-type", "type is missing: Fleet takes no such package")
    elif manifest["type"] not in _TYPES:
        problem = f"type is one of {', '.join(_TYPES)}"
        yield found_at(source, ("type",), "stream-type", problem)
    for key in manifest:
        if key not in _KEYS:
            problem = f"{key} is not a key of a data stream's manifest"
            yield found_at(source, (key,), "unknown-key", problem)
    if "categories" in manifest:
        problem = "Elastic's validator asks a server of Elastic about categories of a data stream"
        place = source.line(("categories",))
        yield Finding(str(source.file), place, "stream-categories", problem, Severity.WARNING)
    dataset = str(manifest.get("dataset", f"{name}.{stream}"))
    if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", dataset):
        problem = f"{dataset} cannot be part of the name of an index"
        yield found_at(source, ("dataset",), "dataset", problem)
    policy = manifest.get("ilm_policy")
    if policy is not None:
        prefix = f"{manifest.get('type', 'logs')}-{name}.{stream}-"
        file = f"elasticsearch/ilm/{str(policy).removeprefix(prefix)}.json"
        if not str(policy).startswith(prefix):
            yield found_at(source, ("ilm_policy",), "lifecycle", f"must begin with {prefix}")
        elif f"data_stream/{stream}/{file}" not in package.files:
            yield found_at(source, ("ilm_policy",), "lifecycle", f"needs {file}")
    yield from _template(source, manifest)
    for number, one in members(manifest.get("streams")):
        template = one.get("template_path", "stream.yml.hbs")
        if f"data_stream/{stream}/agent/stream/{template}" not in package.files:
            problem = f"needs agent/stream/{template}"
            yield found_at(source, ("streams", number), "missing-file", problem)
        yield from check_vars(source, ("streams", number, "vars"), one.get("vars"))


def _template(source: YamlSource, manifest: dict[str, Any]) -> Found:
    for allowed, *place in (
        (_SETTINGS, "settings"),
        (_INDEX_SETTINGS, "settings", "index"),
        (_MAPPINGS, "mappings"),
    ):
        whole = ("elasticsearch", "index_template", *place)
        for key in part(manifest, *whole):
            if key not in allowed:
                problem = f"a package may not set {'.'.join((*place, str(key)))}"
                yield found_at(source, (*whole, key), "template-key", problem)


def _sample(package: PackageFiles, folder: str, dataset: str) -> Found:
    path = f"{folder}/sample_event.json"
    sample = package.json(path)
    if sample is None:
        return
    own = part(sample.values, "data_stream").get("dataset")
    if own not in (None, dataset):
        line = sample.line('"dataset"')
        yield Finding(path, line, "sample", f"is of the dataset {own} and not of {dataset}")
    known = declared(package, f"{folder}/fields")
    for field in sorted(set(leaves(sample.values))):
        if not is_declared(field, known):
            line = sample.line(f'"{field.rpartition(".")[2]}"')
            yield Finding(path, line, "sample", f"has {field}, which no field file declares")

"""Ingest pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from aquila_mde.build.package.findings import Finding, Found
from aquila_mde.build.package.reading import PackageFiles, found_at, mapping
from aquila_mde.streams.yaml_source import Location, YamlSource

_FILES = r"(?:data_stream/[^/]+/)?elasticsearch/ingest_pipeline/([^/]+)\.(?:yml|json)"
_KEYS = {"description", "processors", "on_failure"}
_FORBIDDEN = {"enrich", "reroute", "set_security_user"}
_MESSAGE = (
    *("_ingest.on_failure_processor_type", "_ingest.on_failure_processor_tag"),
    *("_ingest.on_failure_message", "_ingest.pipeline"),
)
_CALL = re.compile(r"\{\{\s*IngestPipeline\s+[\"']([^\"']+)[\"']\s*\}\}")
_NO_ORIGINAL = "ctx.event?.original == null"
_HAS_ORIGINAL = "ctx.event?.original != null"

Processor = tuple[str, dict[str, Any], Location]


def check_pipelines(package: PackageFiles) -> Found:
    """Every finding about the pipelines of data streams and of the package."""
    for path, match in package.matching(_FILES):
        if match[1].endswith("default") and match[1] != "default":
            problem = "ends in default and would be taken for the entry pipeline"
            yield Finding(path, 1, "pipeline-name", problem)
        text = package.text(path) or ""
        if path.endswith(".yml") and not text.startswith("---\n"):
            yield Finding(path, 1, "pipeline-start", "must begin with a line ---")
        yield from _calls(package, path, text)
        source = package.yaml(path)
        if source is not None:
            yield from _pipeline(source)


def _calls(package: PackageFiles, path: str, text: str) -> Found:
    """``{{ IngestPipeline "x" }}``: Fleet puts in the name of x, once a file."""
    seen: set[str] = set()
    for match in _CALL.finditer(text):
        name, line = match[1], text.count("\n", 0, match.start()) + 1
        folder = path.rpartition("/")[0]
        if not {f"{folder}/{name}.yml", f"{folder}/{name}.json"} & package.files.keys():
            yield Finding(path, line, "pipeline-call", f"there is no pipeline {name}")
        if name in seen:
            problem = f"calls {name} a second time, which Fleet does not replace"
            yield Finding(path, line, "pipeline-call", problem)
        seen.add(name)


def _pipeline(source: YamlSource) -> Found:
    pipeline = mapping(source)
    for key in pipeline:
        if key not in _KEYS:
            yield found_at(source, (key,), "pipeline-key", f"{key} is not a key of a pipeline")
    tags: set[str] = set()
    top = list(_processors(pipeline.get("processors"), ("processors",)))
    for one in top:
        yield from _processor(source, one, tags)
    yield from _original(source, top)
    yield from _on_failure(source, pipeline)


def _processor(source: YamlSource, processor: Processor, tags: set[str]) -> Found:
    kind, values, place = processor
    if kind in _FORBIDDEN:
        yield found_at(source, place, "processor", f"a package may not use {kind}")
    tag = values.get("tag")
    if not isinstance(tag, str) or not tag:
        yield found_at(source, place, "processor-tag", f"the processor {kind} has no tag")
    elif tag in tags:
        yield found_at(source, place, "processor-tag", f"the tag {tag} is there twice")
    else:
        tags.add(tag)
    for one in _processors(values.get("on_failure"), (*place, kind, "on_failure")):
        yield from _processor(source, one, tags)


def _original(source: YamlSource, processors: list[Processor]) -> Found:
    """An event that already has its original must not lose it to the message."""
    for kind, values, place in processors:
        moves = (values.get("field"), values.get("target_field")) == ("message", "event.original")
        if kind != "rename" or not moves:
            continue
        if values.get("if") != _NO_ORIGINAL:
            yield found_at(source, place, "rename-message", f"needs if: {_NO_ORIGINAL}")
        removed = any(
            other == "remove"
            and one.get("field") == "message"
            and one.get("ignore_missing") is True
            and one.get("if") == _HAS_ORIGINAL
            for other, one, _ in processors
        )
        if not removed:
            problem = f"needs a remove of message with ignore_missing: true and if: {_HAS_ORIGINAL}"
            yield found_at(source, place, "rename-message", problem)


def _on_failure(source: YamlSource, pipeline: dict[str, Any]) -> Found:
    handlers = list(_processors(pipeline.get("on_failure"), ("on_failure",)))
    kinds = [
        values
        for kind, values, _ in handlers
        if kind == "set" and values.get("field") == "event.kind"
    ]
    if not kinds or kinds[0].get("value") != "pipeline_error":
        problem = "on_failure must set event.kind to pipeline_error"
        yield found_at(source, ("on_failure",), "on-failure", problem)
    messages = [
        values.get("value")
        for kind, values, _ in handlers
        if kind in ("set", "append") and values.get("field") == "error.message"
    ]
    told = messages[0] if messages and isinstance(messages[0], str) else ""
    lacking = [name for name in _MESSAGE if name not in told]
    if lacking:
        problem = f"on_failure must write error.message, one text with {', '.join(lacking)}"
        yield found_at(source, ("on_failure",), "on-failure", problem)


def _processors(entries: Any, place: Location) -> Iterator[Processor]:
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            for kind, values in entry.items():
                yield str(kind), values if isinstance(values, dict) else {}, (*place, number)

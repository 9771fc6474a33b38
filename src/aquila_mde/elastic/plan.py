"""Which objects the package needs on an engine, each as the request that creates it.

Names, priority and call-outs are the ones Fleet uses, so that a later installation through Fleet
replaces these objects instead of competing with them. What Fleet keeps in ``.fleet_*`` objects
(strings as keywords, no date detection, the final pipeline) is in two objects of our own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from aquila_mde.elastic import dialect
from aquila_mde.elastic.dialect import Flavour
from aquila_mde.elastic.mappings import count_fields, field_tree, mappings_of, read_fields
from aquila_mde.elastic.package import (
    DataStream,
    Json,
    Package,
    Transform,
    read_mapping,
    read_package,
)
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.tree import PackageTree

Kind = Literal[
    "lifecycle policy",
    "pipeline",
    "component template",
    "index template",
    "transform",
    "index",
]

MANAGED_BY = "aquila"
PRIORITY = 200
_TRANSFORM_PRIORITY = 250
_FIELD_LIMIT = 1000
_RAISED_FIELD_LIMIT = 10_000
_MANY_FIELDS = 500
_PIPELINE_REFERENCE = re.compile(
    r"""(?:\{\{|\{<)\s*IngestPipeline\s+["']([^"']+)["']\s*(?:\}\}|>\})"""
)
PROGRESS_FIELDS: Json = {
    "transform": {"type": "keyword"},
    "tenant": {"type": "keyword"},
    "namespace": {"type": "keyword"},
    "index": {"type": "keyword"},
    "read_to": {"type": "date"},
}
"""How far the newest versions of one tenant were read into which index."""
_PATHS: dict[Kind, str] = {
    "pipeline": "_ingest/pipeline",
    "component template": "_component_template",
    "index template": "_index_template",
    "transform": "_transform",
}


@dataclass(frozen=True)
class Request:
    """One request to the engine; ``path`` is relative and has no leading slash."""

    method: str
    path: str
    body: Json | None


@dataclass(frozen=True)
class Asset:
    """One object of the package and the request that puts it there."""

    kind: Kind
    name: str
    request: Request
    digest: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Present:
    """What of others is on the engine and decides about our own objects.

    ``components`` and ``pipelines`` are the ``@custom`` ones that exist; they are asked for on
    OpenSearch only, which cannot refer to one that is missing.
    """

    components: frozenset[str] = frozenset()
    pipelines: frozenset[str] = frozenset()
    lifecycle: bool = True


def plan_install(
    tree: PackageTree, flavour: Flavour, present: Present | None = None
) -> list[Request]:
    """Every request that installs ``tree`` on an empty engine, in the order to send them.

    Each stands for itself: nothing has to be looked up or filled in.
    """
    package = read_package(tree)
    assets = plan_assets(package, flavour, present or Present())
    starts = [
        Request("POST", f"_transform/{transform.id}/_start", None)
        for transform in package.transforms
        if transform.start and dialect.has_transforms(flavour)
    ]
    return [*(asset.request for asset in assets), *starts]


def plan_assets(package: Package, flavour: Flavour, present: Present) -> list[Asset]:
    """The objects behind :func:`plan_install`."""
    planner = _Planner(package, flavour, present)
    return [
        *(asset for stream in package.streams for asset in planner.lifecycle(stream)),
        planner.final_pipeline(),
        *(asset for stream in package.streams for asset in planner.pipelines(stream)),
        planner.globals(),
        *(planner.component(stream) for stream in package.streams),
        *(planner.index_template(stream) for stream in package.streams),
        *(planner.destination_component(transform) for transform in package.transforms),
        *(planner.destination_template(transform) for transform in package.transforms),
        *planner.transforms(),
    ]


@dataclass(frozen=True)
class _Planner:
    package: Package
    flavour: Flavour
    present: Present

    def lifecycle(self, stream: DataStream) -> Iterator[Asset]:
        if not self.present.lifecycle:
            return
        for file in sorted((stream.folder / "elasticsearch" / "ilm").glob("*.json")):
            name = f"{stream.base}-{file.stem}"
            body = read_mapping(file, "policy")
            digest = self._digest(body)
            if self.flavour == "elasticsearch":
                body["policy"]["_meta"] = self._meta(digest)
            elif name == stream.ilm_policy:
                text = f"{self.package.name} {self.package.version}, digest {digest}"
                body = dialect.ism_policy(body, stream.pattern, PRIORITY, text)
            else:
                continue
            path = dialect.lifecycle_path(name, self.flavour)
            yield Asset("lifecycle policy", name, Request("PUT", path, body), digest)

    def pipelines(self, stream: DataStream) -> Iterator[Asset]:
        folder = stream.folder / "elasticsearch" / "ingest_pipeline"
        files = {
            file.stem: file
            for file in sorted(folder.glob("*"))
            if file.suffix in (".yml", ".yaml", ".json")
        }
        entry = files.pop("default", None)
        for name, file in files.items():
            yield self._pipeline(stream.pipeline(self.package.version, name), stream, file)
        yield self._pipeline(stream.pipeline(self.package.version), stream, entry, entry=True)

    def _pipeline(
        self, name: str, stream: DataStream, file: Path | None, *, entry: bool = False
    ) -> Asset:
        body: Json = {"processors": []}
        if file is not None:
            body |= self._with_names(read_mapping(file), stream)
        if entry:
            body["processors"] = [*body["processors"], *self._call_outs(stream)]
            if body.get("on_failure"):
                body["on_failure"] = [*body["on_failure"], *self._final_call()]
        return self._asset("pipeline", name, body)

    def _with_names(self, value: Any, stream: DataStream) -> Any:
        if isinstance(value, str):
            return _PIPELINE_REFERENCE.sub(
                lambda found: stream.pipeline(self.package.version, found[1]), value
            )
        if isinstance(value, list):
            return [self._with_names(item, stream) for item in value]
        if isinstance(value, dict):
            return {key: self._with_names(item, stream) for key, item in value.items()}
        return value

    def _call_outs(self, stream: DataStream) -> Iterator[Json]:
        for name in self.package.custom_pipelines(stream):
            if self.flavour == "elasticsearch":
                yield {"pipeline": {"name": name, "ignore_missing_pipeline": True, "tag": name}}
            elif name in self.present.pipelines:
                yield {"pipeline": {"name": name, "tag": name}}
        yield from self._final_call()

    def _final_call(self) -> Iterator[Json]:
        if not dialect.final_pipeline_is_a_setting(self.flavour):
            name = self.package.final_pipeline
            yield {"pipeline": {"name": name, "tag": name}}

    def final_pipeline(self) -> Asset:
        ingested = {
            "field": "event.ingested",
            "value": "{{{_ingest.timestamp}}}",
            "tag": "set_event_ingested",
        }
        original = {
            "field": "event.original",
            "ignore_missing": True,
            "if": "ctx.tags == null || !ctx.tags.contains('preserve_original_event')",
            "tag": "remove_event_original",
        }
        body = {
            "description": "Says when a document arrived and leaves its original out.",
            "processors": [{"set": ingested}, {"remove": original}],
        }
        return self._asset("pipeline", self.package.final_pipeline, body)

    def globals(self) -> Asset:
        strings = {
            "match_mapping_type": "string",
            "mapping": {"type": "keyword", "ignore_above": 1024},
        }
        template: Json = {
            "mappings": {
                "date_detection": False,
                "dynamic_templates": [{"strings_as_keyword": strings}],
            }
        }
        if dialect.final_pipeline_is_a_setting(self.flavour):
            template["settings"] = {"index": {"final_pipeline": self.package.final_pipeline}}
        return self._asset("component template", self.package.globals, {"template": template})

    def component(self, stream: DataStream) -> Asset:
        mappings, limit = _mappings(stream.folder, stream.mappings)
        index = _deep(dialect.stack_settings(self.flavour), stream.settings.get("index") or {})
        index["default_pipeline"] = stream.pipeline(self.package.version)
        limits = index.setdefault("mapping", {}).setdefault("total_fields", {})
        limits.setdefault("limit", limit)
        if stream.ilm_policy and self.flavour == "elasticsearch" and self.present.lifecycle:
            index["lifecycle"] = {"name": stream.ilm_policy}
        template: Json = {
            "settings": stream.settings | {"index": index},
            "mappings": dialect.mappings(mappings, self.flavour),
        }
        return self._component(stream.component, template)

    def _component(self, name: str, template: Json) -> Asset:
        # The index keeps it, which shows whether it has these mappings already.
        template["mappings"]["_meta"] = self._meta(self._digest(template))
        return self._asset("component template", name, {"template": template})

    def index_template(self, stream: DataStream) -> Asset:
        before, after = dialect.stack_components(self.flavour)
        customs = self.package.custom_components(stream)
        if self.flavour == "opensearch":
            customs = [name for name in customs if name in self.present.components]
        body: Json = {
            "index_patterns": [stream.pattern],
            "priority": PRIORITY,
            "data_stream": {},
            "composed_of": [*before, stream.component, *customs, *after, self.package.globals],
        }
        if self.flavour == "elasticsearch":
            body["ignore_missing_component_templates"] = customs
        return self._asset("index template", stream.template, body)

    def destination_component(self, transform: Transform) -> Asset:
        mappings, limit = _mappings(transform.folder, transform.mappings)
        own = {"mapping": {"ignore_malformed": True, "total_fields": {"limit": limit}}}
        index = _deep(own, transform.settings.get("index") or {})
        template: Json = {
            "settings": transform.settings | {"index": index},
            "mappings": dialect.mappings(mappings, self.flavour),
        }
        return self._component(transform.component, template)

    def destination_template(self, transform: Transform) -> Asset:
        body: Json = {
            "index_patterns": [transform.index],
            "priority": _TRANSFORM_PRIORITY,
            "composed_of": [transform.component],
        }
        if self.flavour == "elasticsearch":
            after = dialect.stack_components(self.flavour)[1]
            body["composed_of"] += [transform.custom, *after]
            body["ignore_missing_component_templates"] = [transform.custom]
        elif transform.custom in self.present.components:
            body["composed_of"].append(transform.custom)
        return self._asset("index template", transform.template, body)

    def transforms(self) -> Iterator[Asset]:
        """The transforms themselves, or the indices for what the collector does instead."""
        if dialect.has_transforms(self.flavour):
            for transform in self.package.transforms:
                yield self._transform(transform)
        elif self.package.transforms:
            for transform in self.package.transforms:
                aliases: Json = {transform.alias: {}} if transform.alias != transform.index else {}
                yield self._index(transform.index, {"aliases": aliases})
            mappings = {"dynamic": "strict", "properties": PROGRESS_FIELDS}
            settings = {"index": {"number_of_shards": 1, "hidden": True}}
            yield self._index(
                self.package.latest_progress, {"settings": settings, "mappings": mappings}
            )

    def _transform(self, transform: Transform) -> Asset:
        definition = transform.definition
        # Without the version of the package: making a transform anew reads all data once more.
        digest = _hash(definition)
        meta = (definition.get("_meta") or {}) | self._meta(digest)
        request = Request("PUT", f"_transform/{transform.id}", definition | {"_meta": meta})
        return Asset("transform", transform.id, request, digest)

    def _index(self, name: str, body: Json) -> Asset:
        return Asset("index", name, Request("PUT", name, body), self._digest(body))

    def _asset(self, kind: Kind, name: str, body: Json) -> Asset:
        digest = self._digest(body)
        if kind != "pipeline" or self.flavour == "elasticsearch":
            body = body | {"_meta": self._meta(digest)}
        return Asset(kind, name, Request("PUT", f"{_PATHS[kind]}/{name}", body), digest)

    def _meta(self, digest: str) -> Json:
        return {
            "managed_by": MANAGED_BY,
            "managed": True,
            "package": {"name": self.package.name, "version": self.package.version},
            "digest": digest,
        }

    def _digest(self, body: Json) -> str:
        return _hash([self.package.version, body])


def _hash(content: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def _mappings(folder: Path, own: Json) -> tuple[Json, int]:
    """What the fields in ``folder`` and the manifest's ``own`` mappings make; the field limit."""
    tree = field_tree(read_fields(folder))
    try:
        mappings = mappings_of(tree)
    except ValueError as error:
        raise_if_any([Fault(folder / "fields", 1, "", str(error))])
    templates = _unique([*mappings.get("dynamic_templates", []), *own.get("dynamic_templates", [])])
    mappings |= own
    if templates:
        mappings["dynamic_templates"] = templates
    many = count_fields(tree) > _MANY_FIELDS
    return mappings, _RAISED_FIELD_LIMIT if many else _FIELD_LIMIT


def _unique(templates: list[Json]) -> list[Json]:
    by_name: dict[str, Json] = {}
    for template in templates:
        by_name.setdefault(next(iter(template)), template)
    return list(by_name.values())


def _deep(under: Json, over: Json) -> Json:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _deep(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged

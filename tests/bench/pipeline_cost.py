"""What the ingest pipelines cost: ``make bench-pipeline`` writes build/bench/pipeline.json.

In one run, on one embedded engine, the same documents go through three pipelines a stream:
``json`` only parses the record, ``script`` is the one of the package, ``per_field`` is the same
mapping as one processor a field. Their runs alternate. This is done with two kinds of index:
``installed`` has the settings and mappings of the package, ``stored`` keeps documents without
indexing a field, so that little but the pipeline is left to differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from aquila_mde.build import load_mappings
from aquila_mde.build.per_field import per_field_pipeline
from aquila_mde.build.plan import plan_mapping
from aquila_mde.elastic.plan import plan_install
from aquila_mde.engine import EmbeddedEngine
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree
from tests.bench.pipeline_documents import Document, sent_documents

OUTPUT = Path("build/bench/pipeline.json")
TREE = PackageTree.default()
_INDEX = "aquila-bench"
_AT_ONCE = 500
_EXPORT_TIMES = ("yyyy-MM-dd HH:mm:ss.SSSSSSS", "yyyy-MM-dd HH:mm:ss", "ISO8601")
# The record stands apart, so that it is neither mixed with nor lost among the other fields.
_JSON_ONLY = {"processors": [{"json": {"field": "message", "target_field": "record"}}]}
_RATIOS = (("script", "json"), ("script", "per_field"))


@dataclass(frozen=True)
class Size:
    """How much is measured; ``warm_ups`` are runs before those that count."""

    documents: int = 3_000
    repeats: int = 5
    warm_ups: int = 2


def measure(url: str, size: Size) -> dict[str, Any]:
    """The figures of every stream, measured on the engine at ``url``."""
    with httpx.Client(base_url=url, trust_env=False, timeout=300) as engine:
        number = min(size.documents, 4_000)
        documents = sent_documents(
            engine, machines=number, alerts=number, actions=number, vulnerabilities=number
        )
        version = engine.get("/").json()["version"]
        return {
            "engine": {key: version.get(key) for key in ("distribution", "number")},
            **asdict(size),
            "streams": {
                stream: _stream(engine, stream, pipelines, documents[stream], size)
                for stream, pipelines in all_pipelines().items()
            },
        }


def all_pipelines() -> dict[str, dict[str, Any]]:
    """The three pipelines of each stream whose properties are all placed by rows, by their names.

    Where a rule reads the record itself, nothing can be placed field by field.
    """
    mappings, library = load_mappings(TREE)
    exported = {one.name for one in load_streams(TREE) if one.collect.strategy == "export"}
    found = {}
    for mapping in mappings:
        rules = [library.transforms.rules[one.rule] for one in mapping.spec.rules]
        if any("record" in rule.needs for rule in rules):
            continue
        built = mapping.folder / "elasticsearch" / "ingest_pipeline" / "default.yml"
        found[mapping.stream] = {
            "json": _JSON_ONLY,
            "script": yaml.safe_load(built.read_text(encoding="utf-8")),
            "per_field": per_field_pipeline(
                plan_mapping(mapping.stream, mapping.spec, library),
                library,
                dataset=mapping.dataset,
                module="aquila_mde",
                times=_EXPORT_TIMES if mapping.stream in exported else (),
            ),
        }
    return found


def _stream(
    engine: httpx.Client,
    stream: str,
    pipelines: dict[str, Any],
    documents: list[Document],
    size: Size,
) -> dict[str, Any]:
    requests = _bulk_requests(documents, size.documents)
    for name, body in pipelines.items():
        engine.put(f"/_ingest/pipeline/{_INDEX}-{name}", json=body).raise_for_status()
    figures: dict[str, Any] = {
        "document_bytes": round(sum(map(len, requests)) / size.documents),
        "processors": {name: len(body["processors"]) for name, body in pipelines.items()},
    }
    for kind, index in _indices(stream).items():
        seconds: dict[str, list[float]] = {name: [] for name in pipelines}
        for repeat in range(-size.warm_ups, size.repeats):
            order = list(pipelines)[repeat % 3 :] + list(pipelines)[: repeat % 3]
            for name in order:
                taken = _run(engine, f"{_INDEX}-{name}", index, requests)
                if repeat >= 0:
                    seconds[name].append(taken)
        figures[kind] = {
            "documents_per_second": {
                name: _spread([size.documents / one for one in runs], 0)
                for name, runs in seconds.items()
            },
            # Of runs that follow each other, so that the machine's other load counts for both.
            "time_ratio": {
                f"{one}/{other}": _spread(
                    [a / b for a, b in zip(seconds[one], seconds[other], strict=True)], 3
                )
                for one, other in _RATIOS
            },
        }
    for name in pipelines:
        engine.delete(f"/_ingest/pipeline/{_INDEX}-{name}").raise_for_status()
    return figures


def _indices(stream: str) -> dict[str, dict[str, Any]]:
    """The body of each kind of index; both have the same settings."""
    path = f"_component_template/logs-aquila_mde.{stream}@package"
    body = next(one.body for one in plan_install(TREE, "opensearch") if one.path == path)
    template = (body or {})["template"]
    settings = dict(template["settings"]["index"]) | {
        "number_of_replicas": 0,
        "refresh_interval": "-1",
    }
    del settings["default_pipeline"]
    return {
        "installed": {"settings": {"index": settings}, "mappings": template["mappings"]},
        "stored": {"settings": {"index": settings}, "mappings": {"dynamic": False}},
    }


def _bulk_requests(documents: list[Document], number: int) -> list[bytes]:
    lines = [
        b'{"index":{}}\n%b\n' % json.dumps(one, separators=(",", ":")).encode()
        for one in (documents * (number // len(documents) + 1))[:number]
    ]
    return [b"".join(lines[start : start + _AT_ONCE]) for start in range(0, number, _AT_ONCE)]


def _run(
    engine: httpx.Client, pipeline: str, index: dict[str, Any], requests: list[bytes]
) -> float:
    """Seconds until the engine has taken all documents into a new index."""
    engine.put(f"/{_INDEX}", json=index).raise_for_status()
    try:
        # Fields that the mappings do not name are added by the first documents; that is no cost
        # of a pipeline.
        _send(engine, pipeline, requests[0])
        began = time.perf_counter()
        for request in requests:
            _send(engine, pipeline, request)
        return time.perf_counter() - began
    finally:
        engine.delete(f"/{_INDEX}")


def _send(engine: httpx.Client, pipeline: str, request: bytes) -> None:
    answer = engine.post(
        f"/{_INDEX}/_bulk",
        params={"pipeline": pipeline, "filter_path": "errors,items.*.error"},
        content=request,
        headers={"Content-Type": "application/x-ndjson"},
    )
    said = answer.raise_for_status().json()
    if said["errors"]:
        error = next(each["error"] for item in said["items"] for each in item.values() if each)
        raise RuntimeError(f"the engine refuses documents of {pipeline}: {error}")


def _spread(runs: list[float], digits: int) -> dict[str, Any]:
    rounded = [round(one, digits) for one in runs]
    return {
        "min": min(rounded),
        "median": round(statistics.median(runs), digits),
        "max": max(rounded),
        "runs": rounded,
    }


def main() -> None:
    """Measure, show the ratios, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=Size.documents)
    parser.add_argument("--repeats", type=int, default=Size.repeats)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args()
    with EmbeddedEngine() as engine:
        figures = measure(engine.url, Size(given.documents, given.repeats))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for stream, one in figures["streams"].items():
        for kind in ("installed", "stored"):
            ratios = one[kind]["time_ratio"]
            shown = (
                f"{name} {value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f})"
                for name, value in ratios.items()
            )
            print(f"{stream:15} {kind:10} time {', '.join(shown)}")  # noqa: T201
    print(f"written: {given.output}")  # noqa: T201


if __name__ == "__main__":
    main()

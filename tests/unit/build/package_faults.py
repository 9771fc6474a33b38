"""Every way to break a package that the check knows, one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml
from tests.unit.build.package_with_everything import (
    DASHBOARD,
    RULE,
    SEARCH,
    TAG,
    Files,
    package_with_everything,
    swap,
)
from tests.unit.build.rule_faults import RULE_CASES
from tests.unit.build.transform_faults import TRANSFORM_CASES

GOOD = package_with_everything()
PIPELINE = "data_stream/alert/elasticsearch/ingest_pipeline/default.yml"
FIELDS = "data_stream/alert/fields/fields.yml"
BASE = "data_stream/alert/fields/base-fields.yml"
STREAM = "data_stream/alert/manifest.yml"
SAMPLE = "data_stream/alert/sample_event.json"
ILM = "data_stream/alert/elasticsearch/ilm/default_policy.json"


def add(path: str, content: str | bytes = "") -> Callable[[Files], None]:
    def change(files: Files) -> None:
        before = files.get(path, b"") if path.endswith((".yml", ".md")) else b""
        files[path] = before + (content.encode() if isinstance(content, str) else content)

    return change


def drop(path: str) -> Callable[[Files], None]:
    return lambda files: files.pop(path) and None


def set_json(path: str, key: str, value: Any) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        whole = json.loads(files[path])
        inner = whole
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        files[path] = json.dumps(whole, indent=2).encode()

    return change


def set_yaml(path: str, change_values: Callable[[Any], Any]) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        values = yaml.safe_load(files[path])
        values = change_values(values) or values
        files[path] = ("---\n" + yaml.safe_dump(values, sort_keys=False)).encode()

    return change


def field(text: str) -> Callable[[Files], None]:
    return add(FIELDS, f"- {text}\n")


def manifest(text: str) -> Callable[[Files], None]:
    return add("manifest.yml", f"{text}\n")


def panels(*more: dict[str, Any]) -> Callable[[Files], None]:
    return set_json(DASHBOARD, "attributes.panelsJSON", json.dumps(more))


def lens(name: str) -> dict[str, Any]:
    return {"type": "lens", "embeddableConfig": {"attributes": {"columns": {"sourceField": name}}}}


def on_alerts(column: dict[str, Any]) -> dict[str, Any]:
    """A panel that asks for alerts alone."""
    wanted = {"meta": {"key": "data_stream.dataset", "params": {"query": "aquila_mde.alert"}}}
    layers = {"formBased": {"layers": {"one": {"columns": {"a": column}}}}}
    state = {"filters": [wanted], "datasourceStates": layers}
    return {
        "type": "lens",
        "panelIndex": "p1",
        "embeddableConfig": {"attributes": {"state": state}},
    }


EVENT = {"eventId": "e", "action": {"factoryId": "DASHBOARD_TO_DASHBOARD_DRILLDOWN"}}
DRILL = {
    "type": "lens",
    "panelIndex": "p1",
    "embeddableConfig": {"enhancements": {"dynamicActions": {"events": [EVENT]}}},
}
LINKS = {
    "type": "links",
    "panelIndex": "p1",
    "embeddableConfig": {
        "attributes": {
            "links": [{"type": "dashboardLink", "destinationRefName": "link_a_dashboard"}]
        }
    },
}
SEARCH_SOURCE = "attributes.kibanaSavedObjectMeta.searchSourceJSON"
CASES: list[tuple[str, str, Callable[[Files], None], str]] = [
    # rule, file, change, what is said
    ("missing-file", "docs/README.md", drop("docs/README.md"), "is missing"),
    ("missing-file", STREAM, drop(STREAM), "is missing"),
    ("source-only", "_dev/build/build.yml", add("_dev/build/build.yml"), "source"),
    ("source-only", "img/logo.link", add("img/logo.link"), "link"),
    ("unknown-file", "data_stream/alert/x.txt", add("data_stream/alert/x.txt"), "no file"),
    ("limit", "img/big.png", add("img/big.png", bytes((3 << 20) + 1)), "3 MB are allowed"),
    ("template-left", "docs/alert.md", add("docs/alert.md", '{{fields "alert"}}\n'), "rendered"),
    ("missing-image", "docs/alert.md", add("docs/alert.md", "![x](../img/x.png)\n"), "x.png"),
    ("unreadable", "docs/alert.md", add("docs/alert.md", b"\xff"), "UTF-8"),
    ("unreadable", STREAM, add(STREAM, "title: [\n"), "is not YAML"),
    ("unreadable", STREAM, add(STREAM, "title: again\n"), "title: is given twice"),
    ("unreadable", STREAM, add(STREAM, b"\xff"), "UTF-8"),
    ("unreadable", SAMPLE, add(SAMPLE, b"\xff"), "UTF-8"),
    ("unreadable", SAMPLE, add(SAMPLE, "{"), "is not JSON"),
    ("unreadable", SAMPLE, add(SAMPLE, "[]"), "JSON object"),
    ("unreadable", SAMPLE, add(SAMPLE, "[" * 100_000), "too deep"),
    ("unreadable", "kibana/tags.yml", lambda f: f.update({"kibana/tags.yml": b"x"}), "mapping"),
    # manifest.yml
    ("missing-key", "manifest.yml", swap("manifest.yml", "title: M", "_title: M"), "title is"),
    ("unknown-key", "manifest.yml", manifest("readme: x"), "readme"),
    ("shape", "manifest.yml", manifest("screenshots: x"), "must be a list"),
    ("package-name", "manifest.yml", swap("manifest.yml", "aquila_mde\n", "Aquila\n"), "a-z"),
    ("package-type", "manifest.yml", swap("manifest.yml", ": integration", ": input"), "integr"),
    ("category", "manifest.yml", swap("manifest.yml", "edr_xdr", "endpoint_security"), "endp"),
    ("license", "manifest.yml", swap("manifest.yml", "Apache-2.0", "MIT"), "MIT"),
    ("owner", "manifest.yml", swap("manifest.yml", "type: community", "type: us"), "owner"),
    ("version", "manifest.yml", swap("manifest.yml", "0.1.0", "0.1"), "like 1.2.3"),
    ("version", "manifest.yml", swap("manifest.yml", "0.1.0", "0.1.0-beta1"), "preview already"),
    ("version", "manifest.yml", swap("manifest.yml", "0.1.0", "1.0.0-alpha1"), "alpha1"),
    ("kibana-version", "manifest.yml", swap("manifest.yml", '"^8.19.0 ||', '">=8 ||'), "^8.19.0"),
    ("format-version", "manifest.yml", swap("manifest.yml", "3.4.2", "three"), "like 3.4.2"),
    ("format-version", "manifest.yml", swap("manifest.yml", "3.4.2", "3.6.6"), "8.19 knows"),
    ("missing-image", "manifest.yml", swap("manifest.yml", "/img/logo", "/img/none"), "none"),
    (
        "unknown-stream",
        "manifest.yml",
        manifest("policy_templates: [{name: a, data_streams: [none]}]"),
        "no data stream none",
    ),
    (
        "secret",
        "manifest.yml",
        manifest(
            "policy_templates: [{name: a, inputs: [{type: cel, vars: "
            "[{name: client_secret, type: text}, {name: token_url, type: text}]}]}]"
        ),
        "client_secret",
    ),
    # changelog.yml
    (
        "changelog-version",
        "changelog.yml",
        swap("changelog.yml", "version: 0.1.0", "version: 0.2.0"),
        "the manifest says 0.1.0",
    ),
    (
        "changelog-version",
        "changelog.yml",
        add("changelog.yml", "- {version: 0.1.0, changes: []}\n"),
        "there twice",
    ),
    (
        "changelog-version",
        "changelog.yml",
        add("changelog.yml", "- {version: 0.3.0, changes: []}\n"),
        "newest comes first",
    ),
    (
        "changelog-change",
        "changelog.yml",
        swap("changelog.yml", "type: enhancement", "type: feature"),
        "one of",
    ),
    (
        "changelog-change",
        "changelog.yml",
        swap("changelog.yml", "description: C", "_d: C"),
        "no description",
    ),
    (
        "changelog-link",
        "changelog.yml",
        add(
            "changelog.yml",
            "- version: 0.0.1\n  changes:\n    - {description: x, type: bugfix, "
            "link: 'https://github.com/a/b/pull/0'}\n",
        ),
        "GitHub",
    ),
    # data streams
    ("stream-name", "data_stream/a/manifest.yml", add("data_stream/a/manifest.yml"), "two at"),
    ("stream-type", STREAM, swap(STREAM, "type: logs\n", ""), "Fleet takes no"),
    ("stream-type", STREAM, swap(STREAM, "type: logs", "type: log"), "one of"),
    ("missing-key", STREAM, swap(STREAM, "title:", "release:"), "title"),
    ("unknown-key", STREAM, add(STREAM, "version: 1\n"), "version"),
    ("stream-categories", STREAM, add(STREAM, "categories: [security]\n"), "server"),
    ("dataset", STREAM, swap(STREAM, "aquila_mde.alert\n", "Aquila-Alert\n"), "index"),
    ("lifecycle", STREAM, swap(STREAM, "logs-aquila_mde.alert-d", "logs-d"), "must begin"),
    ("lifecycle", STREAM, drop(ILM), "default_policy.json"),
    ("lifecycle", ILM, set_json(ILM, "policy", {}), "phases"),
    (
        "template-key",
        STREAM,
        swap(STREAM, "mappings:", "settings: {index: {mode: x}}\n    m:"),
        "index.mode",
    ),
    ("template-key", STREAM, swap(STREAM, "date_detection", "properties"), "properties"),
    ("missing-file", STREAM, add(STREAM, "streams: [{input: cel}]\n"), "stream.yml.hbs"),
    ("sample", SAMPLE, set_json(SAMPLE, "data_stream.dataset", "x.y"), "x.y"),
    ("sample", SAMPLE, set_json(SAMPLE, "mde.alert.novelty", 1), "mde.alert.novelty"),
    # fields
    ("field-type", FIELDS, field("{name: mde.x}"), "keyword"),
    ("field-type", FIELDS, field("{name: mde.x, type: string}"), "string"),
    ("field-name", FIELDS, field("{type: keyword}"), "no name"),
    ("field-key", FIELDS, field("{name: mde.x, type: keyword, required: true}"), "required"),
    ("field-key", FIELDS, field("{name: mde.x, type: keyword, date_format: y}"), "no date"),
    ("field-external", FIELDS, field("{name: user.roles, external: ecs}"), "another schema"),
    (
        "field-group",
        FIELDS,
        field("{name: mde.x, type: keyword, fields: [{name: y, type: ip}]}"),
        "only",
    ),
    ("field-group", FIELDS, field("{name: mde.x, type: group, unit: s}"), "neither unit"),
    ("field-object", FIELDS, field("{name: mde.x, type: object}"), "needs object_type"),
    ("field-object", FIELDS, field("{name: mde.x, type: object, object_type: ip}"), "ip"),
    ("field-object", FIELDS, field("{name: mde.x, type: object, object_type: object}"), "Fleet"),
    ("field-wildcard", FIELDS, field("{name: mde.*.seen, type: date}"), "Fleet"),
    ("field-twice", FIELDS, field("{name: host.name, type: keyword}"), "declared in"),
    ("field-file", FIELDS, lambda f: f.update({FIELDS: b"a: b"}), "list"),
    ("required-field", "data_stream/alert/fields", drop(BASE), "@timestamp"),
    ("required-field", BASE, swap(BASE, "type: date", "type: date_nanos"), "must be date"),
    (
        "limit",
        "data_stream/alert/fields",
        add(FIELDS, "".join(f"- {{name: mde.f{n}, type: ip}}\n" for n in range(2_049))),
        "2,048",
    ),
    # pipelines
    ("pipeline-start", PIPELINE, swap(PIPELINE, "---\n", ""), "---"),
    ("pipeline-key", PIPELINE, add(PIPELINE, "version: 1\n"), "version"),
    (
        "pipeline-name",
        "elasticsearch/ingest_pipeline/my-default.yml",
        lambda f: f.update({"elasticsearch/ingest_pipeline/my-default.yml": f[PIPELINE]}),
        "entry pipeline",
    ),
    (
        "pipeline-call",
        PIPELINE,
        add(PIPELINE, '# {{ IngestPipeline "none" }}\n'),
        "no pipeline none",
    ),
    (
        "pipeline-call",
        PIPELINE,
        add(PIPELINE, '# {{ IngestPipeline "default" }} {{ IngestPipeline "default" }}\n'),
        "second time",
    ),
    (
        "processor",
        PIPELINE,
        swap(PIPELINE, "processors:\n", "processors:\n  - enrich: {tag: e}\n"),
        "enrich",
    ),
    (
        "processor-tag",
        PIPELINE,
        swap(PIPELINE, "processors:\n", "processors:\n  - drop: {if: 'false'}\n"),
        "drop has no tag",
    ),
    (
        "processor-tag",
        PIPELINE,
        swap(
            PIPELINE,
            "processors:\n",
            "processors:\n  - trim: {field: a, tag: t, on_failure: [{trim: {field: a, tag: t}}]}\n",
        ),
        "there twice",
    ),
    (
        "rename-message",
        PIPELINE,
        swap(PIPELINE, "      if: ctx.event?.original == null\n", ""),
        "needs if",
    ),
    (
        "rename-message",
        PIPELINE,
        swap(PIPELINE, "      if: ctx.event?.original != null\n", ""),
        "needs a remove",
    ),
    (
        "on-failure",
        PIPELINE,
        set_yaml(PIPELINE, lambda values: values.pop("on_failure") and None),
        "pipeline_error",
    ),
    # Kibana
    ("kibana-id", TAG, set_json(TAG, "id", "aquila_mde-x"), "the file is"),
    ("kibana-id", "kibana/tag/x.json", add("kibana/tag/x.json", '{"id": "x"}'), "begin with"),
    (
        "kibana-id",
        "kibana/map/aquila_mde-a-ecs.json",
        add("kibana/map/aquila_mde-a-ecs.json", '{"id": "aquila_mde-a-ecs"}'),
        "-ecs",
    ),
    ("reference", DASHBOARD, drop(TAG), "no tag aquila_mde-edr"),
    (
        "data-view",
        SEARCH,
        set_json(SEARCH, "references", [{"type": "index-pattern", "id": "logs-x-*"}]),
        "logs-x-*",
    ),
    (
        "by-reference",
        DASHBOARD,
        set_json(DASHBOARD, "references", [{"type": "lens", "id": "aquila_mde-a"}]),
        "part of the dashboard",
    ),
    ("dashboard-filter", DASHBOARD, set_json(DASHBOARD, SEARCH_SOURCE, "{}"), "no filter"),
    (
        "dashboard-filter",
        DASHBOARD,
        set_json(DASHBOARD, SEARCH_SOURCE, {"query": {"query": "x"}}),
        "query and no filter",
    ),
    (
        "legacy-visualization",
        DASHBOARD,
        panels({"type": "visualization", "embeddableConfig": {"savedVis": {"type": "pie"}}}),
        "pie",
    ),
    ("dashboard-field", DASHBOARD, panels(lens("event.sevrity")), "event.sevrity"),
    (
        "panel-reference",
        DASHBOARD,
        panels(on_alerts({"sourceField": "event.action"}) | {"panelIndex": "p9"}),
        "p9:indexpattern-datasource-layer-one",
    ),
    ("panel-reference", DASHBOARD, panels(DRILL), "p1:drilldown:DASHBOARD_TO"),
    ("panel-reference", DASHBOARD, panels(LINKS), "p1:link_a_dashboard"),
    (
        "panel-field",
        DASHBOARD,
        panels(on_alerts({"sourceField": "event.action", "operationType": "average"})),
        "event.action, which is keyword, for average",
    ),
    (
        "panel-field",
        DASHBOARD,
        panels(on_alerts({"sourceField": "mde.machine.risk_score", "operationType": "terms"})),
        "mde.machine.risk_score, which its data stream does not declare",
    ),
    ("search-filter", SEARCH, set_json(SEARCH, SEARCH_SOURCE, "{}"), "no filter"),
    ("search-field", SEARCH, set_json(SEARCH, "attributes.columns", ["host.x"]), "field host.x"),
    ("rule", RULE, set_json(RULE, "attributes.severity", None), "severity"),
    ("rule", RULE, swap("manifest.yml", "- security\nicons", "- apm\nicons"), "capability"),
    *RULE_CASES,
    *TRANSFORM_CASES,
    ("tag", "kibana/tags.yml", add("kibana/tags.yml", "- {text: EDR}\n"), "EDR"),
    (
        "tag",
        "kibana/tag/aquila_mde-two.json",
        add(
            "kibana/tag/aquila_mde-two.json",
            '{"id": "aquila_mde-two", "attributes": {"name": "EDR"}}',
        ),
        "there twice",
    ),
]

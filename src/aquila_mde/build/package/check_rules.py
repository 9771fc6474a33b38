"""Detection rules: what they look at, the fields they name, and whether they leave gaps of time.

Elastic's validator reads the id of a rule and nothing else; Kibana says what is wrong when a user
installs it, or finds nothing for ever.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aquila_mde.build.package.fields import declared, is_declared
from aquila_mde.build.package.findings import Finding, Found, Json, Severity
from aquila_mde.build.package.reading import JsonSource, PackageFiles, mapping, members, part, texts
from aquila_mde.dashboards.filters import FilterError, parse_filter
from aquila_mde.dashboards.load import FITTING

_KEYS = ("rule_id", "version", "name", "description", "risk_score", "severity", "type")
_TYPES = {
    "query": ("query", "language"),
    "saved_query": ("saved_id",),
    "threshold": ("query", "language", "threshold"),
    "new_terms": ("query", "language", "new_terms_fields", "history_window_start"),
    "eql": ("query", "language"),
    "esql": ("query", "language"),
    "threat_match": ("query", "threat_query", "threat_mapping", "threat_index"),
    "machine_learning": ("anomaly_threshold", "machine_learning_job_id"),
}
"""The types of rules that Kibana knows, and what each needs."""
_SEVERITIES = ("low", "medium", "high", "critical")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_QUOTED = re.compile(r'"""[\s\S]*?"""|"(?:\\.|[^"\\])*"')
_SOURCE = re.compile(r"(?im)^\s*FROM\s+[^|]*")
_FIELD = re.compile(r"(?<![\w.])[a-z_]\w*(?:\.\w+)+")
_TACTIC, _TECHNIQUE = r"TA\d{4}", r"T\d{4}"
_ALWAYS = {"_id": "keyword", "_index": "keyword", "event.ingested": "date"}


def check_rules(package: PackageFiles) -> Found:
    """Every finding about the rules in kibana/security_rule/."""
    manifest = mapping(package.yaml("manifest.yml"))
    versions: Counter[tuple[str, str]] = Counter()
    for path, _ in package.matching(r"kibana/security_rule/[^/]+\.json"):
        source = package.json(path)
        if source is None:
            continue
        rule = part(source.values, "attributes")
        yield from _names(source, rule, str(manifest.get("name")))
        yield from _says(source, rule)
        yield from _times(source, rule)
        yield from _attack(source, rule)
        known, faults = _known(package, source, rule)
        yield from faults
        yield from _fields(source, rule, known)
        told = (str(rule.get("rule_id")), str(rule.get("version")))
        versions[told] += 1
        if versions[told] > 1:
            problem = f"version {told[1]} of {told[0]} is there twice"
            yield Finding(path, source.line('"rule_id"'), "rule-id", problem)
        elastic = part(manifest, "conditions", "elastic")
        if "security" not in texts(elastic.get("capabilities")):
            problem = "a rule needs the capability security in conditions.elastic of manifest.yml"
            yield Finding(path, 1, "rule", problem)


def _names(source: JsonSource, rule: Json, package: str) -> Found:
    rule_id, version = str(rule.get("rule_id")), rule.get("version")
    if source.values.get("id") not in (rule_id, f"{rule_id}_{version}"):
        problem = f"the id must be {rule_id}_{version}, of rule_id and version"
        yield Finding(source.file, source.line('"id"'), "rule-id", problem)
    if not rule_id.startswith(f"{package}-"):
        problem = f"rule_id must begin with {package}-, or it may be another's"
        yield Finding(source.file, source.line('"rule_id"'), "rule-id", problem)
    if not isinstance(version, int) or version < 1:
        problem = f"the version is {version} and must be a number from 1 on"
        yield Finding(source.file, source.line('"version"'), "rule-id", problem)


def _says(source: JsonSource, rule: Json) -> Found:
    needed = (*_KEYS, *_TYPES.get(str(rule.get("type")), ()))
    lacking = [key for key in needed if rule.get(key) in (None, "", [])]
    if lacking:
        problem = f"lacks {', '.join(lacking)}"
        yield Finding(source.file, source.line('"attributes"'), "rule", problem)
    if rule.get("type") not in (None, *_TYPES):
        problem = f"{rule['type']} is no type of a rule"
        yield Finding(source.file, source.line('"type"'), "rule", problem)
    named = [rule.get("severity")]
    named += [one.get("severity") for _, one in members(rule.get("severity_mapping"))]
    for severity in named:
        if severity not in (None, *_SEVERITIES):
            problem = f"{severity} is none of {', '.join(_SEVERITIES)}"
            yield Finding(source.file, source.line('"severity"'), "rule", problem)
    risk = rule.get("risk_score", 0)
    if risk is not None and not (isinstance(risk, int | float) and 0 <= risk <= 100):
        problem = f"the risk score is {risk} and goes from 0 to 100"
        yield Finding(source.file, source.line('"risk_score"'), "rule", problem)


def _times(source: JsonSource, rule: Json) -> Found:
    every = _seconds(rule.get("interval", "5m"))
    back = _seconds(str(rule.get("from", "now-6m")).removeprefix("now-"))
    if every is None or back is None:
        problem = "interval and from need a time such as 5m and now-15m"
        yield Finding(source.file, source.line('"interval"'), "rule-time", problem)
    elif back < every:
        problem = f"looks back {rule.get('from')} every {rule.get('interval')}, which leaves gaps"
        yield Finding(source.file, source.line('"from"'), "rule-time", problem)


def _seconds(text: Any) -> int | None:
    match = re.fullmatch(r"(\d+)([smhd])", str(text))
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _attack(source: JsonSource, rule: Json) -> Found:
    for _, threat in members(rule.get("threat")):
        yield from _entry(source, part(threat, "tactic"), _TACTIC)
        for _, technique in members(threat.get("technique")):
            yield from _entry(source, technique, _TECHNIQUE)
            for _, below in members(technique.get("subtechnique")):
                parent = re.escape(str(technique.get("id")))
                yield from _entry(source, below, rf"{parent}\.\d{{3}}")


def _entry(source: JsonSource, entry: Json, pattern: str) -> Found:
    key = str(entry.get("id"))
    page = f"/{key.replace('.', '/')}/"
    if not re.fullmatch(pattern, key) or not str(entry.get("reference")).endswith(page):
        problem = f"{key} with the page {entry.get('reference')} is nothing of ATT&CK here"
        yield Finding(source.file, source.line(f'"{key}"'), "rule-attack", problem)


def _known(
    package: PackageFiles, source: JsonSource, rule: Json
) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The fields of each data stream that a rule looks at, and what it looks at in vain."""
    name = str(mapping(package.yaml("manifest.yml")).get("name"))
    indices = texts(rule.get("index"))
    if rule.get("type") == "esql" and (match := _SOURCE.search(str(rule.get("query")))):
        indices = [one.strip() for one in match[0].split(None, 1)[1].split(",")]
    found: dict[str, dict[str, str]] = {}
    faults = []
    for index in indices:
        stream = re.fullmatch(rf"logs-{re.escape(name)}\.(\w+)-\*", index.split(" ")[0])
        if stream is None or stream[1] not in package.streams():
            problem = f"looks at {index}, where no data stream of the package writes"
            faults.append(Finding(source.file, source.line(index), "rule-index", problem))
        else:
            fields = declared(package, f"data_stream/{stream[1]}/fields")
            found[stream[1]] = _ALWAYS | fields
    return found, faults


def _fields(source: JsonSource, rule: Json, streams: dict[str, dict[str, str]]) -> Found:
    if not streams:
        return
    together: dict[str, str] = {}
    for fields in streams.values():
        together |= fields
    named, problem = _conditions(rule)
    if problem:
        yield Finding(source.file, source.line('"query"'), "rule-query", problem, Severity.WARNING)
    overrides = ("rule_name_override", "timestamp_override")
    named += [str(rule[key]) for key in overrides if rule.get(key)]
    named += [str(one.get("field")) for _, one in members(rule.get("severity_mapping"))]
    named += texts(part(rule, "investigation_fields").get("field_names"))
    for name in sorted(set(named)):
        if not is_declared(name, together):
            problem = f"uses the field {name}, which none of its data streams declares"
            yield Finding(source.file, source.line(name), "rule-field", problem)
    for name, use in _grouped(rule):
        for stream, fields in streams.items():
            kind = fields.get(name)
            if kind is None and use == "values":
                problem = f"groups by {name}, which {stream} does not declare"
                yield Finding(source.file, source.line(name), "rule-field", problem)
            elif kind is not None and kind not in FITTING[use]:
                problem = f"uses {name}, which is {kind}, for {use}"
                yield Finding(source.file, source.line(name), "rule-field", problem)
    for _, one in members(rule.get("required_fields")):
        name, kind = str(one.get("name")), str(one.get("type"))
        if kind not in {fields.get(name) for fields in streams.values()}:
            problem = f"says that {name} is {kind}, which no data stream of it declares"
            yield Finding(source.file, source.line(name), "rule-field", problem)


def _conditions(rule: Json) -> tuple[list[str], str]:
    """The fields that the query of a rule names, and why not all of them may be known."""
    query, language = str(rule.get("query", "")), rule.get("language")
    if language == "kuery":
        try:
            return list(parse_filter(query).fields()), ""
        except FilterError as error:
            return [], f"the fields of its query were not looked up, since it {error}"
    if language in ("eql", "esql"):
        bare = _QUOTED.sub('""', _SOURCE.sub("", query) if language == "esql" else query)
        return _FIELD.findall(bare), ""
    return [], f"the fields of its query were not looked up, since it is {language}"


def _grouped(rule: Json) -> Iterator[tuple[str, str]]:
    """The fields by which records belong together, and those that are counted or added up."""
    threshold = part(rule, "threshold")
    grouped = threshold.get("field")
    for name in [grouped] if isinstance(grouped, str) else texts(grouped):
        yield name, "values"
    for name in texts(rule.get("new_terms_fields")):
        yield name, "values"
    for _, counted in members(threshold.get("cardinality")):
        yield str(counted.get("field")), "unique"
    for _, score in members(rule.get("risk_score_mapping")):
        yield str(score.get("field")), "sum"

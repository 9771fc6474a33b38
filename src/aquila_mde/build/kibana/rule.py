"""A detection rule as the asset that Fleet brings to Kibana, and as Kibana's import takes it.

What can differ between the two is in :func:`asset` and :func:`imported`; the rule itself is the
same. Fleet only makes rules available: whoever runs Kibana installs and enables them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from aquila_mde.build import ecs
from aquila_mde.build.kibana.dashboard import PREFIX
from aquila_mde.dashboards.load import PACKAGE, Types
from aquila_mde.rules.attack import Attack
from aquila_mde.rules.languages import eql, esql
from aquila_mde.rules.load import Rule
from aquila_mde.rules.spec import INGESTED, RuleSpec

Json = dict[str, Any]
AUTHOR = "Aquila"
_TYPES = {"sequence": "eql", "join": "esql"}
_TAGS = ("Domain: Endpoint", "Data Source: Microsoft Defender for Endpoint")


def asset(rule: Rule, attack: Attack, types: Types) -> str:
    """``rule`` as the JSON of one file of ``kibana/security_rule/``."""
    saved = {"attributes": attributes(rule, attack, types), "id": rule.id, "type": "security-rule"}
    return json.dumps(saved, indent=2, ensure_ascii=False) + "\n"


def imported(rules: Sequence[Rule], attack: Attack, types: Types, *, enabled: bool) -> str:
    """``rules`` as Kibana's import takes them: a line of JSON for each.

    They are the user's own there and not those of a package; a second import with overwrite
    replaces them.
    """
    lines = (
        json.dumps(attributes(rule, attack, types) | {"enabled": enabled}, ensure_ascii=False)
        for rule in rules
    )
    return "".join(f"{line}\n" for line in lines)


def attributes(rule: Rule, attack: Attack, types: Types) -> Json:
    """The rule itself, in the words of Kibana's detection API."""
    spec = rule.spec
    made: Json = {
        "author": [AUTHOR],
        "description": spec.description,
        "false_positives": list(spec.false_positives),
        "from": f"now-{spec.look_back}",
        "interval": spec.interval,
        "language": "kuery",
        "license": "Apache-2.0",
        "max_signals": spec.max_signals,
        "name": f"{PREFIX} {spec.title}",
        "note": spec.note,
        "references": list(spec.references),
        "related_integrations": [{"package": PACKAGE, "version": ">=0.1.0"}],
        "required_fields": list(_required(rule, types)),
        "risk_score": spec.risk,
        "risk_score_mapping": [],
        "rule_id": rule.rule_id,
        "setup": spec.setup or "",
        "severity": spec.severity,
        "severity_mapping": list(_severities(spec)),
        "tags": [*_TAGS, *(f"Tactic: {attack.tactics[name][1]}" for name in spec.attack)],
        "threat": attack.threat(spec.attack),
        "to": "now",
        "type": _TYPES.get(spec.type, spec.type),
        "version": spec.version,
    }
    if spec.risk_score_mapping is not None:
        field = {"field": spec.risk_score_mapping, "operator": "equals", "value": ""}
        made["risk_score_mapping"] = [field]
    if spec.rule_name_override is not None:
        made["rule_name_override"] = spec.rule_name_override
    if spec.timestamp_override == INGESTED:
        made["timestamp_override"] = INGESTED
    if spec.highlighted:
        made["investigation_fields"] = {"field_names": list(spec.highlighted)}
    return dict(sorted((made | _asked(rule)).items()))


def text_of(rule: Rule) -> tuple[str, str]:
    """What Kibana runs, and the language it is in."""
    spec = rule.spec
    if spec.sequence is not None:
        return eql(spec.sequence), "eql"
    if spec.join is not None:
        return esql(spec, spec.join), "esql"
    return str(spec.query), "kuery"


def _asked(rule: Rule) -> Json:
    """What depends on the type of the rule."""
    spec = rule.spec
    query, language = text_of(rule)
    made: Json = {"query": query, "language": language}
    if language != "esql":
        made["index"] = rule.indices
    if spec.threshold is not None:
        counted = spec.threshold.cardinality
        cardinality = [{"field": counted.field, "value": counted.value}] if counted else []
        made["threshold"] = {
            "cardinality": cardinality,
            "field": list(spec.threshold.field),
            "value": spec.threshold.value,
        }
    if spec.new_terms is not None:
        made["history_window_start"] = f"now-{spec.new_terms.history}"
        made["new_terms_fields"] = list(spec.new_terms.field)
    return made


def _severities(spec: RuleSpec) -> Iterator[Json]:
    if spec.severity_mapping is not None:
        for value, severity in spec.severity_mapping.values.items():
            yield {
                "field": spec.severity_mapping.field,
                "operator": "equals",
                "severity": severity,
                "value": value,
            }


def _required(rule: Rule, types: Types) -> Iterator[Json]:
    for name in sorted({name for _, name, _ in rule.spec.fields()}):
        having = (types[stream] for stream in rule.spec.streams if name in types.get(stream, {}))
        kind = next((known[name] for known in having), None)
        if kind is not None:
            yield {"ecs": name in ecs.fields(), "name": name, "type": kind}

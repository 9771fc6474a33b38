"""What the page of the detection rules says of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aquila_mde.build.kibana.rule import text_of
from aquila_mde.rules.attack import Attack
from aquila_mde.rules.load import Rule
from aquila_mde.rules.spec import length
from aquila_mde.streams.tree import PackageTree

_KINDS = {
    "query": "each record",
    "threshold": "groups of records",
    "new_terms": "new values",
    "sequence": "one after the other (EQL)",
    "join": "several together (ES|QL)",
}
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


@dataclass(frozen=True)
class RuleText:
    """One rule and what the page says of it beside what its file says."""

    rule: Rule
    kind: str
    query: str
    language: str
    techniques: tuple[tuple[str, str, str], ...]
    """Id, name and page of each."""
    on_demo: int | None
    """What it found in the tenant of the demonstration."""


@dataclass(frozen=True)
class RulePage:
    """Every rule, and the tenant they were counted on."""

    rules: tuple[RuleText, ...]
    tenant: dict[str, Any]
    """What the tenant held, and over how many days it was looked at."""


def described(tree: PackageTree, rules: list[Rule], attack: Attack) -> RulePage:
    """What the page says. The counts are those of ``package/docs/rules-on-demo.json``."""
    counted = json.loads((tree.package / "docs" / "rules-on-demo.json").read_text("utf-8"))
    return RulePage(
        tuple(_text(rule, attack, counted["found"].get(rule.name)) for rule in rules),
        counted["tenant"],
    )


def spoken(span: str) -> str:
    """A span of a rule in words: ``15m`` is 15 minutes."""
    seconds = int(length(span).total_seconds())
    unit, size = next(one for one in _UNITS if seconds % one[1] == 0)
    count = seconds // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _text(rule: Rule, attack: Attack, on_demo: int | None) -> RuleText:
    query, language = text_of(rule)
    techniques = {}
    for threat in attack.threat(rule.spec.attack):
        for parent in threat["technique"]:
            for one in parent.get("subtechnique", [parent]):
                techniques[one["id"]] = (one["id"], one["name"], one["reference"])
    kind = _KINDS[rule.spec.type]
    return RuleText(rule, kind, query, language, tuple(techniques.values()), on_demo)

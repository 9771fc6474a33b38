"""Rules in Sigma as queries over the results of hunting, by pySigma and its backends for Elastic.

pySigma is an extra of its own (``pip install 'aquila-mde[sigma]'``). What is ours is the pipeline,
``package/sigma/aquila_mde.yml``, which sigma-cli reads just as well, and the rule for Kibana: the
backends' own asks the internet for the names of techniques.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

import yaml
from sigma.backends.elasticsearch.elasticsearch_eql import EqlBackend
from sigma.backends.elasticsearch.elasticsearch_esql import ESQLBackend
from sigma.backends.elasticsearch.elasticsearch_lucene import LuceneBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule

from aquila_mde.errors import ConfigurationError
from aquila_mde.rules.spec import INGESTED, RISK, Severity
from aquila_mde.streams.tree import PackageTree

INDEX = "logs-aquila_mde.hunting-*"
Target = Literal["lucene", "esql", "eql"]
_BACKENDS = {"lucene": LuceneBackend, "esql": ESQLBackend, "eql": EqlBackend}
_TYPES = {"lucene": "query", "esql": "esql", "eql": "eql"}
_LEVELS: dict[str, Severity] = {
    "informational": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}
_INTERVAL, _LOOK_BACK = "15m", "30m"
"""The stream brings new rows every quarter of an hour."""


class SigmaRuleError(ConfigurationError):
    """A Sigma rule cannot be read, or not be said in the fields of the index."""


def pipeline_text(tree: PackageTree) -> str:
    """The processing pipeline as YAML."""
    return (tree.package / "sigma" / "aquila_mde.yml").read_text(encoding="utf-8")


def convert(
    files: Sequence[Path], target: Target, tree: PackageTree, *, as_rules: bool = False
) -> Iterator[str]:
    """Each rule of ``files`` as a query; ``as_rules``: as a line that Kibana imports as a rule.

    Raises :class:`SigmaRuleError` at the first rule that cannot be converted.
    """
    pipeline = ProcessingPipeline.from_yaml(pipeline_text(tree))
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SigmaRuleError(
                f"The Sigma rule {file} cannot be read: {error}", hint="Name a YAML file."
            ) from None
        try:
            backend = _BACKENDS[target](pipeline)
            rules = SigmaCollection.from_yaml(text).rules
            made = [(rule, query) for rule in rules for query in backend.convert_rule(rule)]
        except (SigmaError, yaml.YAMLError, ValueError, NotImplementedError) as error:
            raise SigmaRuleError(
                f"The Sigma rule {file} cannot be converted: {error}",
                hint="Which log sources and fields there are stands in docs/detection-rules.md.",
            ) from None
        for rule, query in made:
            yield _rule(rule, str(query), target) if as_rules else str(query)


def _rule(rule: object, query: str, target: Target) -> str:
    """``query`` as a rule of Kibana, with what the Sigma rule says of itself; switched off."""
    if not isinstance(rule, SigmaRule):
        raise SigmaRuleError(
            "A Sigma correlation becomes no rule of Kibana.", hint="Leave --ndjson out."
        )
    severity = _LEVELS[rule.level.name.lower() if rule.level else "medium"]
    made = {
        "author": [rule.author] if rule.author else [],
        "description": rule.description or rule.title,
        "enabled": False,
        "false_positives": [str(one) for one in rule.falsepositives],
        "from": f"now-{_LOOK_BACK}",
        "interval": _INTERVAL,
        "language": target,
        "name": rule.title,
        "query": query,
        "references": [str(one) for one in rule.references],
        "risk_score": RISK[severity],
        "rule_id": str(rule.id or uuid5(NAMESPACE_URL, rule.title)),
        "severity": severity,
        "tags": ["Sigma", *(str(tag) for tag in rule.tags)],
        "timestamp_override": INGESTED,
        "to": "now",
        "type": _TYPES[target],
    }
    if target != "esql":
        made["index"] = [INDEX]
    return json.dumps(made, ensure_ascii=False)

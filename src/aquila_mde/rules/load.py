"""Reads ``package/rules/`` and finds what is wrong in it, each fault with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aquila_mde.dashboards.load import FITTING, PACKAGE, Types, dataset, misuse, searched
from aquila_mde.esql import EsqlError, read_query
from aquila_mde.esql.types import LISTS
from aquila_mde.rules.attack import Attack, load_attack
from aquila_mde.rules.languages import esql
from aquila_mde.rules.spec import RuleSpec, Use
from aquila_mde.streams.faults import Fault, raise_if_any
from aquila_mde.streams.hunts import load_hunts
from aquila_mde.streams.tree import PackageTree
from aquila_mde.streams.yaml_source import YamlSource, load

_NOT_FITTING: dict[Use, tuple[str, str]] = {
    "range": ("max", "compared with a bound"),
    "group": ("values", "what records belong together by"),
    "distinct": ("unique", "counted"),
    "number": ("sum", "a risk score"),
}
"""A use of panels that takes the same types, and what is said where the type does not fit."""
_DATASET, _HUNT = "data_stream.dataset", "mde.hunting.name"
_TEXTS = ("text", "match_only_text")


@dataclass(frozen=True)
class Rule:
    """One rule, its name and where it was read from."""

    name: str
    spec: RuleSpec
    source: YamlSource

    @property
    def rule_id(self) -> str:
        """By which Kibana tells it from others; the same in every version."""
        return f"{PACKAGE}-{self.name}"

    @property
    def id(self) -> str:
        """Of the saved object, which holds one version."""
        return f"{self.rule_id}_{self.spec.version}"

    @property
    def indices(self) -> list[str]:
        """What is searched."""
        return [searched(stream) for stream in self.spec.streams]


def load_rules(tree: PackageTree, types: Types | None = None) -> list[Rule]:
    """Every rule by name. Raises an error that lists all faults.

    With ``types`` the fields are looked up as well: whether they exist, and fit what they are
    used for.
    """
    attack = load_attack(tree)
    streams = {folder.name for folder in tree.data_streams()}
    hunts = {one.name for one in load_hunts([tree.root / "data_stream" / "hunting" / "queries"])}
    found: list[Rule] = []
    faults: list[Fault] = []
    for file in sorted((tree.package / "rules").glob("*.yml")):
        spec, source, wrong = load(RuleSpec, file)
        faults += wrong
        if spec is None or source is None:
            continue
        rule = Rule(file.stem, spec, source)
        found.append(rule)
        faults += _faults(rule, attack, streams, hunts)
        if types is not None:
            faults += [*field_faults(rule, types)] or _esql_faults(rule, types)
    titles: dict[str, str] = {}
    for rule in found:
        if rule.spec.title in titles:
            problem = f"is the title of {titles[rule.spec.title]} too"
            faults.append(rule.source.fault(("title",), problem))
        titles[rule.spec.title] = rule.name
    raise_if_any(faults)
    return found


def _faults(rule: Rule, attack: Attack, streams: set[str], hunts: set[str]) -> Iterator[Fault]:
    for number, stream in enumerate(rule.spec.streams):
        if stream not in streams:
            yield rule.source.fault(("streams", number), f"there is no data stream {stream}")
    datasets = {dataset(stream) for stream in rule.spec.streams}
    for place, term in rule.spec.terms():
        if term.field == _DATASET and term.value not in datasets:
            yield rule.source.fault(place, f"{term.value} is of none of the streams of the rule")
        if term.field == _HUNT and term.value is not None and term.value not in hunts:
            yield rule.source.fault(place, f"there is no hunting query {term.value}")
    for tactic, techniques in rule.spec.attack.items():
        for technique in techniques or (None,):
            if problem := attack.problem(tactic, technique):
                yield rule.source.fault(("attack", tactic), problem)


def field_faults(rule: Rule, types: Types) -> Iterator[Fault]:
    """The fields that do not exist, or whose type does not fit what they are used for."""
    streams = [stream for stream in rule.spec.streams if stream in types]
    shared = set(rule.spec.keys())
    for place, name, use in rule.spec.fields():
        having = [stream for stream in streams if name in types[stream]]
        if not having and streams:
            where = " or ".join(streams)
            yield rule.source.fault(place, f"{name} is no field of {where}")
        if use == "group" and name in shared and 0 < len(having) < len(streams):
            lacking = ", ".join(stream for stream in streams if stream not in having)
            problem = f"{name} is no field of {lacking}, so its records belong to no group"
            yield rule.source.fault(place, problem)
        for stream in having:
            if wrong := unfit(name, use, rule, types[stream], stream):
                yield rule.source.fault(place, wrong)
                break


def _esql_faults(rule: Rule, types: Types) -> Iterator[Fault]:
    """What Elasticsearch would refuse of the ES|QL that a join becomes."""
    join = rule.spec.join
    if join is None or not set(rule.spec.streams) <= set(types):
        return
    try:
        read_query(esql(rule.spec, join)).check(types)
    except EsqlError as error:
        yield rule.source.fault(("join",), f"becomes ES|QL that {error}")


def unfit(name: str, use: Use, rule: Rule, known: Mapping[str, str], stream: str) -> str | None:
    """What is wrong with using the field ``name`` of ``stream`` in ``rule``."""
    if problem := misuse(name, "filter", known, stream):
        return problem
    if use in _NOT_FITTING:
        like, said = _NOT_FITTING[use]
        if known[name] not in FITTING[like]:
            return f"{name} is {known[name]} and cannot be {said}"
    if use == "condition" and known[name] in _TEXTS:
        return f"{name} is {known[name]}, whose words are looked for and not the value"
    if rule.spec.type in ("sequence", "join") and name.startswith(LISTS):
        return f"{name} holds several values, which EQL and ES|QL do not compare"
    return None

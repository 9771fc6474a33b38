"""The processing pipeline for Sigma, made of ``data_stream/hunting/mapping.yml``.

With it a Sigma rule, in the columns of Microsoft's tables or in the names of Sigma's own taxonomy,
becomes a query over the documents of the stream. ``taxonomy.yml`` beside this file says which table
a log source of Sigma is, and which column each of Sigma's field names.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Values
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from aquila_mde.build.library import Library
from aquila_mde.build.mappings import Mapping
from aquila_mde.build.sigma.places import OWN, STREAM, columns
from aquila_mde.dashboards.load import Types, searched

Json = dict[str, Any]
_HEAD = (
    "# Built from data_stream/hunting/mapping.yml; run `aquila-mde build` after a change there.\n"
)
_WITHOUT_CASE = ("keyword", "wildcard", "constant_keyword")


class _Plain(yaml.SafeDumper):
    """Writes what is there twice twice, instead of with anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML asks of each value
        return True


@cache
def taxonomy() -> Json:
    """Sigma's log sources and field names in those of advanced hunting."""
    loaded: Json = yaml.safe_load(files(__package__).joinpath("taxonomy.yml").read_text("utf-8"))
    return loaded


def sigma_pipeline(mappings: list[Mapping], library: Library, types: Types) -> str:
    """The pipeline as YAML, which sigma-cli and pySigma read."""
    (spec,) = (one.spec for one in mappings if one.stream == STREAM)
    everywhere = columns(spec, library, "")
    named = {table: _sources(table) for table in library.tables["hunt_table"].values}
    mapped: list[Json] = list(_hives(library))
    added: list[Json] = []
    targets = set(everywhere.values())
    for table, sources in named.items():
        here = columns(spec, library, table)
        targets |= set(here.values())
        nowhere = sorted(set(everywhere) - set(here))
        if nowhere:
            names = ", ".join(nowhere)
            problem = f"No field of the index holds these columns of {table}: {names}."
            mapped.append(_failure(f"without_{table}", problem, nowhere, sources))
        of_sigma = {
            name: here[column] for name, column in taxonomy()["fields"].get(table, {}).items()
        }
        differing = {
            column: field for column, field in here.items() if everywhere.get(column) != field
        }
        if differing or of_sigma:
            fields = of_sigma | differing
            mapped.append(_step(f"columns_{table}", "field_name_mapping", sources, mapping=fields))
        table_is = {f"{OWN}.table": table}
        added.append(_step(f"table_{table}", "add_condition", sources, conditions=table_is))
    for name, one in taxonomy()["sources"].items():
        if "actions" in one:
            action = {"event.action": one["actions"]}
            sources = [_source("windows", name)]
            added.append(_step(f"action_{name}", "add_condition", sources, conditions=action))
    every = [source for sources in named.values() for source in sources]
    common = everywhere | {
        name: everywhere[column] for name, column in taxonomy()["everywhere"].items()
    }
    steps = [
        _unknown(every),
        *mapped,
        _step("columns", "field_name_mapping", mapping=common),
        _step("every_field", "strict_field_mapping_failure"),
        *_values(sorted(targets), types[STREAM]),
        *added,
        _step("index", "set_state", key="index", val=searched(STREAM)),
    ]
    made = {
        "name": "Advanced hunting of Defender in the documents of aquila_mde",
        "priority": 20,
        "transformations": steps,
    }
    return _HEAD + yaml.dump(made, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000)


def _sources(table: str) -> list[Json]:
    """The log sources of Sigma that are ``table``."""
    named = [_source("defender", table)]
    for name, one in taxonomy()["sources"].items():
        if one["table"] == table:
            named.append(_source("windows", name))
    return named


def _source(product: str, category: str) -> Json:
    return {"type": "logsource", "product": product, "category": category}


def _step(name: str, kind: str, sources: list[Json] | None = None, **more: Any) -> Json:
    """A step for the rules of any of ``sources``, or for all."""
    step = {"id": name, "type": kind, **more}
    if sources is None:
        return step
    return step | {"rule_conditions": sources, "rule_cond_op": "or"}


def _failure(name: str, problem: str, fields: list[str], sources: list[Json] | None) -> Json:
    """A step at which a rule ends that names one of ``fields``."""
    condition = {"type": "include_fields", "fields": fields}
    return _step(
        name,
        "detection_item_failure",
        sources,
        message=problem,
        field_name_conditions=[condition],
    )


def _unknown(sources: list[Json]) -> Json:
    problem = (
        "The log source is no table of advanced hunting. Write product: defender and the table as "
        "category, or one of Sigma's categories for product: windows."
    )
    step = _step("log_source", "rule_failure", sources, message=problem)
    return step | {"rule_cond_not": True}


def _hives(library: Library) -> Iterator[Json]:
    """The pipeline of the documents shortens the hives, so a rule has to as well."""
    names = ["RegistryKey", "TargetObject"]
    for long, short in library.tables["registry_hive"].values.items():
        if long != short:
            yield {
                "id": f"hive_{short}",
                "type": "replace_string",
                "regex": f"(?i)^{long}",
                "replacement": short,
                "skip_special": True,
                "field_name_conditions": [{"type": "include_fields", "fields": names}],
            }


def _values(targets: list[str], types: Values[str, str]) -> list[Json]:
    """What values need, by the type of the field they are looked for in."""
    addresses = [name for name in targets if types.get(name) == "ip"]
    problem = "The field holds an address, which has no wildcards. Write a network with |cidr."
    wildcard = _failure("address", problem, addresses, None)
    wildcard["detection_item_conditions"] = [{"type": "contains_wildcard", "cond": "any"}]
    # Sigma does not tell capitals from small letters, the engine's keywords do.
    words = [name for name in targets if types.get(name) in _WITHOUT_CASE]
    any_case = _step("any_case", "regex", method="ignore_case_brackets")
    any_case["field_name_conditions"] = [{"type": "include_fields", "fields": words}]
    return [wildcard, any_case]

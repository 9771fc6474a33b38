"""The ingest pipeline of a stream, rendered from its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

from aquila_mde.build import ecs
from aquila_mde.build.library import Library
from aquila_mde.build.plan import MappingPlan

SCRIPT_LIMIT = 65_535
"""Bytes that an engine takes as the source of one script by default."""


def script_sizes(pipeline: str) -> dict[str, int]:
    """The bytes of every script in a rendered pipeline, by the tag of its processor."""
    processors = yaml.safe_load(pipeline)["processors"]
    scripts = [one["script"] for one in processors if "script" in one]
    return {script["tag"]: len(script["source"].encode()) for script in scripts}


def render_pipeline(
    plan: MappingPlan, library: Library, templates: Path, *, dataset: str, module: str
) -> str:
    """``elasticsearch/ingest_pipeline/default.yml`` of one stream."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML and Painless, no HTML
        keep_trailing_newline=True,
    )
    environment.filters["painless_list"] = _painless_list
    environment.filters["to_yaml"] = _to_yaml
    values = {
        "stream": plan.stream,
        "plan": plan,
        "spec": plan.spec,
        "params": plan.params,
        "module": module,
        "dataset": dataset,
        "ecs_version": ecs.VERSION,
    }
    code = environment.get_template("script.painless.j2").render(values)
    functions = "\n\n".join(function.text for function in library.needed(code))
    script = f"{functions}\n\n{code.strip()}"
    own = f"{plan.stream}.yml.j2"
    name = own if (templates / own).is_file() else "stream.yml.j2"
    text = environment.get_template(name).render(values, script=script)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def _painless_list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


class _Flow(yaml.SafeDumper):
    """Tables one line an entry: blocks outside, lists inline."""

    def represent_list(self, data: Any) -> yaml.SequenceNode:
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Flow.add_representer(list, _Flow.represent_list)


def _to_yaml(value: Any) -> str:
    return yaml.dump(
        value,
        Dumper=_Flow,
        sort_keys=False,
        default_flow_style=False,
        width=1000,
        allow_unicode=True,
    ).rstrip()

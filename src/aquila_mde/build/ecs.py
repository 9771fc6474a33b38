"""The Elastic Common Schema as far as the build needs it: names, types, and legal values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

VERSION = "9.4.0"


@dataclass(frozen=True)
class EcsField:
    """One field of ECS. ``text`` tells whether it has a full-text multi-field."""

    name: str
    type: str
    many: bool
    text: bool


@cache
def fields() -> dict[str, EcsField]:
    """Every field of ECS by name."""
    found = {}
    for line in files(__package__).joinpath("ecs_fields.tsv").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, kind, *flags = line.split("\t")
        found[name] = EcsField(name, kind, "[]" in flags, "text" in flags)
    return found


@cache
def values() -> dict[str, Any]:
    """The values of event.kind and event.outcome, and the event.type values by category."""
    loaded: dict[str, Any] = yaml.safe_load(
        files(__package__).joinpath("ecs_values.yml").read_text("utf-8")
    )
    return loaded

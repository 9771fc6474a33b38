"""The closed lists of the package format."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def _lists() -> dict[str, Any]:
    text = files(__package__).joinpath("known.yml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def known(name: str) -> frozenset[str]:
    """The list ``name`` of ``known.yml``."""
    return frozenset(_lists()[name])

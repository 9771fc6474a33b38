"""What the processes that share the tests (``pytest -n``) tell the one that sums up."""

from __future__ import annotations

from typing import Any

import pytest


def tell(config: pytest.Config, name: str, value: Any) -> None:
    """Leave ``value`` for the process that sums up, if this one has only a part of the tests."""
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output[name] = value


def told_by(node: Any, name: str) -> Any:
    """What the process behind ``node`` has left; ``None`` if it died before."""
    return getattr(node, "workeroutput", {}).get(name)

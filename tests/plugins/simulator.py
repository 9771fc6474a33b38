"""Fixtures of the simulated tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aquila_mde.simulator.server import SimulatorServer

StartSimulator = Callable[..., SimulatorServer]

# A small tenant in which nothing has to be waited for.
_SMALL: dict[str, Any] = {
    "machines": 40,
    "alerts": 120,
    "actions": 30,
    "vulnerabilities": 600,
    "quota_scale": None,
}


@pytest.fixture
def simulator() -> Iterator[StartSimulator]:
    """Starts simulated tenants, which end with the test.

    It takes the arguments of SimulatorServer. Unlike there, the tenant is small and has no quotas
    where nothing else is said.
    """
    with ExitStack() as started:

        def start(**arguments: Any) -> SimulatorServer:
            return started.enter_context(SimulatorServer(**{**_SMALL, **arguments}))

        yield start

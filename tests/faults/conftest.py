"""A tenant and an engine with faults between them and the collector.

A test of this folder ends in one of two ways: the index holds what the tenant holds; or there is
one error that says what to do, and once its cause is gone the index holds what the tenant holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.faults.engine_proxy import EngineProxy
from tests.faults.world import World
from tests.plugins.tally import Tally
from tests.system.conftest import Job, installed, job

__all__ = ["installed", "job"]
MakeWorld = Callable[..., World]


@pytest.fixture
def world(job: Callable[..., Job], installed: str, tally: Tally) -> Iterator[MakeWorld]:
    """Makes a tenant with an engine behind a proxy; what has hit is counted at the end."""
    made: list[World] = []
    proxy = EngineProxy(installed, keep_original=True)

    def make(**options: Any) -> World:
        made.append(World(job(**options), proxy))
        return made[-1]

    yield make
    proxy.close()
    for name, times in proxy.hits.items():
        tally.fault(name, times)
    for one in made:
        tally.kill(one.kills)
        tally.fault("pass cut off", one.cut_offs)

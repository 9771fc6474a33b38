"""Fixtures of the engine's layer: no waiting, an engine, a tree that is installed on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from tests.unit.elastic.trees import Tree

from aquila_mde.elastic.assets import install, uninstall
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.retry import RetryPolicy
from aquila_mde.settings import ElasticsearchSettings

AT_ONCE = RetryPolicy(attempts=3, wait=False)


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    async with await Engine.connect(ElasticsearchSettings(url=engine_url), retry=AT_ONCE) as engine:
        yield engine


@pytest.fixture
async def tree(tmp_path: Path, engine: Engine) -> AsyncIterator[Tree]:
    """A tree of which nothing is left on the engine afterwards."""
    tree = Tree(tmp_path / "package")
    yield tree
    await uninstall(engine, tree.tree, delete_data=True)


@pytest.fixture
async def installed(tree: Tree, engine: Engine) -> Tree:
    await install(engine, tree.tree)
    return tree


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()

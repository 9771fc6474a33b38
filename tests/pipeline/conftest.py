from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pipeline.indices import StrictIndices
from tests.pipeline.pipelines import Pipelines


@pytest.fixture(scope="session")
def pipelines(engine_url: str) -> Iterator[Pipelines]:
    """The built pipelines on the engine of the run."""
    made = Pipelines(engine_url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def indices(engine_url: str) -> Iterator[StrictIndices]:
    """One index a stream that refuses every field that is not declared."""
    made = StrictIndices(engine_url)
    yield made
    made.close()

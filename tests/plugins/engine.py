"""One real engine for a test run.

``engine_url`` is, in this order: the engine of ``AQUILA_TEST_ES_URL``; a container when
``AQUILA_TEST_ENGINE=container``; otherwise the embedded engine, started at the first use.
``namespace`` is the test's own: data streams that end in it are removed after the test.
``state_kind`` says whether a job keeps its state in a file or in the engine.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from aquila_mde.engine import EmbeddedEngine
from tests.plugins.memory import memory_folder


def _wants_container() -> bool:
    kind = os.environ.get("AQUILA_TEST_ENGINE", "embedded")
    if kind not in ("embedded", "container"):
        pytest.exit(f"AQUILA_TEST_ENGINE is {kind!r}; it can be embedded or container", 1)
    return kind == "container" and not os.environ.get("AQUILA_TEST_ES_URL")


def pytest_sessionstart(session: pytest.Session) -> None:
    """End at once, with one line, when a container is wanted and there is no Docker."""
    if _wants_container() and not session.config.option.collectonly:
        from tests.system.container import (  # noqa: PLC0415 - slow
            ContainerUnavailableError,
            docker_client,
        )

        try:
            with docker_client():
                pass
        except ContainerUnavailableError as error:
            pytest.exit(str(error), 1)


@pytest.fixture(scope="session")
def engine_url() -> Iterator[str]:
    """The URL of an engine that takes documents, without a slash at the end."""
    if url := os.environ.get("AQUILA_TEST_ES_URL"):
        yield url.rstrip("/")
    elif _wants_container():
        from tests.system.container import (  # noqa: PLC0415 - slow
            ContainerUnavailableError,
            engine_container,
        )

        with ExitStack() as stack:
            refusal = ""
            try:
                url = stack.enter_context(engine_container())
            except ContainerUnavailableError as error:
                refusal = str(error)
            if refusal:
                pytest.fail(refusal, pytrace=False)
            yield url
    else:
        heap = os.environ.get("AQUILA_TEST_HEAP", "1g")
        with EmbeddedEngine(heap=heap, parent=memory_folder()) as engine:
            yield engine.url


@pytest.fixture
def namespace(engine_url: str) -> Iterator[str]:
    """A namespace that no other test uses."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    delete_namespace(engine_url, name)


def delete_namespace(engine_url: str, name: str) -> None:
    """Delete the data streams of a namespace, and what was made of them."""
    with httpx.Client(base_url=engine_url, trust_env=False, timeout=60) as client:
        client.delete(f"/_data_stream/*-{name}").raise_for_status()
        options = "refresh=true&conflicts=proceed&allow_no_indices=true&ignore_unavailable=true"
        client.post(
            f"/security_solution-*_latest-v*/_delete_by_query?{options}",
            json={"query": {"term": {"data_stream.namespace": name}}},
        ).raise_for_status()


@pytest.fixture
def state_kind() -> str:
    """Where the state of a job is kept; see ``IN_BOTH``."""
    return "file"

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.plugins import engine as plugin
from tests.system.container import ContainerUnavailableError, docker_client

ROOT = Path(__file__).parents[3]


def _pytest(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    for name in ("AQUILA_TEST_ES_URL", "AQUILA_TEST_REQUIRE"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/system"],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_docker_a_run_on_a_container_ends_at_once_with_one_line() -> None:
    done = _pytest(AQUILA_TEST_ENGINE="container", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(said) == 1
    assert "needs Docker" in said[0] or "need Docker" in said[0]


def test_another_kind_of_engine_is_refused() -> None:
    done = _pytest(AQUILA_TEST_ENGINE="cloud")
    assert done.returncode == 1
    assert "it can be embedded or container" in done.stderr


def test_a_docker_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(ContainerUnavailableError, match="does not answer"), docker_client():
        pass


def test_a_namespace_leaves_no_data_stream_behind(
    engine_url: str, request: pytest.FixtureRequest
) -> None:
    clean = plugin.namespace.__wrapped__  # type: ignore[attr-defined]
    steps = clean(engine_url)
    name = next(steps)
    with httpx.Client(base_url=engine_url, trust_env=False, timeout=60) as client:
        template = f"/_index_template/clean-{name}"
        client.put(
            template, json={"index_patterns": [f"logs-*-{name}"], "data_stream": {}, "priority": 9}
        ).raise_for_status()
        stream = f"/logs-clean.test-{name}"
        client.post(f"{stream}/_doc", json={"@timestamp": 0}).raise_for_status()
        with pytest.raises(StopIteration):
            next(steps)
        assert client.get(f"/_data_stream{stream}").status_code == 404
        client.delete(template).raise_for_status()

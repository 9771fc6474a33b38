"""``pipeline try`` as a user types it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.cli.conftest import Call

from aquila_mde import engine
from aquila_mde.errors import ExitCode


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.ndjson").write_text('{"id": "m1"}\n{"id": "m2"}\n')


@pytest.fixture
def no_engine_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> None:
        pytest.fail("an engine was started")

    monkeypatch.setattr(engine, "EmbeddedEngine", start)


def hosts(out: str) -> list[str]:
    return [json.loads(line)["host"]["id"] for line in out.splitlines()]


@pytest.mark.usefixtures("no_engine_here")
def test_the_engine_is_the_one_that_is_given(
    call: Call, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = call("pipeline", "try", "machine", "two.ndjson", "--elasticsearch", engine_url)
    assert (given.code, given.err) == (0, "")
    assert hosts(given.out) == ["m1", "m2"]
    (tmp_path / "aquila.yml").write_text(f"elasticsearch: {{url: '{engine_url}'}}\n")
    configured = call("pipeline", "try", "machine", "two.ndjson", "--config", "aquila.yml")
    assert hosts(configured.out) == ["m1", "m2"]
    monkeypatch.setenv("ES_URL", engine_url)
    assert hosts(call("pipeline", "try", "machine", "two.ndjson").out) == ["m1", "m2"]


def test_without_one_it_is_started_here(
    call: Call, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = nullcontext(SimpleNamespace(url=engine_url))
    monkeypatch.setattr(engine, "EmbeddedEngine", lambda: started)
    monkeypatch.setenv("ES_API_KEY", "of some other engine")
    (tmp_path / "aquila.yml").write_text("log_level: info\n")
    answer = call("pipeline", "try", "machine", "two.ndjson", "--config", "aquila.yml")
    assert (answer.code, answer.err) == (0, "")
    assert hosts(answer.out) == ["m1", "m2"]


def test_pipeline_errors_are_printed_and_end_with_a_code_of_their_own(
    call: Call, engine_url: str
) -> None:
    # The engine takes no property twice.
    Path("twice.ndjson").write_text('{"id": "m1"}\n{"id": "m2", "id": "m3"}\n')
    answer = call("pipeline", "try", "machine", "twice.ndjson", "--elasticsearch", engine_url)
    assert answer.code == ExitCode.PIPELINE_ERRORS
    kinds = [json.loads(line)["event"]["kind"] for line in answer.out.splitlines()]
    assert kinds == ["asset", "pipeline_error"]
    assert "Error: 1 of 2 documents are pipeline errors (records at line 2)" in answer.err


@pytest.mark.usefixtures("no_engine_here")
def test_a_wrong_file_or_stream_is_told_before_an_engine_is_asked(call: Call) -> None:
    Path("bad.ndjson").write_text('{"id": "m1"}\n{"id"\n')
    answer = call("pipeline", "try", "machine", "bad.ndjson")
    assert (answer.code, answer.out) == (ExitCode.SETTINGS, "")
    assert answer.err.startswith("Error: bad.ndjson:2: this is no JSON: ")
    answer = call("pipeline", "try", "machines", "two.ndjson")
    assert answer.code == ExitCode.SETTINGS
    assert answer.err.startswith("Error: There is no stream machines.")

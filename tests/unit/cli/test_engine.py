"""``engine`` as a user meets it; the engine itself is tested where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.cli.conftest import Call

from aquila_mde import engine
from aquila_mde.engine import EngineStartError
from aquila_mde.errors import ExitCode


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []

    def serve(port: int, data: Path | None, heap: str, on_ready: Callable[..., None]) -> None:
        calls.append((port, data, heap))
        on_ready(SimpleNamespace(url="http://127.0.0.1:9999", pid=7))

    monkeypatch.setattr(engine, "serve", serve)
    return calls


def test_it_says_where_it_is(call: Call, served: list[tuple[object, ...]], tmp_path: Path) -> None:
    answer = call("engine", "--port", 0, "--data", tmp_path, "--heap", "2g")
    assert answer.code == 0
    assert "export ES_URL=http://127.0.0.1:9999\n" in answer.out
    assert served == [(0, tmp_path, "2g")]


def test_it_says_so_to_programs(call: Call, served: list[tuple[object, ...]]) -> None:
    answer = call("engine", "--json")
    assert json.loads(answer.out) == {"url": "http://127.0.0.1:9999", "pid": 7}
    assert served == [(9200, None, "1g")]


def test_what_this_machine_lacks_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(*_: object) -> None:
        raise EngineStartError("Port 9200 is taken.", hint="Choose another (--port).")

    monkeypatch.setattr(engine, "serve", serve)
    answer = call("engine")
    assert answer.code == ExitCode.ENVIRONMENT
    assert answer.err.endswith("Error: Port 9200 is taken.\nChoose another (--port).\n")

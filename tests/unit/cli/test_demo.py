"""What ``demo`` prints and answers; the demonstration itself is tested where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Call

from aquila_mde import demo
from aquila_mde.collect.runner import StreamReport
from aquila_mde.demo import Comparison, DemoReport, StreamResult, TenantSize
from aquila_mde.errors import ExitCode

PASS = StreamReport("alert", 3, 3, 0, 0, 1, 0.5, complete=True)
AGAIN = StreamReport("alert", 3, 0, 3, 0, 1, 0.25, complete=True)


def report(**changes: int) -> DemoReport:
    numbers = {"tenant": 3, "indexed": 3, "missing": 0, "duplicates": 0, "unknown": 0, "failed": 0}
    compared = Comparison(**numbers | changes)
    document: dict[str, Any] = {
        "message": "Grüße",
        "data_stream": {"dataset": "aquila_mde.alert"},
        "@timestamp": "2026-01-01T00:00:00.1234567Z",
    }
    engine = {"flavour": "opensearch", "version": "3.8.0", "url": "http://127.0.0.1:1"}
    streams = {"alert": StreamResult(compared, PASS, AGAIN)}
    return DemoReport(engine, streams, hunting=[PASS, AGAIN], examples=[document])


@pytest.fixture
def demonstration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[DemoReport], list[TenantSize]]:
    monkeypatch.chdir(tmp_path)

    def demonstration(found: DemoReport) -> list[TenantSize]:
        sizes: list[TenantSize] = []

        class Demo:
            def __init__(self, size: TenantSize, *, tell: Callable[[str], None]) -> None:
                sizes.append(size)
                tell("Starting")

            def __enter__(self) -> Demo:
                return self

            def __exit__(self, *_: object) -> None:
                return

            async def run(self, progress: Callable[[str, int], None]) -> DemoReport:
                progress("alert", 30_000)
                return found

        monkeypatch.setattr(demo, "Demo", Demo)
        return sizes

    return demonstration


def test_a_good_one_is_shown_and_written(
    call: Call, demonstration: Callable[..., list[TenantSize]]
) -> None:
    sizes = demonstration(report())
    answer = call("demo", "--machines", 7, "--vulnerabilities", 9)
    assert (answer.code, answer.err) == (0, "")
    assert sizes == [TenantSize(machines=7, vulnerabilities=9)]
    lines = answer.out.splitlines()
    assert lines[:2] == ["Starting", "alert: 30,000 records read"]
    assert lines[3] == "An example from aquila_mde.alert:"
    assert lines[5] == '  "@timestamp": "2026-01-01T00:00:00.1234567Z",'
    assert [line.split() for line in lines if line.startswith("alert  ")] == [
        ["alert", "3", "3", "0", "0", "0", "0", "0.5"]
    ]
    assert lines[-3:] == [
        "The index holds every version that the tenant holds, once.",
        "The numbers are in build/demo/summary.json.",
        "What the dashboards show is in build/demo/dashboards.html: open it in a browser.",
    ]
    assert "<!doctype html>" in Path("build/demo/dashboards.html").read_text()
    assert json.loads(Path("build/demo/summary.json").read_text()) == {
        "engine": {"flavour": "opensearch", "version": "3.8.0", "url": "http://127.0.0.1:1"},
        "hunting": {"rows": 3, "created_again": 0},
        "streams": {
            "alert": {
                "tenant": 3,
                "indexed": 3,
                "missing": 0,
                "duplicates": 0,
                "unknown": 0,
                "failed": 0,
                "existing": 0,
                "seconds": 0.5,
            }
        },
        "second_pass": {
            "alert": {"records": 3, "created": 0, "existing": 3, "failed": 0, "seconds": 0.25}
        },
    }


def test_for_programs_only_the_numbers_are_printed(
    call: Call, demonstration: Callable[..., list[TenantSize]], tmp_path: Path
) -> None:
    demonstration(report())
    answer = call("demo", "--json", "--summary", tmp_path / "numbers.json")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out) == json.loads((tmp_path / "numbers.json").read_text())


def test_a_flaw_has_an_exit_code(
    call: Call, demonstration: Callable[..., list[TenantSize]]
) -> None:
    demonstration(report(missing=1, indexed=2))
    answer = call("demo")
    assert answer.code == ExitCode.UNEXPECTED
    assert "The index does not hold what the tenant holds" in answer.out

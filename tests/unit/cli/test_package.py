from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Call
from tests.unit.elastic.fleet import KEY, UPLOAD, Fleet

from aquila_mde.errors import ExitCode

STEM = "aquila_mde-0.1.0"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_built_is_checked_and_clean(call: Call) -> None:
    built = call("package", "build")
    zip_file = f"build/packages/{STEM}.zip"
    assert (built.code, built.err) == (0, "")
    assert built.out == f"written: {zip_file}\nwritten: build/packages/{STEM}\n"
    checked = call("package", "check")
    assert (checked.code, checked.out) == (0, f"{zip_file}: 0 errors, 0 warnings\n")
    folder = call("package", "check", f"build/packages/{STEM}", "--json")
    assert json.loads(folder.out) == {
        "path": f"build/packages/{STEM}",
        "errors": 0,
        "warnings": 0,
        "findings": [],
    }


def test_every_finding_is_listed_and_an_error_ends_with_two(call: Call) -> None:
    call("package", "build", "--output", "out")
    folder = Path("out") / STEM
    sample = folder / "data_stream/alert/sample_event.json"
    sample.write_text("{\n")
    manifest = folder / "manifest.yml"
    manifest.write_text(manifest.read_text().replace("3.4.2", "3.6.6"))
    answer = call("package", "check", folder)
    assert answer.code == ExitCode.SETTINGS == 2
    first, second, total = answer.out.splitlines()
    assert first.startswith("data_stream/alert/sample_event.json:2: error: is not JSON")
    assert first.endswith("[unreadable]")
    assert second.startswith("manifest.yml:1: warning: Kibana 8.19")
    assert total == f"{folder}: 1 errors, 1 warnings"
    as_json = call("package", "check", folder, "--json")
    assert as_json.code == 2
    report = json.loads(as_json.out)
    assert (report["errors"], report["warnings"]) == (1, 1)
    assert report["findings"][0].keys() == {"file", "line", "rule", "problem", "severity"}


def test_a_warning_alone_is_no_failure(call: Call) -> None:
    call("package", "build", "--output", "out")
    Path("out", STEM).rename("renamed")
    answer = call("package", "check", "renamed")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "renamed: 0 errors, 1 warnings")


def test_without_a_package_it_says_how_to_build_one(call: Call) -> None:
    answer = call("package", "check")
    assert answer.code == ExitCode.SETTINGS
    assert "aquila-mde package build" in answer.err


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    """``fleet`` in a thread of its own: the command has an event loop itself."""
    started, stopped = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with fleet:
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield fleet
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


def test_install_through_kibana_uploads_the_package(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_API_KEY", KEY)
    with running(Fleet(space="soc")) as fleet:
        answer = call("install", "--kibana", fleet.url, "--space", "soc")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines() == [
            "installed: 8 ilm_policy",
            "installed: 5 ingest_pipeline",
            "Kibana 9.1.3: Fleet has installed aquila_mde 0.1.0",
        ]
        assert list(fleet.packages) == [STEM]
        monkeypatch.setenv("KIBANA_URL", fleet.url)
        monkeypatch.setenv("KIBANA_SPACE", "soc")
        report = json.loads(call("install", "--json").out)
        assert report["installed"] == {"ilm_policy": 8, "ingest_pipeline": 5}
        assert len(fleet.asked("POST", f"s/soc/{UPLOAD}")) == 2
        monkeypatch.setenv("KIBANA_API_KEY", "d3Jvbmc6a2V5")
        refused = call("install")
    assert refused.code == ExitCode.ENGINE_ACCESS
    assert "d3Jvbmc6a2V5" not in refused.err


def test_kibana_and_a_dry_run_do_not_go_together(call: Call) -> None:
    answer = call("install", "--dry-run", "--kibana", "https://kibana")
    assert answer.code == ExitCode.SETTINGS
    assert "not to Kibana" in answer.err

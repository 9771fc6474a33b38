from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.unit.engine import stand_in as programs

from aquila_mde.engine import EmbeddedEngine, EngineStartError, embedded, serve
from aquila_mde.engine.distribution import Distribution
from aquila_mde.engine.machine import NOBODY

Install = Callable[[str], Distribution]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a stand-in for the engine in place; temporary folders lie below ``temporary``."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def put(behaviour: str) -> Distribution:
        found = programs.stand_in(tmp_path, behaviour)
        monkeypatch.setattr(embedded, "prepare", lambda: found)
        return found

    return put


def test_nothing_is_left_after_the_end(install: Install, tmp_path: Path) -> None:
    install(programs.ANSWERS)
    engine = EmbeddedEngine(heap="256m")
    assert (engine.alive, engine.pid, engine.folder, engine.log) == (False, None, None, None)
    with engine:
        assert engine.pid
        assert engine.log
        process = psutil.Process(engine.pid)
        assert engine.url == f"http://127.0.0.1:{engine.port}"
        assert {"-Xms256m", "-Xmx256m"} <= set(process.cmdline())
        assert not set(process.environ()) & {"AQUILA_CLIENT_SECRET", "JAVA_TOOL_OPTIONS", "USER"}
        engine.start()  # it runs already
        assert engine.pid == process.pid
    assert not process.is_running()
    assert list((tmp_path / "temporary").iterdir()) == []
    engine.stop()  # it is stopped already
    assert (engine.alive, engine.pid, engine.folder) == (False, None, None)


def test_a_temporary_folder_is_made_where_it_was_wanted(install: Install, tmp_path: Path) -> None:
    install(programs.ANSWERS)
    wanted = tmp_path / "wanted"
    wanted.mkdir()
    with EmbeddedEngine(parent=wanted) as engine:
        assert engine.folder
        assert engine.folder.parent == wanted
    assert list(wanted.iterdir()) == []


@pytest.mark.parametrize("given", [True, False])
def test_a_folder_that_was_given_or_is_to_be_kept_stays(
    given: bool, install: Install, tmp_path: Path
) -> None:
    install(programs.ANSWERS)
    with EmbeddedEngine(data=tmp_path / "mine" if given else None, keep=not given) as engine:
        folder = engine.folder
        assert folder
    assert {path.name for path in folder.iterdir()} == {"config", "data", "logs", "tmp"}
    settings = (folder / "config" / "opensearch.yml").read_text()
    assert f"path.data: {folder}/data\n" in settings
    assert "network.host: 127.0.0.1\n" in settings


def test_an_engine_that_ignores_the_request_to_end_is_killed(install: Install) -> None:
    install(programs.STUBBORN)
    with EmbeddedEngine(stop_seconds=0.2) as engine:
        process = psutil.Process(engine.pid)
    assert not process.is_running()


def test_an_engine_is_ended_even_when_its_guard_does_not_answer(install: Install) -> None:
    install(programs.ANSWERS)
    with EmbeddedEngine() as engine:
        process = psutil.Process(engine.pid)
        guard = process.parent()
        assert guard
        guard.suspend()
        engine._end(stop_seconds=-4.8)
        process.wait(30)
    assert not guard.is_running()


def test_a_crash_while_starting_is_told_with_the_lines_that_say_why(
    install: Install, tmp_path: Path
) -> None:
    install(programs.CRASHES)
    with pytest.raises(EngineStartError, match="ended while it was starting") as caught:
        EmbeddedEngine().start()
    assert caught.value.message.splitlines()[1:] == [
        "  [2026-01-01T00:00:00,001][ERROR][o.o.b.OpenSearch] node is broken",
        "  java.lang.IllegalStateException: failed to obtain node locks",
    ]
    log = re.fullmatch(r"Its log is (.*)\.", caught.value.hint)
    assert log
    assert "starting ..." in Path(log[1]).read_text()


@pytest.mark.parametrize("behaviour", [programs.SILENT, programs.NEVER_READY, programs.DEAF])
def test_a_start_that_takes_too_long_is_given_up(behaviour: str, install: Install) -> None:
    install(behaviour)
    engine = EmbeddedEngine(start_seconds=0.5)
    with pytest.raises(EngineStartError, match=r"not ready within 0\.5 seconds"):
        engine.start()
    assert not engine.alive


def test_a_program_that_cannot_be_run_is_told(install: Install) -> None:
    install(programs.ANSWERS).java.chmod(0o644)
    with pytest.raises(EngineStartError, match=r"could not be started:\n(.*\n)*.*Permission"):
        EmbeddedEngine().start()


def test_a_start_that_is_interrupted_leaves_nothing(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs.SILENT)
    pids: list[int | None] = []

    def interrupt(engine: EmbeddedEngine, _: Path) -> None:
        pids.append(engine.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedEngine, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedEngine().start()
    assert pids[0]
    assert not psutil.pid_exists(pids[0])


def test_memory_and_port_are_looked_at_before_anything_is_started(install: Install) -> None:
    install(programs.ANSWERS)
    with pytest.raises(EngineStartError, match="MiB of memory"):
        EmbeddedEngine(heap="900000g").start()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(EngineStartError, match="cannot listen"):
            EmbeddedEngine(port=listener.getsockname()[1]).start()
    with pytest.raises(EngineStartError, match="heap cannot be"):
        EmbeddedEngine(heap="lots")


def test_a_full_disk_is_told(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs.ANSWERS)
    monkeypatch.setattr(embedded, "DISK_FOR_DATA", 1 << 60)
    with pytest.raises(EngineStartError, match="engine's data needs"):
        EmbeddedEngine().start()


def test_a_folder_that_cannot_be_used_is_told(install: Install, tmp_path: Path) -> None:
    install(programs.ANSWERS)
    (tmp_path / "file").touch()
    with pytest.raises(EngineStartError, match=r"/file/data cannot be used: Not a directory"):
        EmbeddedEngine(data=tmp_path / "file" / "data").start()


def test_a_folder_out_of_reach_of_the_other_account_is_told(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        embedded, "prepare", lambda: Distribution(closed_folder, closed_folder, NOBODY)
    )
    with pytest.raises(EngineStartError, match="that account cannot read") as caught:
        EmbeddedEngine(data=closed_folder / "data").start()
    assert "--data" in caught.value.hint


def test_a_log_that_is_gone_or_says_nothing_special(tmp_path: Path) -> None:
    assert embedded.telling_lines(tmp_path / "absent") == []
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(20_000)))
    assert embedded.telling_lines(log, 2) == ["line 19998", "line 19999"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_with_a_signal(number: signal.Signals, install: Install) -> None:
    install(programs.ANSWERS)
    before = signal.getsignal(number)
    engines: list[EmbeddedEngine] = []

    def on_ready(engine: EmbeddedEngine) -> None:
        assert engine.alive
        engines.append(engine)
        os.kill(os.getpid(), number)

    serve(0, None, "512m", on_ready)
    assert not engines[0].alive
    assert signal.getsignal(number) is before


def test_serving_ends_with_an_error_when_the_engine_does(install: Install, tmp_path: Path) -> None:
    install(programs.ANSWERS)

    def on_ready(engine: EmbeddedEngine) -> None:
        assert engine.pid
        os.kill(engine.pid, signal.SIGKILL)

    with pytest.raises(EngineStartError, match="ended by itself"):
        serve(0, tmp_path / "data", "512m", on_ready)

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aquila_mde.engine import guard

STUBBORN = "trap '' TERM; echo ready > ready; while :; do sleep 0.01; done"
WILLING = "echo ready > ready; exec sleep 600"


def _task(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    return {
        "command": ["/bin/sh", "-c", script],
        "environment": {"PATH": os.defpath},
        "account": None,
        "folder": str(folder),
        "remove": None,
        "patience": 30,
        **more,
    }


class Watch:
    """The two pipes of a guard that runs in this process, and what is done meanwhile."""

    def __init__(self) -> None:
        self.source, self.parent = os.pipe()
        self.answer, self.sink = os.pipe()

    def pid(self) -> int:
        return int(os.read(self.answer, 64))

    def run(self, task: dict[str, Any], meanwhile: Callable[[int], None] | None = None) -> int:
        """``meanwhile`` gets the program's id once its file ``ready`` is there."""

        def act() -> None:
            pid = self.pid()
            ready = Path(task["folder"]) / "ready"
            while not (ready.exists() and ready.stat().st_size):
                pass
            assert meanwhile
            meanwhile(pid)

        thread = threading.Thread(target=act) if meanwhile else None
        if thread:
            thread.start()
        code = guard.watch(task, self.source, self.sink)
        if thread:
            thread.join()
        return code

    def leave(self, *_: object) -> None:
        os.close(self.parent)
        self.parent = -1

    def close(self) -> None:
        for descriptor in (self.source, self.parent, self.answer, self.sink):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.close()


def test_the_program_s_code_and_id_are_handed_on(watch: Watch, tmp_path: Path) -> None:
    assert watch.run(_task(tmp_path, "echo $$ > id; exit 7")) == 7
    assert (tmp_path / "id").read_text().strip() == str(watch.pid())


def test_a_parent_that_is_gone_ends_the_program_and_removes_the_folder(
    watch: Watch, tmp_path: Path
) -> None:
    rest = tmp_path / "rest"
    rest.mkdir()
    (rest / "data").touch()
    code = watch.run(_task(tmp_path, WILLING, remove=str(rest)), watch.leave)
    assert code == -signal.SIGTERM
    assert not rest.exists()


def test_a_parent_may_keep_the_folder(watch: Watch, tmp_path: Path) -> None:
    rest = tmp_path / "rest"
    rest.mkdir()

    def meanwhile(_: int) -> None:
        os.write(watch.parent, b"keep")
        watch.leave()

    assert watch.run(_task(tmp_path, WILLING, remove=str(rest)), meanwhile) == -signal.SIGTERM
    assert rest.exists()


def test_a_program_that_does_not_end_is_killed(watch: Watch, tmp_path: Path) -> None:
    assert watch.run(_task(tmp_path, STUBBORN, patience=0.2), watch.leave) == -signal.SIGKILL


def test_a_program_that_ends_by_itself_leaves_the_folder_to_the_parent(
    watch: Watch, tmp_path: Path
) -> None:
    rest = tmp_path / "rest"
    rest.mkdir()

    def meanwhile(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    assert watch.run(_task(tmp_path, WILLING, remove=str(rest)), meanwhile) == -signal.SIGKILL
    assert rest.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guard_ends_the_program(
    number: signal.Signals, watch: Watch, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    code = watch.run(_task(tmp_path, WILLING), lambda _: os.kill(os.getpid(), number))
    assert code == -signal.SIGTERM
    assert signal.getsignal(number) is before


def test_the_program_dies_with_its_guard(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", guard.__file__, json.dumps(_task(tmp_path, STUBBORN))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout
        program = psutil.Process(int(process.stdout.readline()))
        process.kill()
        program.wait(30)  # raises when it goes on


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_the_guard_ends_with_the_code_that_a_shell_would_give(
    script: str, code: int, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", guard.__file__, json.dumps(_task(tmp_path, script))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.wait(30) == code


def test_only_linux_can_tie_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert guard._die_with(os.getpid()) is None

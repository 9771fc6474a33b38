"""Shells, as they are, complete commands, options and their values with the Tab key."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.test_commands import PROGRAM

WITHIN = 60.0
READY = "ready> "
TYPED = [
    ("aquila-mde rec", "oncile"),
    ("aquila-mde collect --str", "eam"),
    ("aquila-mde onboard --credential key", "ring"),
]


class Terminal:
    """A shell in front of which somebody sits."""

    def __init__(self, *command: str, home: Path) -> None:
        self._here, there = pty.openpty()
        path = f"{PROGRAM.parent}:{os.environ['PATH']}"
        self._process = subprocess.Popen(
            command,
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            env={
                "PATH": path,
                "HOME": str(home),
                "TERM": "dumb",
            },
        )
        os.close(there)

    def type(self, text: str) -> None:
        os.write(self._here, text.encode())

    def until(self, text: str) -> str:
        """What is shown up to ``text``."""
        shown, deadline = "", time.monotonic() + WITHIN
        while text not in shown:
            ready, _, _ = select.select([self._here], [], [], max(0, deadline - time.monotonic()))
            assert ready, shown
            shown += os.read(self._here, 4096).decode(errors="replace")
        return shown

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._here)


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Has a shell install the completion, as docs/commands.md says, and sits down at a new one."""
    opened: list[Terminal] = []

    def sit(shell: str, *options: str) -> Terminal:
        # The program looks at which shell has called it; with one command only it would be none.
        done = subprocess.run(
            [shell, "-c", f"{PROGRAM} --install-completion; exit"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"{shell} completion installed" in done.stdout, done.stdout + done.stderr
        for file in tmp_path.glob(f".{shell}rc"):
            file.write_text(f"{file.read_text()}\nPS1='{READY}'\n")
        opened.append(Terminal(shell, *options, home=tmp_path))
        return opened[-1]

    yield sit
    for each in opened:
        each.close()


@pytest.mark.parametrize(("typed", "rest"), TYPED)
def test_bash(sit: Callable[..., Terminal], typed: str, rest: str) -> None:
    terminal = sit("bash", "-i")
    terminal.until(READY)
    terminal.type(f"{typed}\t")
    terminal.until(f"{typed}{rest} ")


@pytest.mark.zsh
@pytest.mark.parametrize(("typed", "rest"), TYPED)
def test_zsh(sit: Callable[..., Terminal], typed: str, rest: str) -> None:
    terminal = sit("zsh", "-i")
    terminal.until(READY)
    # The first Tab of a shell loads the function, and rings.
    terminal.type(f"{typed}\t")
    terminal.until("\a")
    terminal.type("\t")
    terminal.until(f"{rest} ")


@pytest.mark.fish
@pytest.mark.parametrize(("typed", "rest"), TYPED)
def test_fish(sit: Callable[..., Terminal], typed: str, rest: str) -> None:
    terminal = sit("fish", "-c", f"complete --do-complete '{typed}'")
    terminal.until(f"{typed.rsplit(maxsplit=1)[-1]}{rest}")

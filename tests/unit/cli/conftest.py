from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from aquila_mde import cli
from aquila_mde.streams.tree import PackageTree

TENANT_ID = "12345678-1234-1234-1234-123456789012"


@dataclass(frozen=True)
class Called:
    """What a command answered."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture(autouse=True)
def _nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting comes from the environment of the tests, and no logging goes on after them."""
    for name in [name for name in os.environ if name.startswith(("AQUILA_", "ES_", "KIBANA_"))]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The program as it is typed, in this process."""

    def call(*arguments: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["aquila-mde", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Called(code if isinstance(code, int) else int(bool(code)), *captured)

    return call


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The program as it is typed, in a process of its own; ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, code: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.argv[0] = 'aquila-mde'; {code}\n"
                "from aquila_mde.cli import main; main()",
                *map(str, arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageTree:
    """A package tree of the test's own, with other names: its objects are nobody else's."""
    origin = PackageTree.default().root
    root = tmp_path / "tree"
    for name in ("data_stream", "pipelines", "package"):
        shutil.copytree(origin / name, root / name)
    shutil.copy(origin / "manifest.yml", root)
    named = [
        *(root / "data_stream").rglob("*.yml"),
        *(root / "package" / "elasticsearch").rglob("*.yml"),
    ]
    for file in [root / "manifest.yml", *named]:
        file.write_text(file.read_text().replace("aquila_mde", "aquila_cli"))
    copy = PackageTree(root)
    monkeypatch.setattr(PackageTree, "default", classmethod(lambda cls: copy))
    return copy

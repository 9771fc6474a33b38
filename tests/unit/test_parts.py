"""What the machine lacks is left out with one line, or fails the run where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(file: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest over ``file`` on a machine that has no program at all."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            ROOT,
            file,
            *more,
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "test_three.py"
    marks = "".join(
        f"@pytest.mark.{name}\ndef test_{name}():\n    raise AssertionError\n\n"
        for name in ("browser", "redis", "docker")
    )
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.plugins.parts"]\n')
    file.write_text(f"import pytest\n\n{marks}def test_any():\n    pass\n")
    return file


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_is_missing_is_left_out_and_said_in_one_line(file: Path, processes: str) -> None:
    done = run(file, "-n", processes, AQUILA_TEST_REQUIRE="")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert "failed" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "left out" in line]
    for part in ("(3 tests)", "browser", "Redis", "Docker"):
        assert part in line


@pytest.mark.parametrize(
    ("required", "said"),
    [
        ("redis", "asks for what this machine lacks: Redis (redis-server)"),
        ("browser, docker", "lacks: browser (Chromium), Docker (a running daemon)"),
        ("browsr", "names browsr; the parts are browser, redis, docker"),
    ],
)
def test_what_is_required_and_missing_fails_the_run(file: Path, required: str, said: str) -> None:
    done = run(file, AQUILA_TEST_REQUIRE=required)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr

"""A run says at its end what it has played, and says nothing when it played nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNTING = """
def test_one(tally):
    tally.fault("reset", 2)
    tally.kill()
    tally.schedule()

def test_another_that_fails(tally):
    tally.fault("bulk 429")
    tally.fault("never hit", 0)
    tally.kill()
    raise AssertionError
"""


def run(folder: Path, tests: str, *more: str) -> str:
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.plugins.tally"]\n')
    file = folder / "test_some.py"
    file.write_text(tests)
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", ROOT, *more]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    ).stdout


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_counts_are_printed_as_a_table(tmp_path: Path, processes: str) -> None:
    lines = run(tmp_path, COUNTING, "-n", processes).splitlines()
    (start,) = [n for n, line in enumerate(lines) if "faults, schedules and kills played" in line]
    assert lines[start + 1 : start + 6] == [
        "faults      3",
        "  bulk 429  1",
        "  reset     2",
        "schedules   1",
        "kills       2",
    ]


def test_no_table_when_nothing_was_played(tmp_path: Path) -> None:
    said = run(tmp_path, "def test_nothing(tally):\n    tally.fault('never hit', 0)\n")
    assert "1 passed" in said
    assert "played" not in said

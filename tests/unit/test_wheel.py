"""The wheel carries everything that the program reads, so that ``pip install`` is enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from aquila_mde.streams.tree import PackageTree

ROOT = PackageTree.default().root
# The unpacked copy is not the source whose coverage is measured.
UNMEASURED = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from aquila_mde.cli import main; main()"


def typed(place: Path, *arguments: str, cwd: Path) -> bytes:
    """What the program at ``place`` writes to standard output."""
    return subprocess.run(
        [sys.executable, "-I", "-c", CODE, str(place), *arguments],
        cwd=cwd,
        env=UNMEASURED,
        check=True,
        capture_output=True,
    ).stdout


def test_the_wheel_alone_makes_the_same_requests_and_package_as_the_checkout(
    tmp_path: Path,
) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "wheel")
    assert not [name for name in names if not name.startswith(("aquila_mde/", "aquila_mde-"))]
    assert "aquila_mde/assets/data_stream/alert/collect.yml" in names
    assert "aquila_mde/assets/pipelines/stream.yml.j2" in names
    assert "aquila_mde/assets/package/docs/stream.md.j2" in names
    assert "aquila_mde/assets/package/dashboards/overview.yml" in names
    assert "aquila_mde/assets/docs/performance.json" in names
    assert {f"aquila_mde/preview/page.{kind}" for kind in ("css", "js", "html.j2")} <= set(names)

    places = (tmp_path / "wheel", ROOT / "src")
    outputs = [typed(place, "install", "--dry-run", "--json", cwd=tmp_path) for place in places]
    assert json.loads(outputs[0]) == json.loads(outputs[1])
    plans = [typed(place, "plan", "--tenants", "3", "--json", cwd=tmp_path) for place in places]
    assert json.loads(plans[0]) == json.loads(plans[1])
    for output, place in zip(("one", "two"), places, strict=True):
        typed(place, "package", "build", "--output", output, cwd=tmp_path)
    (first,) = (tmp_path / "one").glob("*.zip")
    assert first.read_bytes() == (tmp_path / "two" / first.name).read_bytes()
    shown = subprocess.run(
        [
            *(sys.executable, "-I", "-c"),
            "import sys; sys.path.insert(0, sys.argv[1]); "
            "from aquila_mde.streams.tree import PackageTree; print(PackageTree.default().root)",
            str(tmp_path / "wheel"),
        ],
        env=UNMEASURED,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert Path(shown.strip()).is_relative_to(tmp_path / "wheel")

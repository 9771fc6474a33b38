from __future__ import annotations

from tests.unit.cli.conftest import Call

from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree


def test_a_stale_file_is_named_then_written_then_current(call: Call, tree: PackageTree) -> None:
    call("build")
    built = tree.root / "data_stream/machine/elasticsearch/ingest_pipeline/default.yml"
    fresh = built.read_text()
    built.write_text(fresh + "# by hand\n")
    stale = call("build", "--check")
    assert stale.code == ExitCode.SETTINGS
    path = "data_stream/machine/elasticsearch/ingest_pipeline/default.yml"
    assert stale.err.startswith(f"Error: Built files are stale:\n  {path}\n")
    assert "make build" in stale.err
    written = call("build")
    assert (written.code, written.out) == (0, f"written: {path}\n")
    assert built.read_text() == fresh
    current = call("build", "--check")
    assert (current.code, current.out) == (0, "Every built file is up to date.\n")


def test_what_is_checked_in_is_current(call: Call) -> None:
    assert call("build", "--check").code == 0

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from aquila_mde.build import built_files
from aquila_mde.build.docs import sample_event
from aquila_mde.build.package import check_package, make_archive, write_package
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.tree import PackageTree

ROOT = PackageTree.default().root
STREAMS = ("alert", "machine", "machine_action", "vulnerability")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_package(make_archive(PackageTree.default()), tmp_path_factory.mktemp("packages"))


@pytest.fixture
def copy(tmp_path: Path) -> PackageTree:
    """A tree of the test's own."""
    for name in ("data_stream", "pipelines", "package"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("manifest.yml", "changelog.yml", "LICENSE.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return PackageTree(tmp_path)


def test_zip_and_folder_are_clean_and_hold_the_same(written: tuple[Path, Path]) -> None:
    file, folder = written
    assert check_package(file) == []
    assert check_package(folder) == []
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        for name in names:
            assert archive.read(name) == (folder.parent / name).read_bytes()
    inside = {path.relative_to(folder.parent).as_posix() for path in folder.rglob("*.*")}
    assert set(names) == {name for name in inside if (folder.parent / name).is_file()}


def test_it_holds_what_fleet_needs_and_nothing_of_the_source(written: tuple[Path, Path]) -> None:
    names = {path.relative_to(written[1]).as_posix() for path in written[1].rglob("*.*")}
    expected = {"manifest.yml", "changelog.yml", "LICENSE.txt", "img/logo.svg", "docs/README.md"}
    for stream in STREAMS:
        expected |= {
            f"docs/{stream}.md",
            f"data_stream/{stream}/manifest.yml",
            f"data_stream/{stream}/sample_event.json",
            f"data_stream/{stream}/fields/ecs.yml",
            f"data_stream/{stream}/elasticsearch/ingest_pipeline/default.yml",
            f"data_stream/{stream}/elasticsearch/ilm/default_policy.json",
        }
    assert expected <= names
    assert "data_stream/dead_letter/fields/fields.yml" in names
    for name in names:
        assert not name.endswith(("collect.yml", "mapping.yml", ".j2", ".py"))
        assert "_dev" not in name.split("/")


def test_the_same_bytes_from_another_folder_under_another_umask(
    written: tuple[Path, Path], tmp_path: Path
) -> None:
    code = (
        "import os, sys; os.umask(0o077); sys.argv[0] = 'aquila-mde'; "
        "from aquila_mde.cli import main; main()"
    )
    for _ in range(2):  # the second time over the first
        subprocess.run(
            [sys.executable, "-c", code, "package", "build", "--output", "out"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            env={**os.environ, "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"},
        )
    file, folder = tmp_path / "out" / written[0].name, tmp_path / "out" / written[1].name
    assert file.read_bytes() == written[0].read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [folder.name, file.name]
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), path
        twin = written[1] / path.relative_to(folder)
        assert path.is_dir() or path.read_bytes() == twin.read_bytes()


def test_times_and_modes_in_the_zip_are_fixed(written: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(written[0]) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644
            assert entry.create_system == 3


def test_a_change_in_a_mapping_reaches_the_zip_before_the_build(copy: PackageTree) -> None:
    mapping = copy.root / "data_stream/machine/mapping.yml"
    old = "The build of the operating system."
    assert old in mapping.read_text()
    mapping.write_text(mapping.read_text().replace(old, "Its build."))
    files = make_archive(copy).files
    assert b"Its build." in files["data_stream/machine/fields/fields.yml"]
    assert b"Its build." in files["docs/machine.md"]
    assert b"Its build." in files["docs/README.md"]


def test_a_file_that_is_not_on_the_list_stays_out(copy: PackageTree) -> None:
    for name in (
        "data_stream/alert/notes.txt",
        "data_stream/alert/fields/README.md",
        "data_stream/alert/fields/deep/fields.yml",
        "package/src/transform/x.py",
        "package/docs/secret.md",
    ):
        (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / name).write_text("no")
    assert set(make_archive(copy).files) == set(make_archive(PackageTree.default()).files)


def test_what_belongs_to_the_package_alone_is_taken_along(copy: PackageTree) -> None:
    rule = copy.package / "kibana/security_rule/a_1.json"
    rule.write_text("{}")
    assert make_archive(copy).files["kibana/security_rule/a_1.json"] == b"{}"


def test_every_template_and_manifest_that_is_missing_or_wrong_is_named(copy: PackageTree) -> None:
    template = copy.package / "docs/stream.md.j2"
    text = template.read_text()
    template.write_text(text + "{{ nothing_of_the_kind }}")
    with pytest.raises(FaultsFoundError, match=r"stream\.md\.j2.*nothing_of_the_kind"):
        make_archive(copy)
    template.write_text(text + "{% if %}")
    with pytest.raises(FaultsFoundError, match=rf"stream\.md\.j2:{text.count(chr(10)) + 1}:"):
        make_archive(copy)
    template.unlink()
    with pytest.raises(FaultsFoundError, match=r"stream\.md\.j2:1: is missing"):
        make_archive(copy)
    copy.manifest.write_text("title: x\n")
    with pytest.raises(FaultsFoundError) as raised:
        make_archive(copy)
    assert [fault.field for fault in raised.value.faults] == ["name", "version"]


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


@pytest.mark.parametrize("stream", STREAMS)
def test_a_sample_event_is_an_expected_document_as_it_is(stream: str) -> None:
    folder = ROOT / "data_stream" / stream
    name = stream.replace("_", "-")
    file = folder / f"_dev/test/pipeline/test-{name}.json-expected.json"
    expected = yaml.safe_load(file.read_text())["expected"]
    sample = yaml.safe_load(sample_event(folder) or "")
    assert sample in expected
    assert "error" not in sample
    # A sample without the fields that people look for would be of no use.
    assert len(list(leaves(sample))) > 40


def test_a_stream_without_tests_or_with_odd_ones_only_has_no_sample(tmp_path: Path) -> None:
    folder = tmp_path / "odd_one"
    assert sample_event(folder) is None
    tests = folder / "_dev/test/pipeline"
    tests.mkdir(parents=True)
    file = tests / "test-odd-one.json-expected.json"
    file.write_text('{"expected": [{"error": {}}, {"mde": {"odd_one": {"extra": {"a": 1}}}}]}')
    assert sample_event(folder) is None
    for text in ("[]", "{", '{"expected'):
        file.write_text(text)
        with pytest.raises(FaultsFoundError, match=r"test-odd-one\.json-expected\.json"):
            sample_event(folder)


def test_every_built_file_is_built_once() -> None:
    paths = [file.path for file in built_files(PackageTree.default())]
    assert len(paths) == len(set(paths))
    assert ROOT / "docs/streams/README.md" in paths

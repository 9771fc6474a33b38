"""Every rule, provoked once in a package in which nothing else is wrong."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.build.package_faults import (
    BASE,
    CASES,
    FIELDS,
    GOOD,
    ILM,
    SAMPLE,
    SEARCH_SOURCE,
    STREAM,
    Files,
    add,
    field,
    lens,
    panels,
    set_json,
    swap,
)
from tests.unit.build.package_with_everything import DASHBOARD, STEM, TRANSFORM, write_folder

from aquila_mde.build.package import Finding, Severity, check_package
from aquila_mde.build.package.check import _CHECKS
from aquila_mde.build.package.reading import PackageFiles, PackageUnreadableError


def check(files: Files) -> list[Finding]:
    """What :func:`check_package` says, without a file system."""
    package = PackageFiles(STEM, zipped=True, files=files)
    # What is not changed need not be parsed again.
    same = {name for name, content in files.items() if content is GOOD.files.get(name)}
    package._yaml.update({name: one for name, one in PARSED._yaml.items() if name in same})
    package._json.update({name: one for name, one in PARSED._json.items() if name in same})
    return run(package)


def run(package: PackageFiles) -> list[Finding]:
    found = [finding for one in _CHECKS for finding in one(package)]
    return sorted({*package.findings, *found})


PARSED = PackageFiles(STEM, zipped=True, files=GOOD.files)
run(PARSED)


def test_nothing_is_wrong_with_the_package_that_is_changed() -> None:
    assert check(dict(GOOD.files)) == []


@pytest.mark.parametrize(
    ("rule", "file", "change", "told"),
    CASES,
    ids=[f"{rule}-{number}" for number, (rule, *_) in enumerate(CASES)],
)
def test_each_rule_is_found_in_its_place(
    rule: str, file: str, change: Callable[[Files], None], told: str
) -> None:
    files = dict(GOOD.files)
    change(files)
    found = [finding for finding in check(files) if (finding.rule, finding.file) == (rule, file)]
    assert found
    assert any(told in finding.problem for finding in found)
    for finding in found:
        lines = files.get(finding.file, b"").decode("utf-8", "replace").splitlines()
        # A file that ends too early is wrong behind its last line.
        assert 1 <= finding.line <= len(lines) + 1


def rules_of_the_source() -> set[str]:
    position = {"Finding": 2, "found_at": 2, "_at": 1}
    found = set()
    for file in Path(check_package.__code__.co_filename).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in position:
                rule = node.args[position[name]]
                if isinstance(rule, ast.Constant):
                    found.add(str(rule.value))
    return found


def test_every_rule_of_the_source_is_provoked() -> None:
    rules = rules_of_the_source()
    elsewhere = {"top-folder", "unsafe-path", "twice"}
    assert rules == {rule for rule, *_ in CASES} | elsewhere
    assert len(rules) > 40


def test_a_line_is_that_of_the_thing() -> None:
    files = dict(GOOD.files)
    field("{name: mde.x, type: string}")(files)
    (finding,) = check(files)
    lines = files[FIELDS].decode().splitlines()
    assert lines[finding.line - 1] == "- {name: mde.x, type: string}"
    assert str(finding) == (
        f"{FIELDS}:{len(lines)}: error: mde.x: string is no type of a field [field-type]"
    )


def test_one_run_shows_everything() -> None:
    files = dict(GOOD.files)
    swap(STREAM, "type: logs\n", "")(files)
    add(SAMPLE, "{")(files)
    field("{name: mde.x}")(files)
    panels(lens("nothing"))(files)
    assert [finding.rule for finding in check(files)] == [
        "field-type",
        "stream-type",
        "unreadable",
        "dashboard-field",
    ]


def test_a_panel_with_a_filter_of_its_own_needs_none_of_the_dashboard() -> None:
    files = dict(GOOD.files)
    set_json(DASHBOARD, SEARCH_SOURCE, "{}")(files)
    config = {"attributes": {"state": {"filters": [{"meta": {}}]}}}
    panels({"type": "lens", "embeddableConfig": config})(files)
    assert check(files) == []


def test_a_preview_of_the_format_is_for_packages_below_one() -> None:
    files = dict(GOOD.files)
    swap("manifest.yml", "3.4.2", "3.7.0")(files)
    (warning,) = check(files)
    assert warning.severity is Severity.WARNING
    swap("manifest.yml", "version: 0.1.0", "version: 1.0.0")(files)
    assert "not released" in " ".join(finding.problem for finding in check(files))


# Zips and folders


def zip_of(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def test_the_same_is_found_in_a_zip_and_in_a_folder(tmp_path: Path) -> None:
    files = dict(GOOD.files)
    swap(STREAM, "type: logs\n", "")(files)
    folder = write_folder(files, tmp_path / STEM)
    zipped = zip_of(tmp_path / "p.zip", {f"{STEM}/{name}": one for name, one in files.items()})
    assert check_package(folder) == check_package(zipped) == check(files)
    assert len(check(files)) == 1


def test_the_folder_in_a_zip_has_the_name_that_fleet_wants(tmp_path: Path) -> None:
    names = {f"package/{name}": one for name, one in GOOD.files.items()}
    (finding,) = check_package(zip_of(tmp_path / "p.zip", names))
    assert (finding.rule, finding.severity) == ("top-folder", Severity.ERROR)
    assert STEM in finding.problem
    (finding,) = check_package(write_folder(GOOD.files, tmp_path / "package"))
    assert (finding.rule, finding.severity) == ("top-folder", Severity.WARNING)


def test_a_zip_with_two_folders_or_none_is_refused(tmp_path: Path) -> None:
    names = {f"{STEM}/{name}": one for name, one in GOOD.files.items()}
    found = check_package(zip_of(tmp_path / "two.zip", {**names, "zz/x.yml": b""}))
    assert [finding.rule for finding in found] == ["top-folder"]
    found = check_package(zip_of(tmp_path / "none.zip", {}))
    assert "top-folder" in {finding.rule for finding in found}


def test_a_path_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    names = {f"{STEM}/{name}": one for name, one in GOOD.files.items()}
    for odd in (f"{STEM}/../../x", f"{STEM}/..\\x"):
        found = check_package(zip_of(tmp_path / "p.zip", {**names, odd: b""}))
        assert [finding.rule for finding in found] == ["unsafe-path"]
    folder = write_folder(GOOD.files, tmp_path / STEM)
    (folder / "NOTICE.txt").symlink_to(tmp_path / "p.zip")
    (finding,) = check_package(folder)
    assert (finding.rule, finding.file) == ("unsafe-path", "NOTICE.txt")


def test_the_same_file_twice_is_found(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "p.zip", {f"{STEM}/{name}": one for name, one in GOOD.files.items()})
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr(f"{STEM}/manifest.yml", GOOD.files["manifest.yml"])
    (finding,) = check_package(path)
    assert (finding.rule, finding.file) == ("twice", "manifest.yml")


def test_a_zip_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_of(tmp_path / "p.zip", {f"{STEM}/{name}": one for name, one in GOOD.files.items()})
    monkeypatch.setattr("aquila_mde.build.package.reading.MAX_BYTES", 1_000)
    monkeypatch.setattr("aquila_mde.build.package.reading.MAX_FILES", 10)
    limits = [finding for finding in check_package(path) if finding.rule == "limit"]
    assert len(limits) == 2


def test_too_many_data_streams_are_found() -> None:
    files = dict(GOOD.files)
    for number in range(500):
        files[f"data_stream/s{number}/manifest.yml"] = b"title: x\ntype: logs\n"
    assert "500 data streams" in " ".join(
        finding.problem for finding in check(files) if finding.rule == "limit"
    )


def test_what_is_no_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackageUnreadableError, match="no package at") as raised:
        check_package(tmp_path / "none.zip")
    assert "package build" in raised.value.hint
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(PackageUnreadableError, match="no zip"):
        check_package(tmp_path / "text.zip")


# Whatever stands in a file, the check says something and does not break.

SMALL = {
    name: content
    for name, content in GOOD.files.items()
    if (
        name.startswith(("manifest", "changelog", "kibana", "elasticsearch/transform"))
        and not name.startswith("kibana/dashboard/")
        and ("transform" not in name or name.startswith(TRANSFORM.rpartition("/")[0]))
        and not name.endswith(("fields/ecs.yml", "fields/fields.yml"))
    )
    or name in (STREAM, ILM, BASE, DASHBOARD)
}
ODD: tuple[Any, ...] = (None, 1, "x", [[]], [{"x": []}], {"x": "y"})


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [place]
    entries = value.items() if isinstance(value, dict) else ()
    entries = enumerate(value) if isinstance(value, list) else entries
    for key, one in entries:
        found += places(one, (*place, key))
    return found


def with_odd(values: Any, place: tuple[Any, ...], odd: Any) -> Any:
    if not place:
        return odd
    changed = deepcopy(values)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    return changed


@pytest.mark.parametrize("path", sorted(SMALL))
def test_a_value_of_another_shape_never_breaks_the_check(path: str) -> None:
    values = yaml.safe_load(SMALL[path])
    if path == DASHBOARD:
        values["attributes"]["panelsJSON"] = json.loads(values["attributes"]["panelsJSON"])
    for place in places(values):
        for odd in ODD:
            text = json.dumps(with_odd(values, place, odd))
            check({**SMALL, path: text.encode()})

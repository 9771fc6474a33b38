"""What must not be in any file of the repository, and what its descriptors must say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from aquila_mde.streams.tree import PackageTree

ROOT = PackageTree.default().root
# Written in two parts, so that this file does not find itself.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo1.maven" + ".org",
    "repo.maven" + ".apache.org",
    "central.sonatype" + ".com",
    "registry.npm" + "js.org",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "deb.debian" + ".org",
]
MACHINE_PATHS = ["/wor" + "k/", "/ro" + "ot/", "/opt/whe" + "els"]
FORBIDDEN = re.compile("|".join([re.escape(host) for host in REGISTRIES] + MACHINE_PATHS))


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    found = []
    for file in tracked():
        text = file.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if match := FORBIDDEN.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


def test_the_search_for_them_finds_them() -> None:
    for text in (f"https://{REGISTRIES[0]}/simple", "see /wor" + "k/x", "cd /ro" + "ot/x"):
        assert FORBIDDEN.search(text)


def test_every_package_is_pinned_with_hashes() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(entries) > 50
    assert [line for line in entries if not re.match(r"[\w.-]+==\S+ +--hash=sha256:", line)] == []
    # redis asks for it below Python 3.11.3 only; a file made by a newer Python lacks it easily.
    assert any(line.startswith("async-timeout==") for line in entries)


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    manifest = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))
    changelog = yaml.safe_load((ROOT / "changelog.yml").read_text(encoding="utf-8"))
    assert changelog[0]["version"] == manifest["version"]
    for entry in changelog:
        for change in entry["changes"]:
            assert set(change) == {"description", "type", "link"}
            assert change["type"] in {"breaking-change", "bugfix", "enhancement"}
            assert re.fullmatch(r"https://(?!github\.com)\S+", change["link"])


def test_make_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    listed = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    assert set(re.findall(r"^  make ([a-z-]+)", listed, re.MULTILINE)) == phony

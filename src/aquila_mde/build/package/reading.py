"""Reads a package from a folder or a zip, and remembers what could not be read."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aquila_mde.build.package.findings import Finding, Severity
from aquila_mde.errors import ConfigurationError
from aquila_mde.streams.yaml_source import Location, YamlSource, parse_yaml

MAX_FILES = 65_535
MAX_BYTES = 250 << 20
"""Of all files together, unpacked."""
_UNSAFE = re.compile(r"(^|/)\.\.(/|$)|^/|\\|^[A-Za-z]:")


class PackageUnreadableError(ConfigurationError):
    """There is no package at the path that was given."""


@dataclass
class JsonSource:
    """One parsed JSON file."""

    file: str
    values: Any
    text: str

    def line(self, needle: str) -> int:
        """The first line that holds ``needle``, or 1: JSON values do not know their place."""
        place = self.text.find(needle)
        return self.text.count("\n", 0, place) + 1 if place >= 0 else 1


@dataclass
class PackageFiles:
    """The files of one package by their path inside it."""

    name: str
    """The name of its folder."""
    zipped: bool
    files: dict[str, bytes]
    findings: list[Finding] = field(default_factory=list)
    """What could not be read so far."""
    _yaml: dict[str, YamlSource | None] = field(default_factory=dict)
    _json: dict[str, JsonSource | None] = field(default_factory=dict)

    def matching(self, pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
        """The paths that ``pattern`` matches as a whole, in order."""
        compiled = re.compile(pattern)
        for path in sorted(self.files):
            if match := compiled.fullmatch(path):
                yield path, match

    def streams(self) -> list[str]:
        """The names of the data stream folders."""
        return sorted({match[1] for _, match in self.matching(r"data_stream/([^/]+)/.+")})

    def text(self, path: str) -> str | None:
        """A file as text; what is not UTF-8 is a finding, told once."""
        try:
            return self.files[path].decode("utf-8")
        except UnicodeDecodeError as error:
            self._fail(path, 1, f"is not UTF-8 (byte {error.start})")
        return None

    def yaml(self, path: str) -> YamlSource | None:
        """A YAML file that holds a mapping or a list; ``None`` when it is missing or broken."""
        if path not in self._yaml:
            self._yaml[path] = self._read_yaml(path) if path in self.files else None
        return self._yaml[path]

    def json(self, path: str) -> JsonSource | None:
        """A JSON file that holds an object; ``None`` when it is missing or broken."""
        if path not in self._json:
            self._json[path] = self._read_json(path) if path in self.files else None
        return self._json[path]

    def _read_yaml(self, path: str) -> YamlSource | None:
        text = self.text(path)
        if text is None:
            return None
        source, faults = parse_yaml(Path(path), text)
        for fault in faults:
            self._fail(path, fault.line, f"{fault.field}: {fault.problem}".removeprefix(": "))
        if source is not None and not isinstance(source.values, dict | list):
            self._fail(path, 1, "must hold a mapping or a list")
            return None
        return source

    def _read_json(self, path: str) -> JsonSource | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            self._fail(path, error.lineno, f"is not JSON: {error.msg}")
            return None
        except RecursionError:
            self._fail(path, 1, "is not JSON that anybody can read: it is too deep")
            return None
        if not isinstance(values, dict):
            self._fail(path, 1, "must hold a JSON object")
            return None
        return JsonSource(path, values, text)

    def _fail(self, path: str, line: int, problem: str) -> None:
        finding = Finding(path, line, "unreadable", problem)
        if finding not in self.findings:
            self.findings.append(finding)


def mapping(source: YamlSource | None) -> dict[str, Any]:
    """The mapping of a YAML file, empty where there is none."""
    return source.values if source is not None and isinstance(source.values, dict) else {}


def part(values: Any, *path: str) -> dict[str, Any]:
    """The mapping at ``path`` below ``values``, empty where there is none."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def members(values: Any) -> list[tuple[int, dict[str, Any]]]:
    """The mappings in a list with their positions; what is none of them is left out."""
    listed = values if isinstance(values, list) else []
    return [(number, one) for number, one in enumerate(listed) if isinstance(one, dict)]


def texts(values: Any) -> list[str]:
    """The members of a list as text."""
    return [str(one) for one in values] if isinstance(values, list) else []


def found_at(source: YamlSource, place: Location, rule: str, problem: str) -> Finding:
    """A finding at a place of a YAML file."""
    return Finding(source.file.as_posix(), source.line(place), rule, problem)


def read_package(path: Path) -> PackageFiles:
    """The package at ``path``. Raises :class:`PackageUnreadableError` when there is none."""
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise PackageUnreadableError(
            f"There is no package at {path}",
            hint="Build it with: aquila-mde package build",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise PackageUnreadableError(
            f"{path} is no zip that can be read: {error}",
            hint="Build it with: aquila-mde package build",
        ) from None


def _read_folder(path: Path) -> PackageFiles:
    files = [file for file in sorted(path.rglob("*")) if file.is_file() or file.is_symlink()]
    package = PackageFiles(path.resolve().name, zipped=False, files={})
    sizes = sum(file.lstat().st_size for file in files)
    if _within_limits(package, len(files), sizes):
        for file in files:
            name = file.relative_to(path).as_posix()
            if file.is_symlink():
                problem = "is a symbolic link, which a zip does not keep"
                package.findings.append(Finding(name, 1, "unsafe-path", problem))
            else:
                package.files[name] = file.read_bytes()
    return package


def _read_zip(archive: zipfile.ZipFile) -> PackageFiles:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    tops = sorted({entry.filename.partition("/")[0] for entry in entries})
    with_folder = [entry.filename for entry in entries if "/" in entry.filename]
    package = PackageFiles(tops[0] if tops else "", zipped=True, files={})
    if len(tops) != 1 or not with_folder:
        problem = f"needs one folder that holds everything, and has {', '.join(tops) or 'nothing'}"
        package.findings.append(Finding("", 1, "top-folder", problem))
    if not _within_limits(package, len(entries), sum(entry.file_size for entry in entries)):
        return package
    for entry in entries:
        if _UNSAFE.search(entry.filename):
            problem = f"the path {entry.filename} leads out of the package"
            package.findings.append(Finding("", 1, "unsafe-path", problem))
            continue
        top, _, name = entry.filename.partition("/")
        if top == package.name and name:
            if name in package.files:
                package.findings.append(Finding(name, 1, "twice", "is in the zip twice"))
            package.files[name] = archive.read(entry)
    return package


def _within_limits(package: PackageFiles, count: int, size: int) -> bool:
    if count > MAX_FILES:
        problem = f"has {count:,} files; {MAX_FILES:,} are allowed"
        package.findings.append(Finding("", 1, "limit", problem, Severity.ERROR))
    if size > MAX_BYTES:
        problem = f"has {size >> 20} MB; {MAX_BYTES >> 20} MB are allowed"
        package.findings.append(Finding("", 1, "limit", problem, Severity.ERROR))
    return count <= MAX_FILES and size <= MAX_BYTES

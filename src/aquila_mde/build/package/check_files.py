"""Which files a package has: those that it needs, none that do not belong, none too large."""

from __future__ import annotations

import re

from aquila_mde.build.package.contents import is_allowed
from aquila_mde.build.package.findings import Finding, Found, Severity
from aquila_mde.build.package.reading import PackageFiles, mapping

_REQUIRED = ("manifest.yml", "changelog.yml", "docs/README.md")
_MB = 1 << 20
_LIMITS = (
    (re.compile(r"(.+/)?manifest\.yml"), 5 * _MB),
    (re.compile(r".*elasticsearch/ingest_pipeline/[^/]+"), 3 * _MB),
    (re.compile(r"img/[^/]+"), 3 * _MB),
    (re.compile(r".*"), 150 * _MB),
)
_MAX_STREAMS = 500
_TEMPLATE = re.compile(r"\{\{|\{%")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)[^)]*\)")


def check_files(package: PackageFiles) -> Found:
    """Every finding about names and sizes, and about the pages in docs/."""
    yield from _names(package)
    for path in _REQUIRED:
        if path not in package.files:
            yield Finding(path, 1, "missing-file", "is missing")
    for path, content in package.files.items():
        yield from _file(path, len(content))
    if len(package.streams()) > _MAX_STREAMS:
        yield Finding("", 1, "limit", f"has more than {_MAX_STREAMS} data streams")
    for path, _ in package.matching(r"docs/.+\.md"):
        yield from _page(package, path)


def _names(package: PackageFiles) -> Found:
    manifest = mapping(package.yaml("manifest.yml"))
    wanted = f"{manifest.get('name')}-{manifest.get('version')}"
    if package.name != wanted:
        # The folder may have any name until it is put into a zip.
        severity = Severity.ERROR if package.zipped else Severity.WARNING
        problem = f"the folder is {package.name or 'nameless'}, and Fleet takes {wanted} only"
        yield Finding("", 1, "top-folder", problem, severity)


def _file(path: str, size: int) -> Found:
    if "_dev" in path.split("/"):
        yield Finding(path, 1, "source-only", "belongs to the source and not into a package")
    elif path.endswith(".link"):
        yield Finding(path, 1, "source-only", "is a link that the build has not followed")
    elif not is_allowed(path):
        yield Finding(path, 1, "unknown-file", "is no file that a package may have")
    limit = next(limit for pattern, limit in _LIMITS if pattern.fullmatch(path))
    if size > limit:
        problem = f"has {size / _MB:.1f} MB; {limit // _MB} MB are allowed"
        yield Finding(path, 1, "limit", problem)


def _page(package: PackageFiles, path: str) -> Found:
    for number, line in enumerate((package.text(path) or "").splitlines(), 1):
        if _TEMPLATE.search(line):
            yield Finding(path, number, "template-left", "has a template that was not rendered")
        for image in _IMAGE.findall(line):
            name = re.sub(r"^(\.\./|\.?/)+", "", image)
            if not re.match(r"https?://", image) and name not in package.files:
                yield Finding(path, number, "missing-image", f"shows {image}, which is missing")

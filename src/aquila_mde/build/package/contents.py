"""What goes into the package: an allow-list, never the folder as it is.

Fleet sorts the files of an archive by their position and not by a list, so a file that happens to
lie at ``x/transform/y`` would be installed as a transform. Nothing gets in that is not named here.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from aquila_mde.build.built import built_files
from aquila_mde.streams.tree import PackageTree

_NAME = r"[a-z0-9_-]+"
_ROOT = ("manifest.yml", "changelog.yml", "LICENSE.txt", "NOTICE.txt")
_ELASTICSEARCH = (
    rf"elasticsearch/ingest_pipeline/{_NAME}\.(yml|json)",
    rf"elasticsearch/transform/[a-z0-9_]+/((transform|manifest)\.yml|fields/{_NAME}\.yml)",
)
_STREAM = (
    r"manifest\.yml",
    r"sample_event\.json",
    r"(routing_rules|lifecycle)\.yml",
    rf"fields/{_NAME}\.yml",
    rf"elasticsearch/ingest_pipeline/{_NAME}\.(yml|json)",
    rf"elasticsearch/ilm/{_NAME}\.json",
    rf"agent/stream/{_NAME}\.yml\.hbs",
)
_KIBANA = (
    *("dashboard", "visualization", "search", "map", "lens", "tag", "ml_module"),
    *("osquery_pack_asset", "osquery_saved_query", "security_rule", "index_pattern"),
    *("csp_rule_template", "alerting_rule_template", "slo_template"),
)
_FOR_THE_CHECKOUT = (
    ("docs", "streams", "README.md"),
    ("docs", "hunting-pack.md"),
    ("docs", "detection-rules.md"),
)
"""Pages that lead to files and commands which whoever has only the package does not have."""
_ALLOWED = re.compile(
    "|".join(
        (
            *(re.escape(name) for name in _ROOT),
            *(rf"data_stream/[a-z0-9_]+/{pattern}" for pattern in _STREAM),
            *_ELASTICSEARCH,
            rf"kibana/({'|'.join(_KIBANA)})/[\w.-]+\.json",
            r"kibana/tags\.yml",
            r"img/[\w.-]+\.(svg|png|jpe?g|gif)",
            r"docs/[\w.-]+\.md",
            r"docs/knowledge_base/[\w.-]+\.md",
        )
    )
)


def is_allowed(path: str) -> bool:
    """Whether a package may hold a file at ``path``, written with slashes."""
    return _ALLOWED.fullmatch(path) is not None


def package_contents(tree: PackageTree) -> dict[str, bytes]:
    """Every file of the package by its path, sorted; built files as they must be today."""
    found: dict[str, bytes] = {}
    for folder in (tree.root, tree.package):
        for file in _files(tree, folder):
            path = file.relative_to(folder).as_posix()
            if is_allowed(path) and not path.startswith("docs/"):
                found[path] = file.read_bytes()
    for built in built_files(tree):
        place = _in_package(built.path.relative_to(tree.root))
        if place is not None and is_allowed(place):
            found[place] = built.content.encode()
    return dict(sorted(found.items()))


def _files(tree: PackageTree, folder: Path) -> list[Path]:
    """The files that can be in question, so that no virtual environment is walked."""
    if folder == tree.root:
        streams = tree.root / "data_stream"
        files = [folder / name for name in _ROOT] + list(streams.rglob("*"))
    else:
        files = list(folder.rglob("*"))
    return [file for file in files if file.is_file()]


def _in_package(path: Path) -> str | None:
    """Where a built file lies in the package; ``None`` for what is for the checkout only."""
    parts = path.parts
    if parts[0] == "package":
        return PurePosixPath(*parts[1:]).as_posix()
    if parts in _FOR_THE_CHECKOUT:
        return None
    if parts[:2] == ("docs", "streams"):
        return str(PurePosixPath("docs", *parts[2:]))
    return path.as_posix()

"""Checks a package the way Fleet and Elastic's own validator do, and where they look away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aquila_mde.build.package.check_fields import check_fields
from aquila_mde.build.package.check_files import check_files
from aquila_mde.build.package.check_kibana import check_kibana
from aquila_mde.build.package.check_manifest import check_manifest
from aquila_mde.build.package.check_pipelines import check_pipelines
from aquila_mde.build.package.check_rules import check_rules
from aquila_mde.build.package.check_streams import check_streams
from aquila_mde.build.package.check_transforms import check_transforms
from aquila_mde.build.package.findings import Finding, Found
from aquila_mde.build.package.reading import PackageFiles, read_package

_CHECKS: tuple[Callable[[PackageFiles], Found], ...] = (
    check_files,
    check_manifest,
    check_streams,
    check_fields,
    check_pipelines,
    check_transforms,
    check_kibana,
    check_rules,
)


def check_package(path: Path) -> list[Finding]:
    """Everything that is wrong with the package at ``path``, a folder or a zip, in file order.

    Raises an error when there is no package to check.
    """
    package = read_package(path)
    found = [finding for check in _CHECKS for finding in check(package)]
    return sorted({*package.findings, *found})

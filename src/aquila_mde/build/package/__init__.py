"""The package as Fleet takes it: what goes into it, the zip, and what can be wrong with one."""

from aquila_mde.build.package.archive import Archive, make_archive, write_package
from aquila_mde.build.package.check import check_package
from aquila_mde.build.package.contents import package_contents
from aquila_mde.build.package.findings import Finding, Severity

__all__ = [
    "Archive",
    "Finding",
    "Severity",
    "check_package",
    "make_archive",
    "package_contents",
    "write_package",
]

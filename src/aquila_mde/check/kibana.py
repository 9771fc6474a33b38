"""Kibana's side, where the settings name one: reached, version, state of the package."""

from __future__ import annotations

from aquila_mde.check.finding import Findings
from aquila_mde.elastic.kibana import Kibana, is_within
from aquila_mde.elastic.package import read_package
from aquila_mde.errors import AquilaError, ExitCode
from aquila_mde.settings import KibanaSettings
from aquila_mde.streams.tree import PackageTree

_INSTALL = "Run: aquila-mde check --fix, or aquila-mde install --kibana URL."


async def check_kibana(
    settings: KibanaSettings | None, tree: PackageTree, findings: Findings
) -> None:
    """Look at the Kibana of ``settings`` and at what its Fleet knows of the package."""
    if settings is None:
        findings.skipped("kibana", "connection", "the settings name no Kibana")
        return
    package = read_package(tree)
    async with Kibana(settings) as kibana:
        try:
            running = await kibana.version()
        except AquilaError as error:
            findings.error("kibana", "connection", error)
            findings.skipped("kibana", "package", "Kibana is not reached")
            return
        findings.ok("kibana", "connection", kibana.host)
        if is_within(running, package.kibana):
            findings.ok("kibana", "version", running)
        else:
            findings.failed(
                "kibana",
                "version",
                f"{running}, and the package is made for {package.kibana}",
                "Update the Elastic stack, or use the engine alone: take kibana out of the "
                "settings.",
                ExitCode.ENGINE,
            )
        try:
            installed = await kibana.installed_version(package.name)
        except AquilaError as error:
            findings.error("kibana", "package", error)
            return
    if installed is None:
        findings.failed("kibana", "package", "not installed", _INSTALL, ExitCode.ENGINE)
    elif installed != package.version:
        said = f"version {installed} is installed, and this is {package.version}"
        findings.failed("kibana", "package", said, _INSTALL, ExitCode.ENGINE)
    else:
        findings.ok("kibana", "package", f"version {installed}")

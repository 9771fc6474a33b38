"""The engine's side: reached, version, licence, privileges, the package's objects, disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aquila_mde.check.finding import Findings
from aquila_mde.elastic.client import Engine, oldest_tested
from aquila_mde.elastic.disk import Level, fullest_disk
from aquila_mde.elastic.errors import EngineAccessError, EngineRefusedError
from aquila_mde.elastic.installed import compare
from aquila_mde.elastic.privileges import missing_privileges
from aquila_mde.elastic.retry import RetryPolicy
from aquila_mde.errors import AquilaError, ExitCode
from aquila_mde.settings import AllSettings
from aquila_mde.streams.tree import PackageTree

_INSTALL = "Run: aquila-mde check --fix, or aquila-mde install."
_NAMES = 3
"""Objects that are named; the others are counted."""


async def check_engine(settings: AllSettings, tree: PackageTree, findings: Findings) -> None:
    """Look at the engine of ``settings`` and at what of ``tree`` is on it."""
    try:
        engine = await Engine.connect(settings.shared.elasticsearch, retry=RetryPolicy(attempts=1))
    except AquilaError as error:
        findings.error("engine", "connection", error)
        for what in ("privileges", "package", "disk"):
            findings.skipped("engine", what, "the engine is not reached")
        return
    async with engine:
        findings.ok("engine", "connection", engine.place.host)
        _version(engine, findings)
        for what, look in (
            ("licence", _licence(engine, findings)),
            ("privileges", _privileges(engine, settings, findings)),
            ("package", _package(engine, tree, findings)),
            ("disk", _disk(engine, findings)),
        ):
            try:
                await look
            except AquilaError as error:
                findings.error("engine", what, error)


def _version(engine: Engine, findings: Findings) -> None:
    running = f"{engine.info.flavour} {engine.info.version}"
    oldest = oldest_tested(engine.info)
    if oldest is not None:
        hint = f"Update it: versions before {oldest} are not tested."
        findings.warning("engine", "version", running, hint)
    else:
        findings.ok("engine", "version", running)


async def _licence(engine: Engine, findings: Findings) -> None:
    if engine.info.flavour != "elasticsearch":
        findings.ok("engine", "licence", "none is needed")
        return
    try:
        licence = (await engine.request("GET", "_license"))["license"]
    except (EngineAccessError, EngineRefusedError, LookupError, TypeError):
        findings.skipped("engine", "licence", "the engine does not tell")
        return
    said = f"{licence.get('type')}, {licence.get('status')}"
    if licence.get("status") == "active":
        findings.ok("engine", "licence", said)
    else:
        hint = "Renew it, or go back to the basic licence: nothing here needs a higher one."
        findings.failed("engine", "licence", said, hint, ExitCode.ENGINE_ACCESS)


async def _privileges(engine: Engine, settings: AllSettings, findings: Findings) -> None:
    missing = await missing_privileges(
        engine, {each.tenant.namespace: each.state == "elasticsearch" for each in settings.each}
    )
    if missing is None:
        findings.skipped("engine", "privileges", "the engine does not tell, or has no security")
    elif missing:
        findings.failed(
            "engine",
            "privileges",
            f"the login lacks {_some(missing)}",
            f"Give the API key or the user: {'; '.join(missing)}.",
            ExitCode.ENGINE_ACCESS,
        )
    else:
        findings.ok("engine", "privileges", "all that a collector needs")


async def _package(engine: Engine, tree: PackageTree, findings: Findings) -> None:
    found = await compare(engine, tree)
    if found.foreign:
        findings.failed(
            "engine",
            "package",
            f"{_some(found.foreign)} belong to {found.owner} and are not of this version",
            "Update the package there (Kibana → Integrations), or remove it there and run: "
            "aquila-mde install.",
            ExitCode.ENGINE,
        )
    elif found.missing or found.different:
        parts = [
            f"{what}: {_some(names)}"
            for what, names in (("missing", found.missing), ("other content", found.different))
            if names
        ]
        findings.failed("engine", "package", "; ".join(parts), _INSTALL, ExitCode.ENGINE)
    else:
        by = f", by {found.owner}" if found.owner else ""
        findings.ok("engine", "package", f"version {found.version}, {found.same} objects{by}")
    if not found.lifecycle:
        findings.warning(
            "engine",
            "retention",
            "this OpenSearch has no plugin opensearch-index-management",
            "Delete old data by other means: the engine never does.",
        )


async def _disk(engine: Engine, findings: Findings) -> None:
    try:
        disk = await fullest_disk(engine)
    except EngineAccessError:
        disk = None
    if disk is None:
        findings.skipped("engine", "disk", "the engine does not tell")
        return
    said = f"{disk.percent:.0f} % of the fullest node ({disk.node}) is used"
    room = "Make room, add a disk or a node, or shorten the retention."
    if disk.level is Level.FLOOD:
        said += f", above the flood-stage watermark ({disk.watermark}): indices take no writes"
        findings.failed("engine", "disk", said, room, ExitCode.ENGINE)
    elif disk.level is Level.HIGH:
        said += f", above the high watermark ({disk.watermark}): shards are moved away"
        findings.failed("engine", "disk", said, room, ExitCode.ENGINE)
    elif disk.level is Level.LOW:
        said += f", above the low watermark ({disk.watermark}): it gets no new shards"
        findings.warning("engine", "disk", said, room)
    else:
        findings.ok("engine", "disk", said)


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:_NAMES]))
    more = len(names) - _NAMES
    return f"{shown} and {more} more" if more > 0 else shown

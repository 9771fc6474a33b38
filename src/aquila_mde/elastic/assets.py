"""Installs the package's objects on an engine, keeps them current, and takes them away again."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import structlog

from aquila_mde.elastic import dialect, transforms
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError, EngineRefusedError, ForeignAssetError
from aquila_mde.elastic.installed import has_lifecycle, held_asset, is_same, owner_of, surroundings
from aquila_mde.elastic.package import DataStream, Json, Package, read_package
from aquila_mde.elastic.plan import (
    MANAGED_BY,
    Asset,
    Request,
    plan_assets,
    plan_install,
)
from aquila_mde.elastic.state_index import state_index, state_indices
from aquila_mde.streams.tree import PackageTree

__all__ = [
    "InstallReport",
    "Request",
    "UninstallReport",
    "install",
    "plan_install",
    "uninstall",
]

_NO_LIFECYCLE = (
    "No lifecycle policies: this OpenSearch has no plugin opensearch-index-management, so old "
    "data is never deleted by the engine."
)
_log = structlog.get_logger()


@dataclass
class InstallReport:
    """What an installation did, object by object; ``rolled_over`` are data streams."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    rolled_over: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class UninstallReport:
    """What was taken away, and what stays with the reason why."""

    removed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


async def install(engine: Engine, tree: PackageTree) -> InstallReport:
    """Bring every object of ``tree`` to the engine; what is there and the same is left alone.

    Raises :class:`~aquila_mde.elastic.errors.ForeignAssetError`, before anything is changed, when
    one of them belongs to Fleet. Data streams that exist get the new mappings and pipeline in
    their write index; where the mappings do not fit, the data stream is rolled over.
    """
    package = read_package(tree)
    present = await surroundings(engine, package)
    assets = plan_assets(package, engine.info.flavour, present)
    held = await asyncio.gather(*(held_asset(engine, asset) for asset in assets))
    _refuse_foreign(assets, held)
    report = InstallReport()
    if not present.lifecycle:
        report.remarks.append(_NO_LIFECYCLE)
    for asset, there in zip(assets, held, strict=True):
        if there is not None and is_same(asset, there):
            report.unchanged.append(str(asset))
            continue
        if asset.kind == "transform":
            await transforms.put(engine, asset, there=there is not None)
        elif asset.kind == "index" and there is not None:
            await transforms.name(engine, asset)
        else:
            await _put(engine, asset, there)
        (report.created if there is None else report.updated).append(str(asset))
    wanted = {asset.name: asset.request.body for asset in assets}
    for stream in package.streams:
        await _update_write_indices(engine, package, stream, wanted[stream.component], report)
    for transform in package.transforms:
        done = await transforms.settle(engine, transform, wanted[transform.component])
        report.updated += done.updated
        report.remarks += done.remarks
    _log.info(
        "Package installed",
        package=f"{package.name} {package.version}",
        created=len(report.created),
        updated=len(report.updated),
        unchanged=len(report.unchanged),
        rolled_over=report.rolled_over,
    )
    return report


async def uninstall(
    engine: Engine, tree: PackageTree, *, delete_data: bool = False
) -> UninstallReport:
    """Take the objects of every version of the package away.

    A data stream with data stays, and so does everything it needs, unless ``delete_data`` is set.
    Objects of Fleet are never touched.
    """
    package = read_package(tree)
    report = UninstallReport()
    for stream in package.streams:
        names = [each["name"] for each in await _data_streams(engine, stream)]
        if names and delete_data:
            await engine.request("DELETE", f"_data_stream/{','.join(names)}")
            report.removed += [f"data stream {name}" for name in names]
        elif names:
            report.kept |= {f"data stream {name}": "it holds data" for name in names}
            report.kept[f"objects of {stream.base}"] = "the data stream needs them"
            continue
        await _remove(engine, f"_index_template/{stream.template}", report)
        await _remove(engine, f"_component_template/{stream.component}", report)
        for name in await _pipelines_of(engine, stream):
            await _remove(engine, f"_ingest/pipeline/{name}", report)
        for file in sorted((stream.folder / "elasticsearch" / "ilm").glob("*.json")):
            if has_lifecycle(engine):
                name = f"{stream.base}-{file.stem}"
                await _remove(engine, dialect.lifecycle_path(name, engine.info.flavour), report)
    if not report.kept:
        await _remove(engine, f"_component_template/{package.globals}", report)
        await _remove(engine, f"_ingest/pipeline/{package.final_pipeline}", report)
    for transform in package.transforms:
        gone = await transforms.remove(engine, transform, delete_data=delete_data)
        report.removed += gone.removed
        report.kept |= gone.kept
        await _remove(engine, f"_index_template/{transform.template}", report)
        await _remove(engine, f"_component_template/{transform.component}", report)
    if package.transforms:
        await _remove(engine, package.latest_progress, report)
    await _remove_states(engine, package, report, delete_data=delete_data)
    return report


async def _remove_states(
    engine: Engine, package: Package, report: UninstallReport, *, delete_data: bool
) -> None:
    """States that collectors keep in the engine; they are data, and nothing else needs them."""
    try:
        names = await state_indices(engine, package.name)
    except EngineAccessError as error:
        report.kept[f"index {state_index(package.name, '*')}"] = error.message
        return
    if names and delete_data:
        await engine.request("DELETE", ",".join(names))
        report.removed += [f"index {name}" for name in names]
    elif names:
        report.kept |= {f"index {name}": "it holds the state of a collector" for name in names}


def _refuse_foreign(assets: list[Asset], held: list[Json | None]) -> None:
    foreign = [
        f"  {asset} (managed by {owner_of(there)})"
        for asset, there in zip(assets, held, strict=True)
        if owner_of(there) not in ("", MANAGED_BY)
    ]
    if foreign:
        raise ForeignAssetError(
            "These objects belong to somebody else and are not overwritten:\n" + "\n".join(foreign),
            hint="The package is installed through Fleet already: update it there, or remove it "
            "there (Kibana → Integrations) and install again.",
        )


async def _put(engine: Engine, asset: Asset, there: Json | None) -> None:
    params = None
    if there is not None and asset.request.path.startswith(dialect.ISM_POLICIES):
        params = {"if_seq_no": there["_seq_no"], "if_primary_term": there["_primary_term"]}
    request = asset.request
    try:
        await engine.request(request.method, request.path, request.body, params=params)
    except EngineRefusedError as error:
        error.hint = "Nothing that comes after this object was installed."
        if asset.kind == "index template":
            error.hint += (
                " If another template has the same pattern and priority, remove it or change its "
                "priority, then run the installation again."
            )
        raise


async def _data_streams(engine: Engine, stream: DataStream) -> list[Json]:
    answer = await engine.request("GET", f"_data_stream/{stream.pattern}", missing_ok=True)
    found: list[Json] = (answer or {}).get("data_streams", [])
    return found


async def _update_write_indices(
    engine: Engine,
    package: Package,
    stream: DataStream,
    component: Json | None,
    report: InstallReport,
) -> None:
    """Give the write index of every data stream what a new index would get."""
    wanted = (component or {})["template"]["mappings"]["_meta"]["digest"]
    for each in await _data_streams(engine, stream):
        if each.get("template") != stream.template or each.get("rollover_on_write"):
            continue
        index = each["indices"][-1]["index_name"]
        answer = await engine.request("GET", f"{index}/_mapping")
        mappings = answer[index]["mappings"]
        if (mappings.get("_meta") or {}).get("digest") == wanted:
            continue
        composed = await engine.request("POST", f"_index_template/_simulate/{stream.template}")
        new = composed["template"]["mappings"]
        _keep_constants(new, mappings)
        try:
            await engine.request("PUT", f"{index}/_mapping", new)
        except EngineRefusedError as error:
            if error.status != 400:
                raise
            _log.info("Mappings do not fit, rolling over", index=index, reason=error.message)
            await _roll_over(engine, each["name"])
            report.rolled_over.append(each["name"])
            continue
        pipelines = {"index.default_pipeline": stream.pipeline(package.version)}
        if dialect.final_pipeline_is_a_setting(engine.info.flavour):
            pipelines["index.final_pipeline"] = package.final_pipeline
        await engine.request("PUT", f"{index}/_settings", pipelines)
        report.updated.append(f"write index {index}")


def _keep_constants(new: Json, old: Json) -> None:
    """Give a constant_keyword that has no value the one that its index has settled on."""
    for name, mapping in (new.get("properties") or {}).items():
        before = (old.get("properties") or {}).get(name) or {}
        if mapping.get("type") == "constant_keyword" and "value" in before:
            mapping.setdefault("value", before["value"])
        _keep_constants(mapping, before)


async def _roll_over(engine: Engine, name: str) -> None:
    # Elasticsearch rolls over with the next document, which spares an empty index.
    lazy = {"lazy": "true"} if engine.info.flavour == "elasticsearch" else None
    await engine.request("POST", f"{name}/_rollover", params=lazy, repeat=False)


async def _pipelines_of(engine: Engine, stream: DataStream) -> list[str]:
    answer = await engine.request("GET", f"_ingest/pipeline/{stream.base}-*", missing_ok=True)
    ours = re.compile(rf"{re.escape(stream.base)}-\d+\.\d+\.\d+(-.+)?")
    # The entry pipeline first: it calls the others.
    return sorted((name for name in answer or {} if ours.fullmatch(name)), key=len)


async def _remove(engine: Engine, path: str, report: UninstallReport) -> None:
    answer = await engine.request("GET", path, missing_ok=True)
    if not answer:
        return
    owner = owner_of(answer)
    if owner not in ("", MANAGED_BY):
        report.kept[path] = f"it is managed by {owner}"
        return
    try:
        await engine.request("DELETE", path, missing_ok=True)
    except EngineRefusedError as error:
        report.kept[path] = error.message
        return
    report.removed.append(path)

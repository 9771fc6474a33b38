"""The transforms of the package on an engine, and the indices that they fill.

What is in such an index can be made again from the data streams. So where new mappings do not fit
the index, it is deleted and filled anew, and an index of an older version does not stay.

Source: https://www.elastic.co/docs/api/doc/elasticsearch/group/endpoint-transform
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import structlog

from aquila_mde.elastic import dialect
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineRefusedError
from aquila_mde.elastic.installed import owner_of
from aquila_mde.elastic.package import Json, Transform
from aquila_mde.elastic.plan import MANAGED_BY, Asset

_STARTED = 409
"""The status by which Elasticsearch says that a transform runs already."""
_log = structlog.get_logger(__name__)


@dataclass
class Settled:
    """What was changed beside the objects themselves."""

    updated: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Removed:
    """What was taken away, and what stays with the reason why."""

    removed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


async def put(engine: Engine, asset: Asset, *, there: bool) -> None:
    """Put a transform; one with other content is taken away first, for it cannot be changed."""
    if there:
        await _take_away(engine, asset.name)
    request = asset.request
    # The data streams that it reads come with the first documents.
    await engine.request(
        request.method, request.path, request.body, params={"defer_validation": "true"}
    )


async def name(engine: Engine, asset: Asset) -> None:
    """Give an index that is there the aliases that it lacks."""
    for alias in (asset.request.body or {}).get("aliases") or {}:
        await engine.request("PUT", f"{asset.name}/_alias/{alias}")


async def settle(engine: Engine, transform: Transform, component: Json | None) -> Settled:
    """Take older versions of ``transform`` away, and start this one if it is stopped.

    Its index gets the mappings of ``component``.
    """
    report = Settled()
    await _take_older_away(engine, transform, report)
    await _update_index(engine, transform, component, report)
    if transform.start and dialect.has_transforms(engine.info.flavour):
        await _start(engine, transform, report)
    return report


async def remove(engine: Engine, transform: Transform, *, delete_data: bool) -> Removed:
    """Stop and delete the transform in every version, and its index if ``delete_data`` is set.

    An index that holds nothing goes in any case.
    """
    report = Removed()
    if dialect.has_transforms(engine.info.flavour):
        for each, owner in (await _versions(engine, transform)).items():
            if owner in ("", MANAGED_BY):
                await _take_away(engine, each)
                report.removed.append(f"transform {each}")
            else:
                report.kept[f"transform {each}"] = f"it is managed by {owner}"
    for index in await _indices(engine, transform):
        empty = (await engine.request("GET", f"{index}/_count"))["count"] == 0
        if (delete_data or empty) and not report.kept:
            await engine.request("DELETE", index, missing_ok=True)
            report.removed.append(f"index {index}")
        else:
            report.kept[f"index {index}"] = "it holds data"
    return report


async def _take_away(engine: Engine, transform: str) -> None:
    force = {"force": "true"}
    await engine.request(
        "POST",
        f"_transform/{transform}/_stop",
        params={**force, "wait_for_completion": "true", "allow_no_match": "true"},
        missing_ok=True,
    )
    await engine.request("DELETE", f"_transform/{transform}", params=force, missing_ok=True)


async def _versions(engine: Engine, transform: Transform) -> dict[str, str]:
    """The transforms of every version, each with who manages it."""
    answer = await engine.request("GET", f"_transform/{transform.ids}", missing_ok=True)
    found = (answer or {}).get("transforms") or []
    return {each["id"]: owner_of(each) for each in found}


async def _indices(engine: Engine, transform: Transform) -> list[str]:
    """The indices of every version that are there."""
    answer = await engine.request("GET", f"{_unversioned(transform)}*/_mapping", missing_ok=True)
    ours = re.compile(rf"{re.escape(_unversioned(transform))}\d*")
    return sorted(name for name in answer or {} if ours.fullmatch(name))


def _unversioned(transform: Transform) -> str:
    return re.sub(r"\d+$", "", transform.index)


async def _take_older_away(engine: Engine, transform: Transform, report: Settled) -> None:
    if dialect.has_transforms(engine.info.flavour):
        for each, owner in (await _versions(engine, transform)).items():
            if each != transform.id and owner == MANAGED_BY:
                await _take_away(engine, each)
                report.updated.append(f"transform {each}, which is removed")
    for index in await _indices(engine, transform):
        if index != transform.index:
            await engine.request("DELETE", index, missing_ok=True)
            report.updated.append(f"index {index}, which is removed")


async def _update_index(
    engine: Engine, transform: Transform, component: Json | None, report: Settled
) -> None:
    answer = await engine.request("GET", f"{transform.index}/_mapping", missing_ok=True)
    if not answer:
        return
    held = answer[transform.index]["mappings"]
    wanted = (component or {})["template"]["mappings"]["_meta"]["digest"]
    if (held.get("_meta") or {}).get("digest") == wanted:
        return
    composed = await engine.request("POST", f"_index_template/_simulate/{transform.template}")
    try:
        await engine.request("PUT", f"{transform.index}/_mapping", composed["template"]["mappings"])
    except EngineRefusedError as error:
        if error.status != 400:
            raise
        _log.info("Mappings do not fit, filling anew", index=transform.index, reason=error.message)
        await _make_anew(engine, transform)
        report.updated.append(f"index {transform.index}, which is filled anew")
        return
    report.updated.append(f"index {transform.index}")


async def _make_anew(engine: Engine, transform: Transform) -> None:
    if not dialect.has_transforms(engine.info.flavour):
        await engine.request("DELETE", transform.index, missing_ok=True)
        await engine.request("PUT", transform.index, {"aliases": {transform.alias: {}}})
        return
    # Forgets how far it has read, and deletes the index that it has made.
    await engine.request(
        "POST", f"_transform/{transform.id}/_reset", params={"force": "true"}, repeat=False
    )


async def _start(engine: Engine, transform: Transform, report: Settled) -> None:
    answer: Any = await engine.request("GET", f"_transform/{transform.id}/_stats")
    if any(each.get("state") != "stopped" for each in answer["transforms"]):
        return
    try:
        await engine.request(
            "POST", f"_transform/{transform.id}/_start", ok=(200, _STARTED), repeat=False
        )
    except EngineRefusedError as error:
        report.remarks.append(
            f"The transform {transform.id} is there and was not started: {error.message}. "
            "Run the installation again when there are documents."
        )

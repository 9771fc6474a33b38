"""What of the package is on an engine, and whether it is what the package says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aquila_mde.elastic import dialect
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.package import Json, Package, read_package
from aquila_mde.elastic.plan import MANAGED_BY, Asset, Present, plan_assets
from aquila_mde.streams.tree import PackageTree


@dataclass(frozen=True)
class Comparison:
    """The package against what is on the engine; objects by their kind and name."""

    version: str
    same: int
    missing: list[str]
    different: list[str]
    foreign: list[str]
    """Objects of somebody else that are not those of this version."""
    owner: str
    """Who has installed the package, if not we."""
    lifecycle: bool
    """Whether the engine can delete old data by itself."""


async def compare(engine: Engine, tree: PackageTree) -> Comparison:
    """What :func:`install` would find; nothing is changed."""
    package = read_package(tree)
    present = await surroundings(engine, package)
    assets = plan_assets(package, engine.info.flavour, present)
    held = await asyncio.gather(*(held_asset(engine, asset) for asset in assets))
    pairs = list(zip(assets, held, strict=True))
    others = {owner_of(there) for there in held} - {"", MANAGED_BY}
    foreign = [str(asset) for asset, there in pairs if owner_of(there) in others]
    if others:
        # Names of pipelines have the version in them. Fleet has no use for our two own objects.
        entries = {stream.pipeline(package.version) for stream in package.streams}
        if all(there for asset, there in pairs if asset.name in entries):
            count = len(foreign)
            owner = ", ".join(sorted(others))
            return Comparison(package.version, count, [], [], [], owner, present.lifecycle)
    return Comparison(
        version=package.version,
        same=sum(there is not None and is_same(asset, there) for asset, there in pairs),
        missing=[str(asset) for asset, there in pairs if there is None],
        different=[
            str(asset) for asset, there in pairs if there is not None and not is_same(asset, there)
        ],
        foreign=foreign,
        owner=", ".join(sorted(others)),
        lifecycle=present.lifecycle,
    )


def has_lifecycle(engine: Engine) -> bool:
    """Whether the engine can delete old data by itself."""
    info = engine.info
    return info.flavour == "elasticsearch" or dialect.ISM_PLUGIN in info.plugins


async def surroundings(engine: Engine, package: Package) -> Present:
    """What of others is on the engine and decides about the package's objects."""
    if engine.info.flavour == "elasticsearch":
        return Present()
    components: set[str] = set()
    pipelines: set[str] = set()
    for stream in package.streams:
        components |= set(package.custom_components(stream))
        pipelines |= set(package.custom_pipelines(stream))
    components |= {transform.custom for transform in package.transforms}
    return Present(
        components=await _existing(engine, "_component_template", components),
        pipelines=await _existing(engine, "_ingest/pipeline", pipelines),
        lifecycle=has_lifecycle(engine),
    )


async def _existing(engine: Engine, path: str, names: set[str]) -> frozenset[str]:
    ordered = sorted(names)
    answers = await asyncio.gather(
        *(engine.request("GET", f"{path}/{name}", missing_ok=True) for name in ordered)
    )
    return frozenset(name for name, answer in zip(ordered, answers, strict=True) if answer)


async def held_asset(engine: Engine, asset: Asset) -> Json | None:
    """The object as the engine holds it, in the form in which it was put, or None."""
    answer = await engine.request("GET", asset.request.path, missing_ok=True)
    if not answer:
        return None
    match asset.kind:
        case "component template":
            held = answer["component_templates"][0]["component_template"]
        case "index template":
            held = answer["index_templates"][0]["index_template"]
        case "transform":
            held = answer["transforms"][0]
        case "lifecycle policy" if engine.info.flavour == "opensearch":
            held = answer
        case _:
            held = answer[asset.name]
    found: Json = held
    return found


def owner_of(held: Any) -> str:
    """Who says in ``_meta`` that he manages the object; empty where nobody does."""
    if isinstance(held, list):
        return next(filter(None, map(owner_of, held)), "")
    if not isinstance(held, dict):
        return ""
    if "_meta" in held:
        return str((held["_meta"] or {}).get("managed_by") or "")
    return next(filter(None, map(owner_of, held.values())), "")


def is_same(asset: Asset, there: Json) -> bool:
    """Whether what is ``there`` is what the package says."""
    wanted = asset.request.body or {}
    if asset.kind == "transform":
        digest: bool = (there.get("_meta") or {}).get("digest") == asset.digest
        return digest
    if asset.kind == "index":
        # Its mappings are brought up to date as those of data streams are.
        return set(wanted.get("aliases") or {}) <= set(there.get("aliases") or {})
    if asset.request.path.startswith(dialect.ISM_POLICIES):
        same: bool = there["policy"]["description"] == wanted["policy"]["description"]
        return same
    if "_meta" not in wanted and asset.kind == "pipeline":
        return there == wanted
    return _covers(_comparable(there), _comparable(wanted))


def _comparable(body: Json) -> Json:
    """``body`` with its settings in the one form that engines give them back in."""
    template = body.get("template")
    if not template or "settings" not in template:
        return body
    settings = dict(_flat(template["settings"], ""))
    return body | {"template": template | {"settings": settings}}


def _flat(settings: Json, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield name if name.startswith("index.") else f"index.{name}", text


def _covers(held: Any, wanted: Any) -> bool:
    """Is everything ``wanted`` in ``held``? Engines add defaults of their own."""
    if isinstance(wanted, dict):
        return isinstance(held, dict) and all(
            key in held and _covers(held[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(held, list) and len(held) == len(wanted) and all(map(_covers, held, wanted))
        )
    return bool(held == wanted)

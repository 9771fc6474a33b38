"""How much room the documents need in the engine, and how many shards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import yaml

from aquila_mde.planning.demand import DAY
from aquila_mde.streams.collect_spec import parse_duration
from aquila_mde.streams.lifecycle import Lifecycle
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree


@dataclass(frozen=True)
class Room:
    """What one data stream of one tenant needs; without replicas."""

    shards: float
    """Indices of one shard each."""
    stored: float
    """Bytes at most, shortly before the oldest index is deleted."""
    largest: float
    """Bytes of an index when the next one is begun."""


def room_of(a_day: float, lifecycle: Lifecycle, retention: timedelta | None) -> Room:
    """The room of a data stream that grows by ``a_day`` bytes.

    An index is deleted so long after the next one was begun, so what it holds is older still.
    ``retention`` takes the place of that time.
    """
    kept = (retention or lifecycle.delete_after) / DAY
    by_age = lifecycle.rollover_age / DAY
    days = by_age if a_day == 0 else min(by_age, lifecycle.rollover_bytes / a_day)
    return Room(math.ceil(kept / days) + 1, a_day * (kept + days), a_day * days)


@dataclass(frozen=True)
class Latest:
    """The index with the newest version of each thing, which all tenants share."""

    shards: int
    kept: timedelta
    """How long a thing stays of which nothing is heard."""
    template: str
    """Its index template."""


def read_latest(tree: PackageTree, stream: Stream) -> Latest | None:
    """What the transform of ``stream`` says; ``None`` where it has none."""
    folder = tree.transforms / f"latest_{stream.name}"
    if not folder.is_dir():
        return None
    manifest, transform = (
        yaml.safe_load((folder / f"{name}.yml").read_text(encoding="utf-8"))
        for name in ("manifest", "transform")
    )
    settings: dict[str, Any] = manifest["destination_index_template"].get("settings", {})
    kept = parse_duration(transform["retention_policy"]["time"]["max_age"])
    shards = int(settings.get("index", {}).get("number_of_shards", 1))
    package = stream.dataset.partition(".")[0]
    return Latest(shards, kept, f"logs-{package}.{folder.name}-template")

"""How full the disks of the engine's nodes are, against the watermarks that it acts on.

Source: https://www.elastic.co/docs/reference/elasticsearch/configuration-reference/cluster-level-shard-allocation-routing-settings
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aquila_mde.elastic.client import Engine

_SETTING = "cluster.routing.allocation.disk.watermark."
_BYTES = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}
_SIZE = re.compile(r"([\d.]+)\s*([kmgtp]?b)", re.IGNORECASE)


class Level(StrEnum):
    """The highest watermark that is passed; the value is the engine's name for it."""

    BELOW = "below"
    LOW = "low"
    HIGH = "high"
    FLOOD = "flood_stage"


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of one node."""

    node: str
    percent: float
    """What is used of it."""
    level: Level
    watermark: str
    """The watermark that is passed, as the engine writes it."""


async def fullest_disk(engine: Engine) -> Disk | None:
    """The fullest disk of a node; ``None`` where the engine does not say."""
    rows = await engine.request("GET", "_cat/allocation", params={"format": "json", "bytes": "b"})
    told = await engine.request(
        "GET", "_cluster/settings", params={"include_defaults": "true", "flat_settings": "true"}
    )
    settings: dict[str, Any] = {}
    for part in ("defaults", "persistent", "transient"):
        settings |= told.get(part) or {}
    disks = [
        _disk(row["node"], int(row["disk.used"]), int(row["disk.total"]), settings)
        for row in rows
        if row.get("disk.total") and row.get("disk.used")
    ]
    order = list(Level)
    return max(disks, key=lambda disk: (order.index(disk.level), disk.percent), default=None)


def _disk(node: str, used: int, total: int, settings: dict[str, Any]) -> Disk:
    passed, at = Level.BELOW, ""
    for level in (Level.LOW, Level.HIGH, Level.FLOOD):
        watermark = str(settings.get(_SETTING + level) or "")
        if watermark and _is_above(watermark, used, total):
            passed, at = level, watermark
    return Disk(node, 100 * used / total, passed, at)


def _is_above(watermark: str, used: int, total: int) -> bool:
    """Whether ``used`` bytes of ``total`` pass a watermark: ``85%``, ``0.85`` or ``10gb`` free."""
    size = _SIZE.fullmatch(watermark)
    if size:
        return total - used < float(size[1]) * _BYTES[size[2].lower()]
    try:
        share = float(watermark.removesuffix("%")) / (100 if watermark.endswith("%") else 1)
    except ValueError:
        return False
    return used > share * total

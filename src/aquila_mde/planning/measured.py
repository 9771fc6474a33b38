"""What one row, one pass and one document cost: as ``make bench`` has measured it.

The file is docs/performance.json, or one that ``make bench`` wrote on another machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aquila_mde.errors import ConfigurationError

_MILLION = 1_000_000


@dataclass(frozen=True)
class Weight:
    """The bytes of one document of a stream."""

    record: float
    """As the service gives it."""
    sent: float
    """In a bulk request, with what it was joined with."""
    stored: float
    """In a primary shard, merged."""


@dataclass(frozen=True)
class Measured:
    """Costs on the machine where they were measured; seconds and bytes."""

    row_s: Mapping[str, float]
    """CPU of the collector for one row, by stream."""
    pass_s: Mapping[str, float]
    """CPU of the collector for a pass that finds nothing new, by stream."""
    process_bytes: float
    """Memory of a process with one tenant, in the middle of a full export."""
    tenant_bytes: float
    """Memory that each further tenant adds to a process."""
    engine_bytes_s: float
    """What one core of the engine takes in a second, in bytes of bulk requests."""
    weights: Mapping[str, Weight]
    where: str
    """The machine, and when."""

    def cpu_of_row(self, stream: str) -> float:
        """Seconds. What was not measured costs as much as the dearest that was."""
        return self.row_s[stream] if stream in self.row_s else max(self.row_s.values())

    def cpu_of_pass(self, stream: str) -> float:
        """Seconds. What was not measured costs as much as the dearest that was."""
        return self.pass_s[stream] if stream in self.pass_s else max(self.pass_s.values())

    def weight(self, stream: str) -> Weight:
        """What was not weighed weighs as much as the heaviest that was."""
        if stream in self.weights:
            return self.weights[stream]
        return max(self.weights.values(), key=lambda each: each.stored)


def read_measured(file: Path) -> Measured:
    """What ``file`` says. Raises an error that names what is wrong with it."""
    try:
        return _measured(json.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, OSError):
            reason = str(error.strerror)
        raise ConfigurationError(
            f"The measurements in {file} cannot be used: {reason}.",
            hint="Leave --measured out, or let make bench write that file.",
        ) from None


def _measured(found: dict[str, Any]) -> Measured:
    machine, end = found["machine"], found["end_to_end"]
    sink, idle = found["null_sink"], found["idle_poll"]
    peaks, weighed = found["peak_memory_mb"], found["footprint"]
    held = {int(number): _middle(one) for number, one in weighed["tenants_memory_mb"].items()}
    few, many = min(held), max(held)
    # All cores were the engine's, but for what the collector needed of them, which is left out.
    rate = _middle(end["documents_per_s"]["collector"]) * end["bytes_per_document"]
    date = found["measured"]["end_to_end"]["date"]
    return Measured(
        row_s={name: _middle(one["cpu_s_per_million"]) / _MILLION for name, one in sink.items()},
        pass_s={name: _middle(one["cpu_ms"]) / 1_000 for name, one in idle.items()},
        process_bytes=max(_middle(one) for one in peaks.values()) * 1e6,
        tenant_bytes=max(held[many] - held[few], 0) / max(many - few, 1) * 1e6,
        engine_bytes_s=rate / machine["cores"],
        weights={
            name: Weight(one["record_bytes"], one["sent_bytes"], one["stored_bytes"])
            for name, one in weighed["streams"].items()
        },
        where=f"{machine['cores']} cores ({machine['processor']}), {end['engine']}, {date}",
    )


def _middle(spread: dict[str, Any]) -> float:
    return float(spread["median"])

"""What a stream costs in calls of the Defender API, as long as little changes in the tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from aquila_mde.streams.collect_spec import CollectSpec, Endpoint

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True)
class Cost:
    """The calls of one endpoint."""

    kind: Literal["records", "query", "full export", "changes", "join"]
    what: str
    endpoint: Endpoint
    every: timedelta

    @property
    def path(self) -> str:
        """The endpoint, as in its address."""
        return self.endpoint.path

    @property
    def an_hour(self) -> float:
        """Calls an hour when each answer fits into one page."""
        return _HOUR / self.every

    @property
    def a_day(self) -> float:
        """Calls a day when each answer fits into one page."""
        return _DAY / self.every

    @property
    def allowed_an_hour(self) -> int:
        """Calls an hour that the quota leaves."""
        return min(self.endpoint.quota.per_minute * 60, self.endpoint.quota.per_hour)

    @property
    def allowed(self) -> int:
        """Calls a day that the quota leaves."""
        return self.allowed_an_hour * 24


def costs(spec: CollectSpec, interval: timedelta | None = None) -> list[Cost]:
    """Every endpoint that a pass of the stream may call.

    ``interval`` is that between two passes, where it is not the stream's own.
    """
    interval = interval or spec.interval
    endpoint = spec.endpoint
    delta = spec.delta
    if spec.strategy == "hunting":
        found = [Cost("query", "Each query", endpoint, interval)]
    elif delta is None:
        found = [Cost("records", "The records", endpoint, interval)]
    else:
        full = max(delta.full_export_every, interval)
        found = [
            Cost("full export", "The full export", endpoint, full),
            Cost("changes", "The changes", delta.endpoint, interval),
        ]
    for name, join in spec.joins.items():
        if join.source is not None:
            # A pass asks only for what is older than its refresh.
            every = max(join.source.refresh, interval)
            found.append(Cost("join", f"The join {name}", join.source.endpoint, every))
    return found


def duration(value: timedelta) -> str:
    """``5m``, ``2h``, ``7d``: the largest unit that leaves no rest."""
    seconds = int(value.total_seconds())
    unit, letter = next((unit, letter) for unit, letter in _UNITS if seconds % unit == 0)
    return f"{seconds // unit}{letter}"


def number(value: float) -> str:
    """At most two digits behind the point: ``288``, ``0.14``, ``1,500``."""
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")

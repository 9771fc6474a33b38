"""What a stream costs in calls of the Defender API, as long as little changes in the tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from aquila_mde.streams.collect_spec import CollectSpec, Quota

_DAY = timedelta(days=1)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True)
class Cost:
    """The calls of one endpoint."""

    what: str
    path: str
    every: timedelta
    quota: Quota

    @property
    def a_day(self) -> float:
        """Calls a day when each answer fits into one page."""
        return _DAY / self.every

    @property
    def allowed(self) -> int:
        """Calls a day that the quota leaves."""
        return min(self.quota.per_minute * 60, self.quota.per_hour) * 24


def costs(spec: CollectSpec) -> list[Cost]:
    """Every endpoint that a pass of the stream may call."""
    endpoint = spec.endpoint
    delta = spec.delta
    if delta is None:
        what = "Each query" if spec.strategy == "hunting" else "The records"
        found = [Cost(what, endpoint.path, spec.interval, endpoint.quota)]
    else:
        changes = delta.endpoint
        found = [
            Cost("The full export", endpoint.path, delta.full_export_every, endpoint.quota),
            Cost("The changes", changes.path, spec.interval, changes.quota),
        ]
    for name, join in spec.joins.items():
        if join.source is not None:
            # A pass asks only for what is older than its refresh.
            every = max(join.source.refresh, spec.interval)
            joined = join.source.endpoint
            found.append(Cost(f"The join {name}", joined.path, every, joined.quota))
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

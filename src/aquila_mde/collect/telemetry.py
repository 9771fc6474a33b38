"""What a process has done and how far behind it is: for Prometheus and for health checks.

One :class:`Telemetry` is the process, and a :class:`TenantTelemetry` each tenant that it collects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from aquila_mde import __version__
from aquila_mde.collect.last_passes import LastPasses
from aquila_mde.collect.report import StreamReport

_LABELS = ("tenant", "stream")
_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600)
_DEAF = 60.0
"""Seconds without a sign of life after which the process counts as stuck."""
_LATE = 3
"""Intervals after which a stream counts as late."""


@dataclass(frozen=True)
class Readings:
    """What is asked for when somebody looks."""

    queue_bytes: Callable[[], int]
    quota_left: Callable[[], Mapping[str, int]]
    """By path, the calls that are still allowed within the hour."""
    credential_expires: float | None
    """Seconds since 1970; ``None`` where it is not known."""
    unknown_properties: Callable[[], Mapping[str, int]] = dict
    """By stream, the names that mapping.yml does not know."""


class Telemetry(Collector):
    """Counts what a process does, tenant by tenant. May be read from any thread."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self.now = now
        self._beat = now()
        self._tenants: dict[str, TenantTelemetry] = {}
        self.counters = Counters(self.registry)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def tenant(self, label: str, intervals: Mapping[str, timedelta]) -> TenantTelemetry:
        """What counts for the tenant ``label`` from now on; ``intervals`` are its streams'."""
        made = TenantTelemetry(self, label, intervals, earlier=self._tenants.get(label))
        self._tenants = {**self._tenants, label: made}
        return made

    def labels(self) -> set[str]:
        """The tenants that are counted."""
        return set(self._tenants)

    def forget(self, label: str) -> None:
        """The tenant ``label`` is not collected any more."""
        self._tenants = {name: each for name, each in self._tenants.items() if name != label}
        self.counters.forget(label)

    def beat(self) -> None:
        """A sign of life of the event loop."""
        self._beat = self.now()

    def stuck(self) -> str:
        """Why the process should be started anew; empty while it lives."""
        silent = self.now() - self._beat
        return f"no sign of life for {silent:.0f} s" if silent > _DEAF else ""

    def unready(self) -> dict[str, dict[str, str]]:
        """By tenant, the streams that are not collected as they should be, and why."""
        found = {label: each.unready() for label, each in self._tenants.items()}
        return {label: streams for label, streams in found.items() if streams}

    def collect(self) -> Iterator[Metric]:
        """What is worked out when somebody looks: the registry asks."""
        info = InfoMetricFamily("aquila_mde_build", "The version of aquila_mde.")
        info.add_metric([], {"version": __version__})
        yield info
        families = [
            GaugeMetricFamily(f"aquila_mde_{name}", text, labels=labels)
            for name, text, labels in _GAUGES
        ]
        for each in self._tenants.values():
            for family, samples in zip(families, each.samples(), strict=True):
                for labels, value in samples:
                    if value is not None:
                        family.add_metric((each.label, *labels), value)
        yield from families


_GAUGES = (
    (
        "lag_seconds",
        "Time since the last complete pass began: what is older is collected.",
        _LABELS,
    ),
    ("interval_seconds", "Time between two passes, by the settings.", _LABELS),
    ("queue_bytes", "Documents that are sent or wait to be.", ("tenant",)),
    ("quota_left_calls", "Calls that Microsoft still allows within the hour.", ("tenant", "path")),
    (
        "credential_days_left",
        "Days until the certificate expires; of a secret that is not known.",
        ("tenant",),
    ),
    (
        "unknown_properties",
        "Properties that are not mapped and that records have had since the start, each name once; "
        "a sample of the records is looked at.",
        _LABELS,
    ),
    ("tenant_up", "Whether the tenant is collected at all: 0 where it cannot be.", ("tenant",)),
)
_Samples = list[tuple[Sequence[str], float | None]]


class Counters:
    """What only ever grows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"aquila_mde_{name}", text, (*_LABELS, *more), registry=registry)

        self.records = counter("records", "Records that the tenant gave.")
        self.created = counter("documents_created", "Documents that the engine has taken.")
        self.existing = counter(
            "duplicates_suppressed", "Records that were delivered before and not indexed again."
        )
        self.dead = counter("dead_letters", "Records that the engine refused for good.")
        self.requests = counter("requests", "Requests to Microsoft, repeated ones included.")
        self.retries = counter("retries", "Requests to Microsoft that were repeated.")
        self.passes = counter("passes", "Passes that ended.", "outcome")
        self.seconds = Histogram(
            "aquila_mde_pass_seconds",
            "How long a pass took.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._plain = (
            *(self.records, self.created, self.existing, self.dead),
            *(self.requests, self.retries),
        )

    def show(self, tenant: str, streams: Iterable[str]) -> None:
        """Show zeros: an alert on something that is not there never fires."""
        for stream in streams:
            for each in self._plain:
                each.labels(tenant, stream)

    def forget(self, tenant: str) -> None:
        """Show nothing of ``tenant`` any more."""
        for each in (*self._plain, self.passes, self.seconds):
            each.remove_by_labels({"tenant": tenant})


class TenantTelemetry:
    """What is counted of one tenant. Made by :meth:`Telemetry.tenant`."""

    def __init__(
        self,
        whole: Telemetry,
        label: str,
        intervals: Mapping[str, timedelta],
        *,
        earlier: TenantTelemetry | None = None,
    ) -> None:
        self.label = label
        self._counters = whole.counters
        self._intervals = {name: each.total_seconds() for name, each in intervals.items()}
        self._now = whole.now
        self._last: LastPasses = LastPasses(dict(earlier._last.complete) if earlier else {})
        self._down = ""
        self._readings: Readings | None = None
        whole.counters.show(label, self._intervals)

    def watch(self, readings: Readings, last_complete: Mapping[str, float]) -> None:
        """Show ``readings`` from now on; the last complete passes are those of an earlier run."""
        self._readings, self._down = readings, ""
        self._last.known(last_complete)

    def failed(self, why: str) -> None:
        """The tenant is not collected at all until :meth:`watch` is called again."""
        self._readings, self._down = None, why

    def passed(self, report: StreamReport, *, began: float, retries: int) -> None:
        """Count a pass that began at ``began`` (seconds since 1970)."""
        labels, counters = (self.label, report.stream), self._counters
        counters.records.labels(*labels).inc(report.records)
        counters.created.labels(*labels).inc(report.created)
        counters.existing.labels(*labels).inc(report.existing)
        counters.dead.labels(*labels).inc(report.dead)
        counters.requests.labels(*labels).inc(report.requests)
        counters.retries.labels(*labels).inc(retries)
        counters.seconds.labels(*labels).observe(report.seconds)
        counters.passes.labels(*labels, self._last.note(report, began)).inc()

    def lag(self, stream: str) -> float | None:
        """Seconds since which nothing of ``stream`` is known to be collected; ``None``: ever."""
        return self._last.lag(stream, self._now())

    def unready(self) -> dict[str, str]:
        """The streams that are not collected as they should be, and why."""
        if self._down:
            return dict.fromkeys(self._intervals, self._down)
        found = {}
        for stream, interval in self._intervals.items():
            lag = self.lag(stream)
            if stream in self._last.errors:
                found[stream] = self._last.errors[stream]
            elif lag is None:
                found[stream] = "never collected yet"
            elif lag > _LATE * interval:
                found[stream] = f"{lag:.0f} s behind, at an interval of {interval:.0f} s"
        return found

    def samples(self) -> list[_Samples]:
        """The values of each of the gauges, by what the labels behind the tenant's are."""
        watched = self._readings
        expires = watched.credential_expires if watched else None
        quota = watched.quota_left() if watched else {}
        unknown = watched.unknown_properties() if watched else {}
        return [
            [((each,), self.lag(each)) for each in self._intervals],
            [((each,), value) for each, value in self._intervals.items()],
            [((), float(watched.queue_bytes()) if watched else None)],
            [((path,), float(left)) for path, left in quota.items()],
            [((), None if expires is None else (expires - self._now()) / 86_400)],
            [((stream,), float(count)) for stream, count in unknown.items()],
            [((), 0.0 if self._down else 1.0)],
        ]

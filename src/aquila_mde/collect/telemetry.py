"""What a collector has done and how far behind it is, for Prometheus and for health checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from aquila_mde import __version__
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
    """Counts what one collector does. May be read from any thread."""

    def __init__(
        self,
        tenant: str,
        intervals: Mapping[str, timedelta],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``intervals`` are those of the enabled streams."""
        self.registry = CollectorRegistry()
        self._tenant = tenant
        self._intervals = {name: each.total_seconds() for name, each in intervals.items()}
        self._now = now
        self._beat = now()
        self._complete: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        self._readings: Readings | None = None

        def counter(name: str, text: str, *more: str) -> Counter:
            labels = (*_LABELS, *more)
            return Counter(f"aquila_mde_{name}", text, labels, registry=self.registry)

        self._records = counter("records", "Records that the tenant gave.")
        self._created = counter("documents_created", "Documents that the engine has taken.")
        self._existing = counter(
            "duplicates_suppressed", "Records that were delivered before and not indexed again."
        )
        self._dead = counter("dead_letters", "Records that the engine refused for good.")
        self._requests = counter("requests", "Requests to Microsoft, repeated ones included.")
        self._retries = counter("retries", "Requests to Microsoft that were repeated.")
        self._passes = counter("passes", "Passes that ended.", "outcome")
        self._seconds = Histogram(
            "aquila_mde_pass_seconds",
            "How long a pass took.",
            _LABELS,
            buckets=_SECONDS,
            registry=self.registry,
        )
        for stream in self._intervals:
            for each in (self._records, self._created, self._existing, self._dead):
                each.labels(tenant, stream)
            for each in (self._requests, self._retries):
                each.labels(tenant, stream)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def watch(self, readings: Readings, last_complete: Mapping[str, float]) -> None:
        """Show ``readings`` from now on; the last complete passes are those of an earlier run."""
        self._readings = readings
        self._complete = {**last_complete, **self._complete}

    def beat(self) -> None:
        """A sign of life of the event loop."""
        self._beat = self._now()

    def passed(self, report: StreamReport, *, began: float, retries: int) -> None:
        """Count a pass that began at ``began`` (seconds since 1970)."""
        labels = (self._tenant, report.stream)
        self._records.labels(*labels).inc(report.records)
        self._created.labels(*labels).inc(report.created)
        self._existing.labels(*labels).inc(report.existing)
        self._dead.labels(*labels).inc(report.dead)
        self._requests.labels(*labels).inc(report.requests)
        self._retries.labels(*labels).inc(retries)
        self._seconds.labels(*labels).observe(report.seconds)
        if report.error is not None:
            self._errors[report.stream] = report.error.message
            outcome = "failed"
        else:
            self._errors.pop(report.stream, None)
            outcome = "complete" if report.complete else "stopped"
        if outcome == "complete":
            self._complete[report.stream] = began
        self._passes.labels(*labels, outcome).inc()

    def lag(self, stream: str) -> float | None:
        """Seconds since which nothing of ``stream`` is known to be collected; ``None``: ever."""
        complete = self._complete.get(stream)
        return None if complete is None else max(0.0, self._now() - complete)

    def stuck(self) -> str:
        """Why the process should be started anew; empty while it lives."""
        silent = self._now() - self._beat
        return f"no sign of life for {silent:.0f} s" if silent > _DEAF else ""

    def unready(self) -> dict[str, str]:
        """The streams that are not collected as they should be, and why."""
        found = {}
        for stream, interval in self._intervals.items():
            lag = self.lag(stream)
            if stream in self._errors:
                found[stream] = self._errors[stream]
            elif lag is None:
                found[stream] = "never collected yet"
            elif lag > _LATE * interval:
                found[stream] = f"{lag:.0f} s behind, at an interval of {interval:.0f} s"
        return found

    def collect(self) -> Iterator[Metric]:
        """What is worked out when somebody looks: the registry asks."""
        info = InfoMetricFamily("aquila_mde_build", "The version of aquila_mde.")
        info.add_metric([], {"version": __version__})
        yield info
        yield self._gauge(
            "lag_seconds",
            "Time since the last complete pass began: what is older is collected.",
            _LABELS,
            [((self._tenant, each), self.lag(each)) for each in self._intervals],
        )
        yield self._gauge(
            "interval_seconds",
            "Time between two passes, by the settings.",
            _LABELS,
            [((self._tenant, each), value) for each, value in self._intervals.items()],
        )
        if self._readings is not None:
            tenant = (self._tenant,)
            yield self._gauge(
                "queue_bytes",
                "Documents that are sent or wait to be.",
                ("tenant",),
                [(tenant, float(self._readings.queue_bytes()))],
            )
            yield self._gauge(
                "quota_left_calls",
                "Calls that Microsoft still allows within the hour.",
                ("tenant", "path"),
                [
                    ((self._tenant, path), float(left))
                    for path, left in self._readings.quota_left().items()
                ],
            )
            yield self._gauge(
                "unknown_properties",
                "Properties that are not mapped and that records have had since the start, each "
                "name once; a sample of the records is looked at.",
                _LABELS,
                [
                    ((self._tenant, stream), float(count))
                    for stream, count in self._readings.unknown_properties().items()
                ],
            )
            expires = self._readings.credential_expires
            days = None if expires is None else (expires - self._now()) / 86_400
            yield self._gauge(
                "credential_days_left",
                "Days until the certificate expires; of a secret that is not known.",
                ("tenant",),
                [(tenant, days)],
            )

    def _gauge(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        samples: Sequence[tuple[Sequence[str], float | None]],
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"aquila_mde_{name}", text, labels=labels)
        for values, value in samples:
            if value is not None:
                family.add_metric(values, value)
        return family

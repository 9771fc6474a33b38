"""The course of the demonstration, step by step, each told to whoever shows it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aquila_mde.collect.dead_letter import DATASET as DEAD_LETTERS
from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.demo.comparison import Comparison, compare, example
from aquila_mde.demo.tenant import TenantProcess, TenantSize
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.client import Engine
from aquila_mde.engine import EmbeddedEngine
from aquila_mde.errors import AquilaError
from aquila_mde.preview import Preview, ask
from aquila_mde.settings import (
    ElasticsearchSettings,
    Settings,
    StreamSettings,
    TenantSettings,
)
from aquila_mde.streams.tree import PackageTree

Tell = Callable[[str], None]
OnRecords = Callable[[str, int], None]

_HUNTED = timedelta(days=7)
"""How far back the hunting queries look: enough for the dashboard to have days."""
_EXAMPLES: dict[str, dict[str, Any]] = {
    "alert": {
        "bool": {
            "filter": [
                {"exists": {"field": field}}
                for field in ("process.command_line", "user.name", "threat.technique.id")
            ]
        }
    },
    "vulnerability": {"exists": {"field": "vulnerability.id"}},
}


@dataclass(frozen=True)
class StreamResult:
    """One stream at the end: both sides compared, and what the two passes did."""

    comparison: Comparison
    first: StreamReport
    second: StreamReport


@dataclass
class DemoReport:
    """Everything that the demonstration found out."""

    engine: dict[str, str]
    streams: dict[str, StreamResult] = field(default_factory=dict)
    hunting: list[StreamReport] = field(default_factory=list)
    """Both passes of the hunting queries, whose rows are no records that the tenant holds."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    preview: Preview = field(default_factory=lambda: Preview("", [], []))
    """What the dashboards show of it."""

    @property
    def perfect(self) -> bool:
        """Whether each version is indexed once, and a second collection brought nothing."""
        return all(
            result.comparison.perfect and result.second.created == 0
            for result in self.streams.values()
        ) and not any(report.created for report in self.hunting[1:])

    def summary(self) -> dict[str, Any]:
        """What is written to ``summary.json``."""
        return {
            "engine": self.engine,
            "streams": {
                name: {
                    **asdict(result.comparison),
                    "existing": result.first.existing,
                    "seconds": round(result.first.seconds, 3),
                }
                for name, result in self.streams.items()
            },
            "hunting": {
                "rows": sum(report.created for report in self.hunting),
                "created_again": sum(report.created for report in self.hunting[1:]),
            },
            "second_pass": {
                name: {
                    "records": result.second.records,
                    "created": result.second.created,
                    "existing": result.second.existing,
                    "failed": result.second.dead,
                    "seconds": round(result.second.seconds, 3),
                }
                for name, result in self.streams.items()
            },
        }


class Demo:
    """A tenant and an engine that run as long as the context lasts."""

    def __init__(self, size: TenantSize, *, tell: Tell, heap: str = "1g") -> None:
        self._tell = tell
        self._size = size
        self._engine = EmbeddedEngine(heap=heap)
        self._folder = tempfile.TemporaryDirectory(prefix="aquila-demo-")

    def __enter__(self) -> Self:
        self._tell("Starting a simulated Defender tenant and an OpenSearch engine")
        # The tenant makes up its records while the engine starts.
        self._tenant = TenantProcess(self._size)
        try:
            self._engine.start()
            self._tenant.wait()
        except BaseException:
            self._stop()
            raise
        self._tell(f"The tenant answers at {self._tenant.url}, the engine at {self._engine.url}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def engine_url(self) -> str:
        """Where the engine answers."""
        return self._engine.url

    def settings(self) -> Settings:
        """The settings of a collector between the two; nothing of the environment enters them."""
        return Settings(
            tenant=TenantSettings.model_validate(self._tenant.settings),
            elasticsearch=ElasticsearchSettings(url=self._engine.url),
            state=Path(self._folder.name) / "state.sqlite3",
            streams={"hunting": StreamSettings(enabled=True, look_back=_HUNTED)},
            log_level="warning",
        )

    async def run(self, progress: OnRecords | None = None) -> DemoReport:
        """Install, collect twice, compare, ask. An error of a stream is raised."""
        settings, tree = self.settings(), PackageTree.default()
        namespace = settings.tenant.namespace
        dead_letters = f"logs-{DEAD_LETTERS}-{namespace}"
        async with await Engine.connect(settings.elasticsearch) as engine:
            installed = await install(engine, tree)
            self._tell(f"Installed {len(installed.created)} objects in the engine; collecting")
            async with await Collector.open(settings, tree, progress=progress) as collector:
                first = _without_errors(await collector.collect())
                self._tell("Collecting a second time")
                second = _without_errors(await collector.collect())
                await collector.health.write()
                await collector.latest.update()
                streams = {stream.name: stream for stream in collector.streams}
            self._tell("Comparing the index with the tenant, version by version")
            report = DemoReport(
                {
                    "flavour": engine.info.flavour,
                    "version": engine.info.version,
                    "url": self._engine.url,
                }
            )
            indices = {name: stream.index(namespace) for name, stream in streams.items()}
            for name, index in indices.items():
                if streams[name].collect.strategy == "hunting":
                    report.hunting = [first[name], second[name]]
                    continue
                versions = await asyncio.to_thread(self._tenant.versions, name)
                report.streams[name] = StreamResult(
                    await compare(engine, name, index, dead_letters, versions),
                    first[name],
                    second[name],
                )
            for name, query in _EXAMPLES.items():
                if name in indices and (found := await example(engine, indices[name], query)):
                    report.examples.append(found)
            self._tell("Asking what the dashboards show")
            report.preview = await ask(engine, tree)
        return report

    def _stop(self) -> None:
        self._tenant.stop()
        self._engine.stop()
        self._folder.cleanup()


def _without_errors(reports: list[StreamReport]) -> dict[str, StreamReport]:
    errors: list[AquilaError] = [report.error for report in reports if report.error is not None]
    if errors:
        raise errors[0]
    return {report.stream: report for report in reports}

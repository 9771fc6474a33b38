"""``aquila-mde run``: collect every stream at its interval."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from aquila_mde.cli._options import ConfigOption, LogLevel, LogLevelOption, read_settings
from aquila_mde.errors import AquilaError
from aquila_mde.settings import Settings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.telemetry import Telemetry

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def run(config: ConfigOption = None, log_level: LogLevelOption = None) -> None:
    """Collect every stream at its interval until SIGTERM or Ctrl-C.

    The page under way is finished and written down first; a second signal ends at once. SIGHUP
    reads the settings anew; if something is wrong in them, the collection goes on with the old.
    """
    settings: Settings | None = read_settings(config, log_level)
    while settings is not None:
        settings = asyncio.run(_Run(config, log_level).until_told(settings))


class _Run:
    """One collector, from its start until a signal."""

    def __init__(self, config: Path | None, log_level: LogLevel | None) -> None:
        self._config, self._log_level = config, log_level
        self._log = structlog.get_logger(__name__)
        self._stop = asyncio.Event()
        self._next: Settings | None = None

    async def until_told(self, settings: Settings) -> Settings | None:
        """Collect by ``settings``. Those to go on with, or ``None`` when that was all."""
        from aquila_mde.collect.runner import Collector

        loop = asyncio.get_running_loop()
        tree = PackageTree.default()
        async with AsyncExitStack() as opened:
            telemetry = _monitored(settings, tree, opened)
            collector = await Collector.open(settings, tree, telemetry=telemetry)
            await opened.enter_async_context(collector)
            for each in _STOPPING:
                loop.add_signal_handler(each, self._end, each)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            self._log.info("Collecting", streams=[stream.name for stream in collector.streams])
            await collector.run(self._stop)
        self._log.info("Stopped")
        return self._next

    def _end(self, number: signal.Signals) -> None:
        self._log.info("Stopping after the page under way", signal=number.name)
        self._next = None
        self._stop.set()
        for each in _STOPPING:
            asyncio.get_running_loop().remove_signal_handler(each)

    def _reload(self) -> None:
        # Before anything is stopped: a slip in the file must not end the collection.
        try:
            self._next = read_settings(self._config, self._log_level)
        except AquilaError as error:
            self._log.error("The settings are not taken, going on with the old ones", error=error)
            return
        self._log.info("The settings are read anew after the page under way", signal="SIGHUP")
        self._stop.set()


def _monitored(settings: Settings, tree: PackageTree, opened: AsyncExitStack) -> Telemetry | None:
    """What counts, and shows it on the port of the settings; nothing where there is none."""
    from aquila_mde.collect.monitor import Monitor
    from aquila_mde.collect.status import enabled_streams
    from aquila_mde.collect.telemetry import Telemetry

    monitoring, tenant = settings.monitoring, settings.tenant
    if monitoring.port is None:
        return None
    intervals = {
        each.name: settings.stream(each.name).interval or each.collect.interval
        for each in enabled_streams(settings, tree)
    }
    telemetry = Telemetry(tenant.name or tenant.id, intervals)
    opened.enter_context(Monitor(telemetry, monitoring.address, monitoring.port))
    return telemetry

"""``aquila-mde run``: collect every stream at its interval."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from aquila_mde.cli._options import ConfigOption, LogLevelOption, read_settings
from aquila_mde.settings import Settings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.collect.telemetry import Telemetry

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(config: ConfigOption = None, log_level: LogLevelOption = None) -> None:
    """Collect every stream at its interval until SIGTERM or Ctrl-C.

    The page under way is finished and written down first; a second signal ends at once.
    """
    asyncio.run(_run(read_settings(config, log_level)))


async def _run(settings: Settings) -> None:
    from aquila_mde.collect.runner import Collector

    log = structlog.get_logger(__name__)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        log.info("Stopping after the page under way", signal=number.name)
        stop.set()
        for each in _SIGNALS:
            loop.remove_signal_handler(each)

    tree = PackageTree.default()
    async with AsyncExitStack() as opened:
        telemetry = _monitored(settings, tree, opened)
        collector = await Collector.open(settings, tree, telemetry=telemetry)
        await opened.enter_async_context(collector)
        for each in _SIGNALS:
            loop.add_signal_handler(each, on_signal, each)
        log.info("Collecting", streams=[stream.name for stream in collector.streams])
        await collector.run(stop)
    log.info("Stopped")


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

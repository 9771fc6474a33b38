"""``aquila-mde run``: collect every stream at its interval."""

from __future__ import annotations

import asyncio
import signal

import structlog

from aquila_mde.cli._options import ConfigOption, LogLevelOption, read_settings
from aquila_mde.settings import Settings
from aquila_mde.streams.tree import PackageTree

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

    async with await Collector.open(settings, PackageTree.default()) as collector:
        for each in _SIGNALS:
            loop.add_signal_handler(each, on_signal, each)
        log.info("Collecting", streams=[stream.name for stream in collector.streams])
        await collector.run(stop)
    log.info("Stopped")

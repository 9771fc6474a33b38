"""``aquila-mde run``: collect every stream at its interval."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from pathlib import Path

import structlog

from aquila_mde.cli._options import (
    ConfigOption,
    LogLevel,
    LogLevelOption,
    TenantsOption,
    read_settings,
)
from aquila_mde.errors import AquilaError
from aquila_mde.settings import AllSettings
from aquila_mde.streams.tree import PackageTree

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def run(
    config: ConfigOption = None, tenant: TenantsOption = None, log_level: LogLevelOption = None
) -> None:
    """Collect every stream at its interval until SIGTERM or Ctrl-C.

    The page under way is finished and written down first; a second signal ends at once. SIGHUP
    reads the settings anew; if something is wrong in them, the collection goes on with the old. Of
    several tenants, one that fails is tried again with patience, and the others go on.
    """
    settings: AllSettings | None = read_settings(config, log_level, tenant)
    while settings is not None:
        settings = asyncio.run(_Run(config, log_level, tenant).until_told(settings))


class _Run:
    """The tenants of one process, from their start until a signal."""

    def __init__(
        self, config: Path | None, log_level: LogLevel | None, tenants: list[str] | None
    ) -> None:
        self._config, self._log_level, self._chosen = config, log_level, tenants
        self._log = structlog.get_logger(__name__)
        self._next: AllSettings | None = None

    async def until_told(self, settings: AllSettings) -> AllSettings | None:
        """Collect by ``settings``. Those to go on with, or ``None`` when that was all."""
        from aquila_mde.collect.monitor import Monitor
        from aquila_mde.collect.telemetry import Telemetry
        from aquila_mde.collect.tenants import Tenants

        loop = asyncio.get_running_loop()
        with ExitStack() as opened:
            monitoring = settings.shared.monitoring
            telemetry = None if monitoring.port is None else Telemetry()
            self._settings = settings
            self._tenants = Tenants(settings, PackageTree.default(), telemetry=telemetry)
            if telemetry is not None and monitoring.port is not None:
                opened.enter_context(Monitor(telemetry, monitoring.address, monitoring.port))
            for each in _STOPPING:
                loop.add_signal_handler(each, self._end, each)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            await self._tenants.run()
        self._log.info("Stopped")
        return self._next

    def _end(self, number: signal.Signals) -> None:
        self._log.info("Stopping after the page under way", signal=number.name)
        self._next = None
        self._tenants.stop()
        for each in _STOPPING:
            asyncio.get_running_loop().remove_signal_handler(each)

    def _reload(self) -> None:
        # Before anything is stopped: a slip in the file must not end the collection.
        try:
            new = read_settings(self._config, self._log_level, self._chosen)
            self._tenants.look_at(new)
        except AquilaError as error:
            self._log.error("The settings are not taken, going on with the old ones", error=error)
            return
        self._log.info("The settings are read anew after the page under way", signal="SIGHUP")
        if _shared(new) == _shared(self._settings):
            self._settings = new
            self._tenants.take(new)
        else:
            self._next = new
            self._tenants.stop()


def _shared(settings: AllSettings) -> tuple[object, ...]:
    """What cannot be changed for one tenant alone."""
    any_ = settings.shared
    return any_.elasticsearch, any_.monitoring, len(settings.each) > 1

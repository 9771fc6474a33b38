"""What can go wrong while an engine is started on this machine."""

from __future__ import annotations

from aquila_mde.errors import ConfigurationError, ExitCode


class EngineStartError(ConfigurationError):
    """The embedded engine cannot run here: memory, disk, port, network, account or a crash."""

    exit_code = ExitCode.ENVIRONMENT

"""Asks a running collector, on the port that it shows itself on, how it is."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException

import msgspec

from aquila_mde.errors import AquilaError, ConfigurationError, ExitCode
from aquila_mde.settings import MonitoringSettings

_SECONDS = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is opened here
"""Addresses that are listened on and cannot be asked, and what can."""


class _Answer(msgspec.Struct):
    status: str
    tenants: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)


class UnwellError(AquilaError):
    """There is no collector, or it says itself that it is not well."""

    exit_code = ExitCode.ENVIRONMENT


def ask(monitoring: MonitoringSettings, *, ready: bool = False) -> None:
    """Return if the collector of this machine lives; with ``ready``, if all it does is up to date.

    Raises :class:`UnwellError` with what it says, and :class:`ConfigurationError` where the
    settings name no port.
    """
    if monitoring.port is None:
        raise ConfigurationError(
            "The settings name no port on which a collector could be asked.",
            hint="Set monitoring.port (AQUILA_MONITORING__PORT), for aquila-mde run too.",
        )
    host, port = _ANY.get(monitoring.address, monitoring.address), monitoring.port
    connection = HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/readyz" if ready else "/healthz")
        told = connection.getresponse()
        answer = msgspec.json.decode(told.read(), type=_Answer)
    except (OSError, HTTPException, msgspec.MsgspecError) as error:
        raise UnwellError(
            f"No collector answers at {host}:{port}: {error}",
            hint="Is aquila-mde run running on this machine, with this monitoring.port?",
        ) from None
    finally:
        connection.close()
    if told.status != 200:
        streams = "".join(
            f"\n  {tenant}, {stream}: {why}"
            for tenant, streams in answer.tenants.items()
            for stream, why in streams.items()
        )
        raise UnwellError(
            f"The collector at {host}:{port} is not well: {answer.status}{streams}",
            hint="aquila-mde check names what is wrong; a process without a sign of life has to "
            "be started anew.",
        )

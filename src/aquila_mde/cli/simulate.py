"""``aquila-mde simulate``: a Defender tenant on loopback to rehearse with."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from aquila_mde.cli._options import (
    ActionsOption,
    AlertsOption,
    JsonOption,
    LogLevel,
    LogLevelOption,
    MachinesOption,
    VulnerabilitiesOption,
    extra,
    start_logging,
)
from aquila_mde.cli._output import print_json, say
from aquila_mde.errors import ConfigurationError

if TYPE_CHECKING:
    from aquila_mde.simulator.faults import FaultPlan


def simulate(
    machines: MachinesOption = 2_000,
    alerts: AlertsOption = 5_000,
    actions: ActionsOption = 1_000,
    vulnerabilities: VulnerabilitiesOption = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same tenant.")] = 1,
    activity: Annotated[
        float, typer.Option(min=0, help="How much happens while time passes; 0: nothing.")
    ] = 1.0,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What goes wrong: a plan as JSON.", show_default=False),
    ] = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="No application is registered yet: for onboard.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, help="Port on loopback; 0 takes a free one.")] = 0,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Run a simulated Defender tenant until Ctrl-C or SIGTERM.

    What it prints is a settings file that reaches it.
    """
    start_logging(log_level, LogLevel.WARNING)
    with extra("demo"):
        from aquila_mde.simulator.faults import FaultPlan
        from aquila_mde.simulator.server import SimulatorServer

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SimulatorServer(
            machines=machines,
            alerts=alerts,
            actions=actions,
            vulnerabilities=vulnerabilities,
            seed=seed,
            activity=activity,
            faults=_read_plan(faults) if faults else FaultPlan(),
            running=True,
            registered=not empty,
            port=port,
        ) as server:
            if as_json:
                print_json({"url": server.url, "settings": server.settings()})
            else:
                say("# A simulated Defender tenant; Ctrl-C ends it. Save this as a settings file:")
                say(yaml.safe_dump(server.settings(), sort_keys=False).rstrip())
                say("# and say where the engine is: a section elasticsearch, or ES_URL.")
            signal.pause()
    except KeyboardInterrupt:
        return


def _read_plan(file: Path) -> FaultPlan:
    import msgspec

    from aquila_mde.simulator.faults import FaultPlan

    try:
        return FaultPlan.from_json(msgspec.json.decode(file.read_bytes()))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            f"{file} is not a plan of faults: {error}",
            hint='A plan is a list such as [{"where": "/api/alerts", "what": "status", '
            '"status": 503}].',
        ) from None

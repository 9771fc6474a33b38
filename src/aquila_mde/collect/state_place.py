"""Where the state is kept, as the settings say: in a file, or in the engine."""

from __future__ import annotations

from collections.abc import Sequence

from aquila_mde.collect.engine_state import EngineState, open_engine_view
from aquila_mde.collect.state import State
from aquila_mde.collect.state_view import StateView
from aquila_mde.elastic.client import Engine
from aquila_mde.settings import Settings


async def open_state(settings: Settings, engine: Engine) -> State:
    """The collector's state, for this process alone.

    Raises :class:`~aquila_mde.collect.state.StateInUseError` when another one has it.
    """
    if settings.state == "elasticsearch":
        return await EngineState.open(engine, settings.tenant.namespace, settings.tenant.id)
    return State(settings.state)


async def open_view(settings: Settings, engine: Engine) -> StateView:
    """The collector's state to be read, also beside a collector that is at work."""
    if settings.state == "elasticsearch":
        return await open_engine_view(engine, settings.tenant.namespace, settings.tenant.id)
    return StateView(settings.state)


async def open_beside(
    settings: Settings, engine: Engine, name: str, *, tables: Sequence[str]
) -> State:
    """A state called ``name`` beside the collector's own, which has ``tables`` beside the usual."""
    if settings.state == "elasticsearch":
        return await EngineState.open(
            engine, settings.tenant.namespace, settings.tenant.id, name=name, tables=tables
        )
    return State(settings.state.with_name(f"{settings.state.name}.{name}"))

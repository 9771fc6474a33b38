"""The tenants that are planned for: groups of equal ones, with what is collected of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aquila_mde.errors import ConfigurationError
from aquila_mde.planning.assumptions import wrong_number
from aquila_mde.settings import HuntingSettings, Settings, StreamSettings, interval_of, is_enabled
from aquila_mde.streams.hunts import NamedHunt, chosen_hunts, load_hunts
from aquila_mde.streams.stream import Stream


@dataclass(frozen=True)
class Collected:
    """A stream that is collected, and how often."""

    stream: Stream
    interval: timedelta
    queries: tuple[timedelta, ...] = ()
    """Of hunting: the time between two runs of each query."""


@dataclass(frozen=True)
class TenantGroup:
    """So many equal tenants."""

    name: str
    count: int
    machines: int
    collected: tuple[Collected, ...]


def as_numbers(
    streams: Sequence[Stream],
    *,
    tenants: int,
    machines: int,
    largest: int | None,
    like: Settings | None = None,
    hunting: bool | None = None,
) -> list[TenantGroup]:
    """``tenants`` with ``machines`` each; one of them has ``largest``.

    They are collected as the settings ``like`` say, or as the package does. Raises an error for
    numbers that no tenant can have.
    """
    _check({"--tenants": tenants, "--machines": machines, "--largest": largest})
    collected = _as_said(streams, like, hunting=hunting)
    if largest is None:
        return [TenantGroup("each", tenants, machines, collected)]
    rest = [TenantGroup("each", tenants - 1, machines, collected)] if tenants > 1 else []
    return [TenantGroup("largest", 1, largest, collected), *rest]


def as_settings(
    streams: Sequence[Stream],
    settings: Sequence[Settings],
    *,
    machines: int,
    machines_of: Mapping[str, int] | None = None,
    hunting: bool | None = None,
) -> list[TenantGroup]:
    """The tenants of a settings file, each with its own streams, intervals and queries.

    Those that ``machines_of`` names have so many machines, the others ``machines``. Raises an
    error for a name that there is not.
    """
    own = dict(machines_of or {})
    _check({"--machines": machines} | {f"--machines-of {name}": own[name] for name in own})
    names = [each.tenant.label for each in settings]
    if unknown := [name for name in own if name not in names]:
        raise ConfigurationError(
            f"--machines-of names {unknown[0]}, which is no tenant of the settings.",
            hint=f"The tenants are: {', '.join(names)}.",
        )
    return [
        TenantGroup(
            each.tenant.label,
            1,
            own.get(each.tenant.label, machines),
            _as_said(streams, each, hunting=hunting),
        )
        for each in settings
    ]


def _check(numbers: Mapping[str, int | None]) -> None:
    for option, value in numbers.items():
        if value is not None and value < 1:
            hint = "A tenant without machines has nothing that is collected."
            raise wrong_number(option, value, "1 or more", hint)


def _as_said(
    streams: Sequence[Stream], settings: Settings | None, *, hunting: bool | None
) -> tuple[Collected, ...]:
    """What is collected by ``settings``; ``hunting`` wins over what they say of it."""
    said = dict(settings.streams) if settings else {}
    if hunting is not None:
        own = said.get("hunting", StreamSettings())
        said["hunting"] = own.model_copy(update={"enabled": hunting})
    how = settings.hunting if settings else HuntingSettings()
    hunts: list[NamedHunt] = []
    if any(one.collect.strategy == "hunting" and is_enabled(one, said) for one in streams):
        hunts = chosen_hunts(_hunts(streams, how.folder), how.queries, how.api)
    return _collected(streams, said, hunts)


def _hunts(streams: Sequence[Stream], own: Path | None) -> list[NamedHunt]:
    folders = [one.folder / "queries" for one in streams if one.collect.strategy == "hunting"]
    return load_hunts([*folders, *([own] if own else [])])


def _collected(
    streams: Sequence[Stream], settings: Mapping[str, StreamSettings], hunts: Sequence[NamedHunt]
) -> tuple[Collected, ...]:
    found = []
    for stream in streams:
        if not is_enabled(stream, settings):
            continue
        interval = interval_of(stream, settings)
        queries: tuple[timedelta, ...] = ()
        if stream.collect.strategy == "hunting":
            queries = tuple(max(one.hunt.interval or interval, interval) for one in hunts)
        found.append(Collected(stream, interval, queries))
    return tuple(found)

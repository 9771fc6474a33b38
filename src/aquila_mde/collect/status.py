"""What the state says of the streams, read beside a collector that is at work."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from aquila_mde.collect.hunts import hunts_of, scope_of
from aquila_mde.collect.state_database import StateDatabase, is_there, open_database
from aquila_mde.collect.state_place import open_view
from aquila_mde.defender.times import Ticks, parse_ticks
from aquila_mde.elastic.client import Engine
from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import Settings, is_enabled
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree

_QUERY = """
SELECT stream, cursor, last_pass, last_error, delivered, dead,
       EXISTS (SELECT 1 FROM pass WHERE pass.scope = scope.id),
       {full_export}
FROM scope WHERE tenant = ?
"""
_FULL_EXPORT = "(SELECT full_export FROM delta WHERE delta.scope = scope.id)"
_HAS_DELTA = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'delta')"
_Row = tuple[int | None, int | None, str | None, int, int, int, str | None]
_NOTHING: _Row = (None, None, None, 0, 0, 0, None)


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What is known of one stream without asking anybody."""

    stream: str
    index: str
    cursor: Ticks | None
    """How far it was collected, by the service's time; with a delta, how far its changes were."""
    full_export: Ticks | None
    """When the newest export that was collected whole was made; other streams have none."""
    last_pass: Ticks | None
    last_error: str | None
    delivered: int
    dead: int
    unfinished: bool


def enabled_streams(settings: Settings, tree: PackageTree) -> list[Stream]:
    """The streams of ``tree`` that the settings do not turn off."""
    streams = load_streams(tree)
    unknown = sorted(set(settings.streams) - {stream.name for stream in streams})
    if unknown:
        raise ConfigurationError(
            f"The settings name streams that do not exist: {', '.join(unknown)}.",
            hint=f"The streams are: {', '.join(stream.name for stream in streams)}.",
        )
    return [stream for stream in streams if is_enabled(stream, settings.streams)]


async def read_status(settings: Settings, tree: PackageTree) -> list[StreamStatus]:
    """The status of every enabled stream; nothing is locked, changed or created.

    Raises :class:`StateError` when there is a state file that cannot be read.
    """
    known = await _read(settings)
    result = []
    for stream in enabled_streams(settings, tree):
        for name in _parts(stream, settings):
            cursor, last_pass, last_error, delivered, dead, unfinished, export = known.get(
                name, _NOTHING
            )
            result.append(
                StreamStatus(
                    stream=name,
                    index=stream.index(settings.tenant.namespace),
                    cursor=cursor,
                    full_export=parse_ticks(export) if export else None,
                    last_pass=last_pass,
                    last_error=last_error,
                    delivered=delivered,
                    dead=dead,
                    unfinished=bool(unfinished),
                )
            )
    return result


def _parts(stream: Stream, settings: Settings) -> list[str]:
    """What the state remembers of ``stream``: itself, or each of the queries that it runs."""
    if stream.collect.strategy != "hunting":
        return [stream.name]
    return [scope_of(stream.name, each.name) for each in hunts_of(stream, settings)]


async def _read(settings: Settings) -> dict[str, _Row]:
    if settings.state == "elasticsearch":
        async with await Engine.connect(settings.elasticsearch) as engine:
            with closing(await open_view(settings, engine)) as view:
                return _rows(view.database, settings)
    file = settings.state
    if not is_there(file):
        return {}
    with closing(open_database(file, read_only=True)) as database:
        return _rows(database, settings)


def _rows(database: StateDatabase, settings: Settings) -> dict[str, _Row]:
    # A file that no collector of this version has opened yet lacks it.
    (has_delta,) = database.execute(_HAS_DELTA).fetchone()
    query = _QUERY.format(full_export=_FULL_EXPORT if has_delta else "NULL")
    return {row[0]: row[1:] for row in database.execute(query, (settings.tenant.id,))}

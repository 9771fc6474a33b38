"""The export strategy: a whole snapshot as files, read line by line, resumable at a line."""

from __future__ import annotations

import asyncio

import structlog

from aquila_mde.collect.delta_store import DeltaStore
from aquila_mde.collect.identity import PassContext
from aquila_mde.collect.state import StreamStore
from aquila_mde.collect.stream_pass import StreamPass
from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import FileUnavailableError, SnapshotReplacedError
from aquila_mde.defender.export import ExportPosition, read_export
from aquila_mde.defender.times import Ticks, parse_ticks
from aquila_mde.streams.stream import Stream

_log = structlog.get_logger(__name__)
_SNAPSHOTS = 4
"""Snapshots begun in one pass: the service makes a new one every six hours, not every minute."""


async def collect_export(
    stream: Stream,
    client: DefenderClient,
    work: StreamPass,
    store: StreamStore,
    *,
    started: Ticks,
    stop: asyncio.Event,
) -> bool:
    """Deliver the newest snapshot from where an earlier run stopped; whether its end was reached.

    A snapshot that was delivered whole costs one request and no file.
    """
    for attempt in range(1, _SNAPSHOTS + 1):
        mark = store.export_mark()
        resume = ExportPosition(mark.generated, mark.file, mark.line) if mark else None
        generated: str | None = None
        try:
            async for chunk in read_export(
                client,
                stream.collect.endpoint.path,
                sas_hours=stream.collect.endpoint.sas_hours,
                stream=stream.name,
                resume=resume,
            ):
                if chunk.start.generated != generated:
                    generated = chunk.start.generated
                    work.context = PassContext(started, parse_ticks(generated))
                    work.writer.join("export", {"generated": generated})
                    DeltaStore(store).begin(parse_ticks(generated), started)
                await work.deliver_lines(chunk)
                if stop.is_set():
                    await work.settled()
                    return False
            await work.settled()
        except FileUnavailableError:
            # The lines before the damage are whole, and some may not be on their way yet.
            await work.settled()
            raise
        except SnapshotReplacedError:
            if attempt == _SNAPSHOTS:
                raise
            _log.info(
                "The export was made anew while it was read; the new one is read now",
                stream=stream.name,
            )
            await work.settled()
        else:
            return True
    return True

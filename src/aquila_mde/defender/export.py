"""Reads a full export: gzip files, one JSON object a line, behind links that expire.

A link dies after some hours, a file may be empty or end too early, and every six hours the
service replaces the whole set. So the position is a line of a file of one snapshot, and whatever
goes wrong with a file, fresh links are asked for and reading goes on at that line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import msgspec
import structlog

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import (
    DefenderUnavailableError,
    FileUnavailableError,
    SnapshotReplacedError,
)
from aquila_mde.defender.export_lines import LineSplitter

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ExportPosition:
    """The next line to read, counted from 0; ``file`` counts the files in order of their names.

    At the end of a snapshot ``file`` is the number of its files.
    """

    generated: str
    file: int
    line: int


@dataclass
class ExportChunk:
    """Some lines of one file."""

    text: bytes
    """The lines as they came, the last one without its line end; :func:`split_lines` parts them."""
    start: ExportPosition
    """The first of them."""
    file_count: int
    ends_file: bool = False
    """Whether nothing of the file is behind them."""
    lines: int | None = None
    """How many there are. Whoever parts them may say so, or they are counted when needed."""

    @property
    def position(self) -> ExportPosition:
        """Behind the lines of this chunk."""
        if self.ends_file:
            return ExportPosition(self.start.generated, self.start.file + 1, 0)
        if self.lines is None:
            self.lines = self.text.count(b"\n") + 1
        return replace(self.start, line=self.start.line + self.lines)


class _Answer(msgspec.Struct):
    files: list[str] = msgspec.field(name="exportFiles")
    generated: str = msgspec.field(name="generatedTime")


@dataclass(frozen=True)
class _Snapshot:
    generated: str
    links: list[str]

    @property
    def names(self) -> list[str]:
        """What the files are called; the rest of a link is different each time."""
        return [_file_name(link) for link in self.links]


def _file_name(link: str) -> str:
    return urlsplit(link).path.rpartition("/")[2]


async def read_export(
    client: DefenderClient,
    path: str,
    *,
    sas_hours: int,
    stream: str,
    resume: ExportPosition | None = None,
    chunk_bytes: int = 128 << 10,
) -> AsyncIterator[ExportChunk]:
    """The lines of the export at ``path``, from ``resume`` on if that snapshot is still there.

    There is at least one chunk, and the position of the last one is the end of the snapshot.
    Memory is bounded by ``chunk_bytes``; what a processor's cache holds is read the fastest.
    Raises :class:`SnapshotReplacedError` when the snapshot is replaced after some of it was handed
    out, :class:`DefenderUnavailableError` when fresh links do not help either.
    """
    snapshot = await _ask(client, path, sas_hours, stream)
    position = ExportPosition(snapshot.generated, 0, 0)
    if resume is not None and resume.generated == snapshot.generated:
        position = resume
    if position.file >= len(snapshot.links):
        end = ExportPosition(snapshot.generated, len(snapshot.links), 0)
        yield ExportChunk(b"", end, len(snapshot.links), lines=0)
        return
    handed_out = False
    failures = 0
    while position.file < len(snapshot.links):
        try:
            async for chunk in _read_file(client, snapshot, position, chunk_bytes):
                yield chunk
                position = chunk.position
                handed_out = True
                failures = 0
        except FileUnavailableError as error:
            failures += 1
            if failures >= client.retry.attempts:
                error.stream, error.hint = stream, error.hint or _HINT
                raise
            _log.warning(
                "An export file cannot be read, fresh links are asked for",
                stream=stream,
                file=position.file,
                line=position.line,
                reason=error.message,
            )
            if failures > 1 and client.retry.wait:
                # A new link that is dead as well: the storage needs time, not calls.
                await _pause(min(2.0**failures, client.retry.longest_wait))
            fresh = await _ask(client, path, sas_hours, stream)
            if fresh.generated != snapshot.generated or fresh.names != snapshot.names:
                if handed_out:
                    raise SnapshotReplacedError(
                        f"The export of {snapshot.generated} was replaced by the one of "
                        f"{fresh.generated} while it was read",
                        hint="The new one is read from its start.",
                        stream=stream,
                    ) from None
                position = ExportPosition(fresh.generated, 0, 0)
            snapshot = fresh


_pause = asyncio.sleep
_HINT = "The next pass goes on at the line where this one stopped."


async def _ask(client: DefenderClient, path: str, sas_hours: int, stream: str) -> _Snapshot:
    answer = await client.get(path, {"sasValidHours": str(sas_hours)}, stream=stream)
    try:
        found = msgspec.json.decode(answer.body, type=_Answer)
    except msgspec.DecodeError:
        raise DefenderUnavailableError(
            f"The answer of {path} names no export files",
            stream=stream,
            request_id=answer.request_id,
        ) from None
    return _Snapshot(found.generated, sorted(found.files, key=_file_name))


async def _read_file(
    client: DefenderClient, snapshot: _Snapshot, start: ExportPosition, chunk_bytes: int
) -> AsyncIterator[ExportChunk]:
    """One file from ``start`` on; the last chunk's position is the start of the next file."""
    count = len(snapshot.links)
    splitter = LineSplitter(chunk_bytes, skip=start.line)
    async with client.open_file(snapshot.links[start.file]) as content:
        async for data in content:
            for text in splitter.feed(data):
                chunk = ExportChunk(text, start, count)
                yield chunk
                start = chunk.position
        text = splitter.close()
    yield ExportChunk(text, start, count, ends_file=True)

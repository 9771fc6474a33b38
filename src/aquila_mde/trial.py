"""Records from a file through the pipeline of a stream, as it would be on arrival.

Each record is wrapped the way the collector does it; the engine runs the built pipeline of the
package tree over it (``_simulate``). Nothing is installed and nothing is indexed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from aquila_mde.collect.document import DocumentWriter, iso_milliseconds
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.package import read_mapping
from aquila_mde.errors import AquilaError, ConfigurationError, ExitCode
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree

Document = dict[str, Any]

STANDARD_INPUT = Path("-")
_TENANT = {
    "id": "00000000-0000-0000-0000-000000000000",
    "portal": "https://security.microsoft.com",
}
_NAMESPACE = "default"
_MOST_RECORDS = 200
_MOST_BYTES = 4 << 20
"""Of one request; a single record may be larger."""


class RecordsError(ConfigurationError):
    """What should be tried cannot be read as records."""


class PipelineErrorsFoundError(AquilaError):
    """At least one document of a trial is a pipeline error."""

    exit_code = ExitCode.PIPELINE_ERRORS


@dataclass(frozen=True)
class Record:
    """One object of the API as it stands in the file; ``line`` is where it begins, from 1."""

    raw: bytes
    line: int


class Trial:
    """The pipeline of one stream and the records that are to go through it.

    Raises an error for a stream that does not exist and for a file that holds no records.
    """

    def __init__(self, tree: PackageTree, stream: str, file: Path) -> None:
        streams = {one.name: one for one in load_streams(tree)}
        if stream not in streams:
            raise ConfigurationError(
                f"There is no stream {stream}.", hint=f"Use one of {', '.join(streams)}."
            )
        self._stream = streams[stream]
        self._pipeline = read_mapping(_pipeline_of(self._stream))
        self.records = read_records(file)
        self._failed: list[int] = []

    async def run(self, engine: Engine) -> AsyncIterator[Document]:
        """The document of each record, in order.

        Raises :class:`PipelineErrorsFoundError` behind the last one if any could not be made as
        it should: such a document has ``event.kind: pipeline_error`` and says why.
        """
        self._failed = []
        writer = self._writer()
        for part in _parts(self.records):
            docs = [
                {
                    "_index": self._stream.index(_NAMESPACE),
                    "_source": json.loads(writer.write(record.raw)),
                }
                for record in part
            ]
            body = {"pipeline": self._pipeline, "docs": docs}
            answer = await engine.request("POST", "_ingest/pipeline/_simulate", body)
            for record, made in zip(part, answer["docs"], strict=True):
                yield self._document(record, made)
        if self._failed:
            raise self._failure()

    def _writer(self) -> DocumentWriter:
        now = datetime.now(UTC)
        writer = DocumentWriter(self._stream, _NAMESPACE, tenant=_TENANT, observed=now)
        if self._stream.collect.strategy == "export":
            writer.join("export", {"generated": iso_milliseconds(now)})
        return writer

    def _document(self, record: Record, made: Document) -> Document:
        if "doc" not in made:
            reason = made.get("error", {}).get("reason", "no reason given")
            raise PipelineErrorsFoundError(
                f"The engine makes no document of the record at line {record.line}: {reason}",
                stream=self._stream.name,
            )
        document: Document = made["doc"]["_source"]
        event = document.get("event")
        if isinstance(event, dict) and event.get("kind") == "pipeline_error":
            self._failed.append(record.line)
        return document

    def _failure(self) -> PipelineErrorsFoundError:
        lines = ", ".join(map(str, self._failed[:10]))
        more = ", …" if len(self._failed) > 10 else ""
        return PipelineErrorsFoundError(
            f"{len(self._failed)} of {len(self.records)} documents are pipeline errors "
            f"(records at line {lines}{more})",
            hint="Their error.message says what failed; event.original is the record.",
            stream=self._stream.name,
        )


def read_records(file: Path) -> list[Record]:
    """The records in ``file``, or on standard input for ``-``.

    Understood are one object, a list of objects, an answer of the API (``{"value": […]}``), and
    one object a line. Raises :class:`RecordsError`, with the line, for anything else.
    """
    name = "standard input" if file == STANDARD_INPUT else str(file)
    data = _utf8(name, _read(name, file))
    try:
        whole = msgspec.json.decode(data, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return _by_line(name, data)
    start = 0
    if isinstance(whole, dict):
        value = whole.get("value")
        if value is None or not bytes(value).lstrip().startswith(b"["):
            return [_record(name, data, data.strip(), 0)[0]]
        start = data.index(bytes(value))
        whole = msgspec.json.decode(value, type=list[msgspec.Raw])
    records = []
    for raw in whole:
        record, start = _record(name, data, bytes(raw), start)
        records.append(record)
    if not records:
        raise RecordsError(f"{name}:1: there is no record in it")
    return records


def _pipeline_of(stream: Stream) -> Path:
    return stream.folder / "elasticsearch" / "ingest_pipeline" / "default.yml"


def _read(name: str, file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
    except OSError as error:
        raise RecordsError(f"{name} cannot be read: {error.strerror}") from None


def _utf8(name: str, data: bytes) -> bytes:
    # PowerShell writes UTF-16, and a byte order mark also before UTF-8.
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        with suppress(UnicodeDecodeError):
            data = data.decode("utf-16").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = _line(data, error.start)
        raise RecordsError(f"{name}:{line}: this is no UTF-8 text") from None
    if not data.strip():
        raise RecordsError(f"{name}:1: there is no record in it")
    return data


def _record(name: str, data: bytes, raw: bytes, start: int) -> tuple[Record, int]:
    """The record ``raw``, which is the next one behind ``start``, and where it ends."""
    place = data.index(raw, start)
    raw = raw.strip()
    line = _line(data, data.index(raw, place))
    if not raw.startswith(b"{"):
        raise RecordsError(f"{name}:{line}: a record is a JSON object, not {_short(raw)}")
    return Record(raw, line), place + len(raw)


def _by_line(name: str, data: bytes) -> list[Record]:
    lines = [(number, line.strip()) for number, line in enumerate(data.split(b"\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not _is_json(lines[0][1]):
        # The first line alone is no JSON: one value over several lines that has a fault.
        _refuse(name, data, 1)
    records = []
    for number, line in lines:
        if not _is_json(line):
            _refuse(name, line, number)
        if not line.startswith(b"{"):
            raise RecordsError(f"{name}:{number}: a record is a JSON object, not {_short(line)}")
        records.append(Record(line, number))
    return records


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _refuse(name: str, text: bytes, first: int) -> NoReturn:
    """Say where ``text``, which begins at line ``first``, stops being JSON."""
    line, problem = first, "it is nested too deep"
    try:
        json.loads(text)
        problem = "NaN and Infinity are no JSON"
    except json.JSONDecodeError as error:
        line, problem = first + error.lineno - 1, f"{error.msg}, column {error.colno}"
    except RecursionError:
        pass
    raise RecordsError(
        f"{name}:{line}: this is no JSON: {problem}",
        hint="Give one JSON object a line, a list of objects, or an answer of the API.",
    )


def _parts(records: list[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    size = 0
    for record in records:
        if part and (len(part) == _MOST_RECORDS or size + len(record.raw) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.raw)
    yield part


def _line(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1


def _short(raw: bytes) -> str:
    text = raw.decode()
    return text if len(text) <= 40 else f"{text[:40]}…"

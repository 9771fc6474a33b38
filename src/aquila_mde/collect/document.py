"""The document that goes to the engine: the raw record as text, and what the pipeline needs.

It has the shape that an Elastic Agent sends, so one ingest pipeline serves both:
``{"@timestamp", "data_stream", "mde": {"join": …}, "message": "<the raw JSON>"}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import msgspec

from aquila_mde.elastic.documents import ACTION
from aquila_mde.streams.stream import Stream

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_BEFORE_ID = ACTION + b'"'
_END_OF_MDE = b"}}"
_BEFORE_TEXT = _END_OF_MDE + b',"message":"'
_END = b'"}\n'
_BETWEEN = _END + _BEFORE_ID
_LINES_APART = b"\x7f" * 16
"""Put between lines that are encoded at once: it is rare, and stays as it is. Long, because the
search for it then takes long steps."""


class DocumentWriter:
    """Writes the documents of one pass of one stream; what they share is encoded once."""

    def __init__(
        self, stream: Stream, namespace: str, *, tenant: dict[str, str], observed: datetime
    ) -> None:
        self._observed = iso_milliseconds(observed)
        data_stream = {"type": "logs", "dataset": stream.dataset, "namespace": namespace}
        self._data_stream = msgspec.Raw(_encode(data_stream))
        self._join: dict[str, Any] = {"tenant": tenant}
        self._encode_head()

    def join(self, name: str, value: dict[str, Any]) -> None:
        """Give every further document ``mde.join.<name>``."""
        self._join[name] = value
        self._encode_head()

    def write(self, record: bytes) -> bytes:
        """The document of ``record`` alone, as one line of JSON without its line break."""
        return _encode(*self._documents([record], []))

    def records(
        self,
        ids: Sequence[str],
        records: Sequence[msgspec.Raw | bytes],
        members: Sequence[list[bytes]],
    ) -> bytes:
        """The documents of ``records`` as the lines of a bulk request.

        Each list of ``members`` has for every document a member of ``mde.join``, beginning with its
        comma, or nothing. Bytes that are no UTF-8 are replaced.
        """
        lines: list[_Action | _Document] = [_NO_ACTION] * (2 * len(ids))
        lines[0::2] = map(_Action, map(_Target, ids))
        lines[1::2] = self._documents(records, members)
        return _encode_lines(lines)

    def _documents(
        self, records: Sequence[msgspec.Raw | bytes], members: Sequence[list[bytes]]
    ) -> Iterator[_Document]:
        joins = zip(repeat(self._mde, len(records)), *members, repeat(_END_OF_MDE), strict=False)
        return map(
            _Document,
            repeat(self._observed),
            repeat(self._data_stream),
            map(msgspec.Raw, map(b"".join, joins)),
            map(str, records, repeat("utf-8"), repeat("replace")),
        )

    def lines(self, ids: list[bytes], texts: list[bytes], members: Sequence[list[bytes]]) -> bytes:
        """Documents as the lines of a bulk request.

        ``texts`` are the records as :func:`escaped_lines` gives them, ``members`` as for
        :meth:`records`.
        """
        if not ids:
            return b""
        width = len(members) + 5
        pieces = [b""] * (len(ids) * width)
        pieces[0::width] = ids
        pieces[1::width] = [b'"}}\n' + self._head] * len(ids)
        for place, column in enumerate(members, 2):
            pieces[place::width] = column
        pieces[width - 3 :: width] = [_BEFORE_TEXT] * len(ids)
        pieces[width - 2 :: width] = texts
        # The end of a document and the beginning of the next are one piece.
        pieces[width - 1 :: width] = [_BETWEEN] * len(ids)
        pieces[0] = _BEFORE_ID + ids[0]
        pieces[-1] = _END
        return b"".join(pieces)

    def _encode_head(self) -> None:
        # All but the three last brackets: mde.join is left open.
        self._mde = _encode({"join": self._join})[: -len(_END_OF_MDE)]
        head = {
            "@timestamp": self._observed,
            "data_stream": self._data_stream,
            "mde": msgspec.Raw(self._mde),
        }
        self._head = _encode(head)[:-1]


def escaped_lines(text: bytes) -> list[bytes] | None:
    """Each line of ``text`` as the content of a JSON string; ``None`` where that takes more care.

    All of them begin with a brace.
    """
    try:
        lines = _encode(text.replace(b"\n", _LINES_APART).decode())[1:-1].split(_LINES_APART)
    except UnicodeDecodeError:
        return None
    # These two are in front of and behind all others, also by what they begin with.
    return lines if min(lines)[:1] == max(lines)[:1] == b"{" else None


def original_of(document: bytes) -> bytes:
    """The record that ``document`` was written of."""
    return msgspec.json.decode(document, type=_Document).message.encode()


class _Document(msgspec.Struct, gc=False):
    timestamp: str = msgspec.field(name="@timestamp")
    data_stream: msgspec.Raw
    mde: msgspec.Raw
    message: str


class _Target(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_id")


class _Action(msgspec.Struct, gc=False):
    create: _Target


_NO_ACTION = _Action(_Target(""))


def with_join(document: bytes, name: str, value: bytes) -> bytes:
    """``document`` with a partner that it was written without."""
    fields = msgspec.json.decode(document)
    join = fields["mde"]["join"]
    join[name] = msgspec.Raw(value)
    missing = [other for other in join.pop("missing", []) if other != name]
    if missing:
        join["missing"] = missing
    return msgspec.json.encode(fields)


def iso_milliseconds(moment: datetime) -> str:
    """``moment`` in UTC as Elasticsearch writes a date."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

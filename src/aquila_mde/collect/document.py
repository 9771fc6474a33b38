"""The document that goes to the engine: the raw record as text, and what the pipeline needs.

It has the shape that an Elastic Agent sends, so one ingest pipeline serves both:
``{"@timestamp", "data_stream", "mde": {"join": …}, "message": "<the raw JSON>"}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from aquila_mde.elastic.documents import ACTION
from aquila_mde.streams.stream import Stream

_encode = msgspec.json.Encoder().encode
_BEFORE_ID = ACTION + b'"'
_BEFORE_TEXT = b'}},"message":"'
_END = b'"}\n'
_BETWEEN = _END + _BEFORE_ID
_APART = b"\x7f"
"""Put between records that are encoded at once: it is rare, and stays as it is."""
_LINES_APART = _APART * 16
"""Long, because the search for it then takes long steps."""


class DocumentWriter:
    """Writes the documents of one pass of one stream; what they share is encoded once."""

    def __init__(
        self, stream: Stream, namespace: str, *, tenant: dict[str, str], observed: datetime
    ) -> None:
        self._stream = stream
        self._namespace = namespace
        self._join: dict[str, Any] = {"tenant": tenant}
        self._observed = observed
        self._encode_head()

    def join(self, name: str, value: dict[str, Any]) -> None:
        """Give every further document ``mde.join.<name>``."""
        self._join[name] = value
        self._encode_head()

    def write(self, record: bytes) -> bytes:
        """The document of ``record`` alone, as one line of JSON without its line break."""
        return b"".join((self._head, _BEFORE_TEXT, *escaped([record]), b'"}'))

    def lines(self, ids: list[bytes], texts: list[bytes], members: Sequence[list[bytes]]) -> bytes:
        """Documents as the lines of a bulk request.

        ``texts`` are the records as :func:`escaped` gives them. Each list of ``members`` has for
        every document a member of ``mde.join``, beginning with its comma, or nothing.
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
        head = {
            "@timestamp": iso_milliseconds(self._observed),
            "data_stream": {
                "type": "logs",
                "dataset": self._stream.dataset,
                "namespace": self._namespace,
            },
            "mde": {"join": self._join},
        }
        # All but the three last brackets: mde.join is left open.
        self._head = _encode(head)[:-3]


def escaped(records: Sequence[msgspec.Raw | bytes]) -> list[bytes]:
    """Each of ``records`` as the content of a JSON string."""
    try:
        text = _APART.join(records).decode()
        found = _encode(text)[1:-1].split(_APART)
    except UnicodeDecodeError:
        found = []
    if len(found) != len(records):
        # One of them has that character itself, or is no UTF-8.
        found = [_encode(bytes(record).decode(errors="replace"))[1:-1] for record in records]
    return found


def escaped_lines(text: bytes) -> list[bytes] | None:
    """Each line of ``text`` as :func:`escaped` gives it; ``None`` where that takes more care.

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


class _Document(msgspec.Struct):
    message: str


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

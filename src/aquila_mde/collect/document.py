"""The document that goes to the engine: the raw record as text, and what the pipeline needs.

It has the shape that an Elastic Agent sends, so one ingest pipeline serves both:
``{"@timestamp", "data_stream", "mde": {"join": …}, "message": "<the raw JSON>"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from aquila_mde.streams.stream import Stream

_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class DocumentWriter:
    """Writes the documents of one pass of one stream; what they share is encoded once."""

    def __init__(
        self, stream: Stream, namespace: str, *, tenant: dict[str, str], observed: datetime
    ) -> None:
        self._stream = stream
        self._namespace = namespace
        self._join: dict[str, Any] = {"tenant": tenant}
        self._observed = observed
        self._head = self._encode_head()

    def join(self, name: str, value: dict[str, Any]) -> None:
        """Give every further document ``mde.join.<name>``."""
        self._join[name] = value
        self._head = self._encode_head()

    def write(self, record: bytes, joined: Mapping[str, bytes] = _NOTHING) -> bytes:
        """The document of ``record``, as one line of JSON without its line break.

        ``joined`` are further members of ``mde.join``, each of them JSON.
        """
        text = msgspec.json.encode(record.decode("utf-8", errors="replace"))
        if not joined:
            return b'%b}},"message":%b}' % (self._head, text)
        parts = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in joined.items())
        return b'%b%b}},"message":%b}' % (self._head, parts, text)

    def _encode_head(self) -> bytes:
        """Everything up to the end of ``mde.join``, which is left open."""
        head = {
            "@timestamp": iso_milliseconds(self._observed),
            "data_stream": {
                "type": "logs",
                "dataset": self._stream.dataset,
                "namespace": self._namespace,
            },
            "mde": {"join": self._join},
        }
        return msgspec.json.encode(head)[:-3]


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

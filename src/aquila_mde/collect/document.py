"""The document that goes to the engine: the raw record as text, and what the pipeline needs.

It has the shape that an Elastic Agent sends, so one ingest pipeline serves both:
``{"@timestamp", "data_stream", "mde": {"join": …}, "message": "<the raw JSON>"}``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from aquila_mde.streams.stream import Stream

_encode = msgspec.json.Encoder().encode


class DocumentWriter:
    """Writes the documents of one pass of one stream; what they share is encoded once."""

    def __init__(
        self, stream: Stream, namespace: str, *, tenant: dict[str, str], observed: datetime
    ) -> None:
        self._stream = stream
        self._namespace = namespace
        self._join: dict[str, Any] = {"tenant": tenant}
        self._observed = observed
        self._templates: dict[tuple[str, ...], list[bytes]] = {}

    def join(self, name: str, value: dict[str, Any]) -> None:
        """Give every further document ``mde.join.<name>``."""
        self._join[name] = value
        self._templates.clear()

    def write(
        self, record: bytes, names: tuple[str, ...] = (), joined: tuple[bytes, ...] = ()
    ) -> bytes:
        """The document of ``record``, as one line of JSON without its line break.

        ``joined`` are further members of ``mde.join`` called ``names``, each of them JSON.
        """
        try:
            text = record.decode()
        except UnicodeDecodeError:
            text = record.decode(errors="replace")
        pieces = (self._templates.get(names) or self._template(names)).copy()
        pieces[1::2] = (*joined, _encode(text))
        return b"".join(pieces)

    def _template(self, names: tuple[str, ...]) -> list[bytes]:
        """A document in pieces; every second one is left out: the joins ``names`` and the text."""
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
        pieces = [_encode(head)[:-3]]
        for name in names:
            pieces[-1] += b',"%b":' % name.encode()
            pieces += (b"", b"")
        pieces[-1] += b'}},"message":'
        pieces += (b"", b"}")
        self._templates[names] = pieces
        return pieces


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

"""Records that the engine refuses for ever: kept whole, with the reason, in their own stream."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import msgspec

from aquila_mde.collect.delivery import Sink
from aquila_mde.collect.document import iso_milliseconds
from aquila_mde.elastic.bulk import Item, Result
from aquila_mde.errors import ExitCode, FatalError

DATASET = "aquila_mde.dead_letter"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused record: what it was to become, and why it did not."""

    document_id: str
    original: bytes
    status: int
    reason_type: str
    reason: str
    document: bytes = b""
    """The document as it was sent; empty for what could be made into none."""


class DeadLetters:
    """Writes the refusals of one stream of one tenant."""

    def __init__(self, sink: Sink, *, stream: str, tenant_id: str, namespace: str) -> None:
        self._sink = sink
        self._stream = stream
        self._tenant_id = tenant_id
        self._namespace = namespace
        self._index = f"logs-{DATASET}-{namespace}"

    async def write(self, refusals: list[Refusal], *, observed: datetime) -> None:
        """Keep ``refusals``; returns when the engine has them. The same refusal is kept once."""
        items = [Item(each.document_id, self._document(each, observed)) for each in refusals]
        for outcome in await self._sink.send(self._index, items):
            if outcome.result is Result.DEAD:
                raise DeadLetterRefusedError(self._stream, outcome.reason)

    def _document(self, refusal: Refusal, observed: datetime) -> bytes:
        letter = {
            "stream": self._stream,
            "tenant_id": self._tenant_id,
            "document_id": refusal.document_id,
            "status": str(refusal.status),
            "reason_type": refusal.reason_type,
            "attempts": 1,
            "original": refusal.original.decode("utf-8", errors="replace"),
        }
        if refusal.document:
            letter["document"] = refusal.document.decode()
        return msgspec.json.encode(
            {
                "@timestamp": iso_milliseconds(observed),
                "data_stream": {
                    "type": "logs",
                    "dataset": DATASET,
                    "namespace": self._namespace,
                },
                "event": {"module": "aquila_mde", "dataset": DATASET},
                "error": {"message": refusal.reason},
                "mde": {"dead_letter": letter},
            }
        )


class DeadLetterRefusedError(FatalError):
    """Even the dead-letter stream refuses a record; going on would lose it."""

    exit_code = ExitCode.ENGINE

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(
            f"The dead-letter stream refuses a record that its own stream refused: {reason}.",
            hint="Run 'aquila-mde install' so that the dead-letter stream has its mapping, then "
            "collect again. The pass stopped before this record; nothing is lost.",
            stream=stream,
        )


def unreadable(line: bytes) -> Refusal:
    """The refusal of something that is not a JSON object, told by its bytes."""
    return Refusal(
        document_id=hashlib.blake2b(line, digest_size=16).hexdigest(),
        original=line,
        status=0,
        reason_type="not_a_json_object",
        reason="The service sent something that is not a JSON object.",
    )

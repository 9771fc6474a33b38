"""Sends what the engine refused once more, after somebody has removed the reason.

A letter is taken away only when its record is in its own stream, and a record goes there under the
id that it was first sent with. So whenever a replay is cut off, the next one finds either the
letter, or the record, or both, and the record is there once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from aquila_mde.collect.dead_letter import DATASET
from aquila_mde.collect.sides import named
from aquila_mde.collect.status import enabled_streams
from aquila_mde.elastic.bulk import BulkSink, Item, Outcome, Result
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.replace import Change, change
from aquila_mde.elastic.scan import Hit, refresh, scan
from aquila_mde.settings import Settings
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

_PAGE = 50
"""Letters in hand at once; one can be as large as a record may be, twice."""
_SHOWN = 20
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter that stays where it is, and why."""

    document_id: str
    reason: str


@dataclass(slots=True)
class ReplayReport:
    """What became of the dead letters of one stream."""

    stream: str
    letters: int = 0
    created: int = 0
    existing: int = 0
    """Letters whose record was in its stream already."""
    refused: int = 0
    """Letters that were refused again; they stay, with the new reason."""
    not_replayable: int = 0
    """Letters that no document can be made of; they stay as they are."""
    kept: list[Kept] = field(default_factory=list)
    """The first ones of those that stay."""

    def keep(self, document_id: str, reason: str) -> None:
        """Note a letter that stays."""
        if len(self.kept) < _SHOWN:
            self.kept.append(Kept(document_id, reason))


class _Letter(msgspec.Struct):
    """The part of a letter that a replay reads."""

    stream: str
    document_id: str
    document: str | None = None
    reason_type: str = ""
    attempts: int = 1


async def replay(
    settings: Settings, tree: PackageTree, names: Sequence[str] | None = None
) -> list[ReplayReport]:
    """Send every dead letter of the tenant, or of its streams ``names``, to its stream again.

    Works beside a collector; neither the tenant nor the state is asked. Reports streams that have
    letters, and those that were named. Raises an :class:`AquilaError` when the engine does not do
    its part; what was replayed until then is, and the rest is still there.
    """
    enabled = enabled_streams(settings, tree)
    for name in names or ():
        named(enabled, name)
    async with await Engine.connect(settings.elasticsearch) as engine:
        work = _Replay(engine, settings, tree, names)
        await work.run()
    return [work.reports[name] for name in sorted(work.reports)]


class _Replay:
    def __init__(
        self, engine: Engine, settings: Settings, tree: PackageTree, names: Sequence[str] | None
    ) -> None:
        self._engine = engine
        self._sink = BulkSink(engine)
        namespace = settings.tenant.namespace
        self._letters = f"logs-{DATASET}-{namespace}"
        self._indices = {each.name: each.index(namespace) for each in load_streams(tree)}
        self._filters: list[dict[str, Any]] = [
            {"term": {"mde.dead_letter.tenant_id": settings.tenant.id}}
        ]
        if names:
            self._filters.append({"terms": {"mde.dead_letter.stream": list(names)}})
        self.reports = {name: ReplayReport(name) for name in names or ()}

    async def run(self) -> None:
        """Every letter once."""
        await refresh(self._engine, self._letters)
        body = {"query": {"bool": {"filter": self._filters}}, "seq_no_primary_term": True}
        async for hits in scan(self._engine, self._letters, body, page=_PAGE):
            by_index: dict[str, list[tuple[Hit, _Letter]]] = {}
            for hit in hits:
                letter = msgspec.convert(hit.source["mde"]["dead_letter"], _Letter)
                report = self._report(letter)
                report.letters += 1
                reason = self._obstacle(letter)
                if reason:
                    report.not_replayable += 1
                    report.keep(letter.document_id, reason)
                else:
                    by_index.setdefault(self._indices[letter.stream], []).append((hit, letter))
            for index, letters in by_index.items():
                await self._send(index, letters)

    def _report(self, letter: _Letter) -> ReplayReport:
        return self.reports.setdefault(letter.stream, ReplayReport(letter.stream))

    def _obstacle(self, letter: _Letter) -> str:
        if letter.stream not in self._indices:
            return f"There is no stream {letter.stream}."
        if letter.reason_type == "not_a_json_object":
            return "The service sent something that is not a JSON object."
        return "" if letter.document else "The letter does not hold the document that was sent."

    async def _send(self, index: str, letters: list[tuple[Hit, _Letter]]) -> None:
        ids = [letter.document_id for _, letter in letters]
        there = await self._sink.already_in(index, ids)
        changes: list[Change] = []
        to_send: list[tuple[Hit, _Letter]] = []
        for hit, letter in letters:
            if letter.document_id in there:
                self._report(letter).existing += 1
                changes.append(_changed(hit, None))
            else:
                to_send.append((hit, letter))
        items = [
            Item(letter.document_id, (letter.document or "").encode()) for _, letter in to_send
        ]
        outcomes = await self._sink.send(index, items)
        for (hit, letter), outcome in zip(to_send, outcomes, strict=True):
            report = self._report(letter)
            if outcome.result is Result.DEAD:
                report.refused += 1
                report.keep(letter.document_id, outcome.reason)
                changes.append(_changed(hit, _refused_again(hit, letter, outcome)))
            else:
                report.created += outcome.result is Result.CREATED
                report.existing += outcome.result is Result.EXISTS
                changes.append(_changed(hit, None))
        await change(self._engine, changes)
        _log.debug("Letters were replayed", index=index, letters=len(letters))


def _changed(hit: Hit, source: bytes | None) -> Change:
    return Change(hit.index, hit.id, hit.seq_no, hit.primary_term, source)


def _refused_again(hit: Hit, letter: _Letter, outcome: Outcome) -> bytes:
    """The letter with the reason of this time."""
    source = dict(hit.source)
    source["error"] = {"message": outcome.reason}
    source["mde"] = {
        "dead_letter": source["mde"]["dead_letter"]
        | {
            "status": str(outcome.status),
            "reason_type": outcome.reason_type,
            "attempts": letter.attempts + 1,
        }
    }
    return msgspec.json.encode(source)

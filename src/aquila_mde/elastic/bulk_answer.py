"""What a bulk answer says of each document, and what that means for it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import (
    BLOCKED,
    INSTALL_HINT,
    RETRIABLE_STATUS,
    AssetsMissingError,
    EngineUnavailableError,
    blocked,
    forbidden,
)

FILTER_PATH = (
    "took,ingest_took,errors,items.*._index,items.*.status,items.*.error.type,items.*.error.reason,"
    "items.*.error.caused_by"
)
"""What this module reads; the smaller answer costs the engine less than it saves us."""

# Elasticsearch 9 answers 201 for a document that it put aside because it does not fit.
_FAILURE_STORE = ".fs-"


class Result(Enum):
    """What became of a document."""

    CREATED = "created"
    EXISTS = "exists"
    DEAD = "dead"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The engine's answer for one document; ``index`` is the backing index, where it is known."""

    result: Result
    index: str | None = None
    status: int = 201
    reason_type: str = ""
    reason: str = ""


class Cause(msgspec.Struct):
    """Why a document was refused; engines nest the reason behind the reason."""

    reason: str | None = ""
    type: str = ""
    caused_by: Cause | None = None

    def text(self) -> str:
        """All reasons in one line."""
        inner = self.caused_by.text() if self.caused_by else ""
        own = self.reason or ""
        return f"{own}: {inner}" if inner and inner not in own else own


class _Create(msgspec.Struct):
    status: int
    index: str | None = msgspec.field(name="_index", default=None)
    error: Cause | None = None


class _ItemAnswer(msgspec.Struct):
    create: _Create


class _Answer(msgspec.Struct):
    items: list[_ItemAnswer]


_DECODER = msgspec.json.Decoder(_Answer)


class Verdict:
    """Sorts the answers to the items of one request into their outcomes.

    ``unsettled`` are the places of those that have none yet: to be tried again after ``failure``,
    or, without a failure, in smaller requests. ``suspects`` are those among them at which the
    engine stumbled (500), by place: when it does so every time, the document is at fault.
    ``written`` is the backing index of the documents that were created.
    """

    def __init__(self, engine: Engine, index: str, *, together: bool) -> None:
        self._place = engine.place
        self._index = index
        self._together = together
        self.unsettled: list[int] = []
        self.failure: EngineUnavailableError | None = None
        self.suspects: dict[int, Outcome] = {}
        self.written: str | None = None

    @property
    def overloaded(self) -> bool:
        """Whether the engine had no room for some of them, rather than stumbled at them."""
        return self.failure is not None and len(self.suspects) < len(self.unsettled)

    def settle(
        self,
        raw: bytes,
        places: Sequence[int],
        outcomes: list[Outcome | None],
    ) -> None:
        """Write the outcome of every item that has one, as the answer ``raw`` says."""
        index = _index_of_all(raw, len(places))
        if index is not None and index != self._index and not index.startswith(_FAILURE_STORE):
            self.written = index
            created = Outcome(Result.CREATED, index)
            if len(places) == len(outcomes):
                outcomes[:] = [created] * len(places)
            else:
                for place in places:
                    outcomes[place] = created
            return
        for place, item_answer in zip(places, self._decoded(raw, len(places)), strict=True):
            outcomes[place] = self._outcome(place, item_answer.create)

    def _decoded(self, raw: bytes, expected: int) -> list[_ItemAnswer]:
        try:
            answers = _DECODER.decode(raw).items
        except msgspec.DecodeError:
            answers = []
        if len(answers) != expected:
            raise EngineUnavailableError(
                f"{self._place.host} sent something else than the answer to a bulk request",
                hint="Check what is between this machine and the engine.",
            )
        return answers

    def _outcome(self, place: int, answer: _Create) -> Outcome | None:
        error = answer.error
        if error is None:
            if answer.index == self._index:
                raise AssetsMissingError(
                    f"{self._index} on {self._place.host} is a plain index, not a data stream",
                    hint=f"Move its documents elsewhere and delete it. {INSTALL_HINT}",
                )
            if answer.index and answer.index.startswith(_FAILURE_STORE):
                text = "Elasticsearch put the document into the failure store of its data stream"
                return Outcome(Result.DEAD, answer.index, answer.status, "failure_store", text)
            self.written = answer.index
            return Outcome(Result.CREATED, answer.index, answer.status)
        if answer.status == 409:
            return Outcome(Result.EXISTS, answer.index, 409)
        if error.type == BLOCKED:
            self._retry(place, blocked(error.reason or "", self._place))
        elif answer.status in RETRIABLE_STATUS or answer.status > 500:
            self._retry(place, self._unavailable(answer.status, error))
            if answer.status == 500:
                self.suspects[place] = _dead(answer, error)
        elif answer.status == 403:
            raise forbidden(error.reason or "", self._place, f"writing to {self._index}")
        elif _is_missing(answer.status, error):
            raise AssetsMissingError(
                f"{self._place.host} cannot take documents for {self._index}: {error.text()}",
                hint=INSTALL_HINT,
            )
        elif error.type == "parse_exception" and self._together:
            # OpenSearch lays the broken JSON of one document at the door of its whole batch.
            self.unsettled.append(place)
        else:
            return _dead(answer, error)
        return None

    def _retry(self, place: int, failure: EngineUnavailableError) -> None:
        self.unsettled.append(place)
        self.failure = failure

    def _unavailable(self, status: int, error: Cause) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{self._place.host} answers {status} for documents of {self._index}: "
            f"{error.type}: {error.text()}",
            hint="The engine is overloaded or shards are missing; it was tried again for a while.",
        )


def _dead(answer: _Create, error: Cause) -> Outcome:
    return Outcome(Result.DEAD, answer.index, answer.status, error.type, error.text())


def _index_of_all(raw: bytes, expected: int) -> str | None:
    """The index that took all documents, when the answer is that all were created there.

    Spares the decoding of nearly every answer.
    """
    name = b'"_index":"'
    start = raw.find(name)
    if start < 0 or b'"errors":false' not in raw[:start]:
        return None
    entry = raw[start : raw.find(b'"', start + len(name)) + 1]
    if raw.count(entry) != expected:
        return None
    return entry[len(name) : -1].decode()


def _is_missing(status: int, error: Cause) -> bool:
    reason = error.reason or ""
    return status == 404 or (
        error.type == "illegal_argument_exception"
        and reason.startswith("pipeline with id [")
        and "does not exist" in reason
    )

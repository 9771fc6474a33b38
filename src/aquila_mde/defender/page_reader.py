"""One page of a collection: how it is asked for, opened, and whether it was cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from aquila_mde.defender.client import Answer, DefenderClient
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    ExpandFailedError,
)
from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks

_MISSING = (b"", b"null", b'""')
_MOST_LACKING = 20
"""Records in a row that cannot be expanded: more than that is an outage, not a bad record."""


@dataclass(frozen=True)
class Collection:
    """What the collection is called and how it is asked for."""

    path: str
    page_size: int
    """The ``$top`` of each call."""
    id_property: str
    time_field: str | None = None
    """The property that stretches of time are cut by."""
    expand: tuple[str, ...] = ()
    expand_may_fail: bool = False
    """Whether single records make each answer that expands them fail."""
    empty_on: tuple[int, ...] = ()
    """Statuses that mean an empty collection."""
    size_parameter: str = "$top"
    """What the number of rows that are asked for is called."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What else each call says."""


@dataclass(frozen=True)
class Page:
    """Some records, as they came."""

    records: list[msgspec.Raw]
    """Parts of one body, which lives as long as any of them."""
    done_until: Ticks | None
    """With this page delivered, so is every record of the stretch whose time is before this.

    ``None``: not yet known, more pages of the same time follow. In a reading without an upper
    bound it is never beyond the service's own time or, where the service does not say it, the
    newest time among the records: what is dated later, others may still be added before it.
    """
    server_time: Ticks | None
    unexpanded: tuple[str, ...] = ()
    """What the service cannot give with these records although it was to be expanded."""


class _Envelope(msgspec.Struct):
    value: list[msgspec.Raw]
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)


@dataclass(frozen=True)
class Rows:
    """The rows of one answer, and the link to the next if it has one."""

    records: list[msgspec.Raw]
    next_link: str | None
    server_time: Ticks | None
    unexpanded: tuple[str, ...] = ()


class PageReader:
    """One collection of one tenant."""

    def __init__(self, client: DefenderClient, collection: Collection, stream: str) -> None:
        self.collection = collection
        self.stream = stream
        self._client = client
        self._limit = client.page_limit(collection.path, collection.expand)
        self._ids = _property_decoder(collection.id_property)
        self._times = _property_decoder(collection.time_field or "")
        self._lacking_in_a_row = 0

    async def rows(self, condition: str | None, *, skip: int = 0, expand: bool = True) -> Rows:
        """The rows that fulfil ``condition``, as many as the service gives at once.

        Raises :class:`ExpandFailedError` when it fails each time they are expanded.
        """
        params = dict(self.collection.parameters)
        params[self.collection.size_parameter] = str(self.collection.page_size)
        if skip:
            params["$skip"] = str(skip)
        if condition:
            params["$filter"] = condition
        expand = expand and bool(self.collection.expand)
        if expand:
            params["$expand"] = ",".join(self.collection.expand)
        rows = await self._get(self.collection.path, params, expand=expand)
        if expand and rows.records:
            self._lacking_in_a_row = 0
        return rows

    async def rows_at_any_rate(self, condition: str) -> Rows:
        """The rows that fulfil ``condition``, or the same ``unexpanded``.

        One row alone was then asked for twice, before and after, so that an outage that ends in
        between costs it nothing.
        """
        try:
            return await self.rows(condition)
        except ExpandFailedError:
            plain = await self.rows(condition, expand=False)
        if not plain.records:
            return plain
        if len(plain.records) == 1:
            try:
                return await self.rows(condition)
            except ExpandFailedError:
                self._note_lacking()
        return replace(plain, unexpanded=self.collection.expand)

    def _note_lacking(self) -> None:
        self._lacking_in_a_row += 1
        if self._lacking_in_a_row > _MOST_LACKING:
            names = ", ".join(self.collection.expand)
            raise DefenderUnavailableError(
                f"{self.collection.path} cannot give {names} of {_MOST_LACKING} records in a row: "
                "that is an outage of the service and not those records",
                hint="The next pass asks again from there.",
                stream=self.stream,
            )

    async def follow(self, link: str) -> Rows:
        """The rows behind a paging link."""
        return await self._get(link, None, expand=bool(self.collection.expand))

    def cut(self, rows: Rows) -> bool | None:
        """Whether the service cut this answer; ``None``: it has to be asked."""
        count = len(rows.records)
        if count >= self.collection.page_size or rows.next_link is not None:
            return True
        return self._limit.cuts(count)

    async def may_be_cut(self, rows: Rows, condition: str) -> bool:
        """Whether the service holds more rows than it gave; asks for the next one if need be."""
        cut = self.cut(rows)
        if cut is not None:
            return cut
        count = len(rows.records)
        params = {"$top": "1", "$skip": str(count), "$filter": condition}
        try:
            behind = await self._get(self.collection.path, params, expand=False)
        except BadRequestError:
            # Nobody may look there, so nobody knows.
            return True
        self.learn(rows, whole=not behind.records)
        return bool(behind.records)

    def learn(self, rows: Rows, *, whole: bool) -> None:
        """It turned out whether there are further rows behind these."""
        self._limit.learn(len(rows.records), whole=whole)

    async def _get(self, path_or_link: str, params: dict[str, str] | None, *, expand: bool) -> Rows:
        answer = await self._client.get(
            path_or_link,
            params,
            stream=self.stream,
            empty_on=self.collection.empty_on,
            may_fail=expand and self.collection.expand_may_fail,
        )
        if answer.status in self.collection.empty_on:
            return Rows([], None, answer.server_time)
        envelope = self._open(answer)
        self._limit.saw(len(envelope.value))
        return Rows(envelope.value, envelope.next_link, answer.server_time)

    def _open(self, answer: Answer) -> _Envelope:
        try:
            return msgspec.json.decode(answer.body, type=_Envelope)
        except msgspec.DecodeError as error:
            raise DefenderUnavailableError(
                f"The answer of {self.collection.path} is not a list of records: {error}",
                stream=self.stream,
                request_id=answer.request_id,
            ) from None

    def window(self, start: Ticks, end: Ticks | None) -> str:
        """``$filter`` for the times from ``start`` to before ``end``."""
        name = self.collection.time_field
        since = f"{name} ge {format_ticks(start)}"
        return since if end is None else f"{since} and {name} lt {format_ticks(end)}"

    def one_of(self, records: Iterable[msgspec.Raw]) -> str:
        """``$filter`` for ``records`` by their ids."""
        name = self.collection.id_property
        ids = (msgspec.json.decode(self._ids.decode(raw).value) for raw in records)
        return " or ".join(
            f"{name} eq "
            + (f"'{one.replace(chr(39), chr(39) * 2)}'" if isinstance(one, str) else f"{one}")
            for one in ids
        )

    def identities(self, records: list[msgspec.Raw]) -> list[bytes]:
        """What tells each record from the others: its id or, without one, all of it."""
        found = (bytes(self._ids.decode(raw).value) for raw in records)
        return [
            identity if identity not in _MISSING else bytes(raw)
            for identity, raw in zip(found, records, strict=True)
        ]

    def latest(self, records: list[msgspec.Raw]) -> Ticks | None:
        """The newest time of ``records``."""
        times = self.times(records)
        return times[-1] if times else None

    def times(self, records: list[msgspec.Raw]) -> list[Ticks]:
        """The times of ``records`` in order; a record without a time has none here either."""
        found = []
        for raw in records:
            try:
                found.append(parse_ticks(msgspec.json.decode(self._times.decode(raw).value)))
            except (msgspec.DecodeError, TypeError, ValueError):
                continue
        found.sort()
        return found


def _property_decoder(name: str) -> msgspec.json.Decoder[Any]:
    """Decodes one property of a record, as it is written there, and nothing else."""
    record = msgspec.defstruct(
        "Record", [("value", msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw()))]
    )
    return msgspec.json.Decoder(record)

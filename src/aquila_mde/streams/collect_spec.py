"""What ``collect.yml`` says: how one stream is fetched and what makes a record version unique."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

_DURATION = re.compile(r"^(\d+)\s*([smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> timedelta:
    """``90s``, ``5m``, ``2h`` or ``7d`` as a :class:`timedelta`."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value))
    if not match or int(match[1]) == 0:
        raise ValueError("must be a duration such as 90s, 5m, 2h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
JoinName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Property = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
PropertyPath = Annotated[str, Field(pattern=r"^[A-Za-z]\w*(\[\])?(\.[A-Za-z]\w*(\[\])?)*$")]


class Declared(BaseModel):
    """A frozen part of a declarative file; an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Quota(Declared):
    """Calls that Microsoft allows one application in one tenant."""

    per_minute: int = Field(gt=0)
    per_hour: int = Field(gt=0)


class Endpoint(Declared):
    """Where the records are and who may read them."""

    path: str = Field(pattern=r"^/(api|v1\.0)/[A-Za-z0-9/]+$")
    permission: str = Field(pattern=r"^[A-Za-z]+(\.[A-Za-z]+)+$")
    reference: str = Field(pattern=r"^https://")
    quota: Quota
    page_size: int = Field(default=10_000, gt=0, le=200_000)
    """Most rows that are asked for at once; an export has files instead."""
    expand: tuple[Property, ...] = ()
    expand_may_fail: bool = False
    """Whether single records make every answer that expands them a 500. They are then found, and
    taken without what would be expanded."""
    empty_on: tuple[int, ...] = ()
    """HTTP statuses by which this endpoint says that there is nothing to read."""
    sas_hours: int = Field(default=6, ge=1, le=6)
    """How long the links of an export stay valid (export only)."""


class Open(Declared):
    """Which records may still change although the field that is filtered on no longer moves."""

    field: Property
    values: tuple[str, ...]
    at_most: Duration
    """How far back a record that stays open is read again."""


class Otherwise(Declared):
    """What to filter on in a tenant that refuses the cursor's own field."""

    field: Property
    open: Open


class Cursor(Declared):
    """The time that new and changed records are found by."""

    field: Property
    overlap: Duration
    """How far behind the newest time seen each pass starts: records become visible late."""
    look_back: Duration
    """How far back the first pass reaches."""
    otherwise: Otherwise | None = None


class Sweep(Declared):
    """A wider pass, now and then, for what a normal pass cannot see."""

    every: Duration
    look_back: Duration


class Part(Declared):
    """One part of what makes a record version unique; exactly one of its keys is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    named: tuple[Property, ...] | None = Field(default=None, alias="property")
    """A property as received; of several, the first that is there."""
    otherwise: tuple[Property, ...] = ()
    """Taken together where ``property`` is missing."""
    digest_of: tuple[PropertyPath, ...] | None = None
    content_except: tuple[PropertyPath, ...] | None = None
    """The whole record, lists sorted, without these properties."""
    start_of: Literal["pass"] | None = None
    """When the pass that reads the record began; saved before the first record is sent."""
    digest_of_join: JoinName | None = None
    """What a join found, without what the join calls volatile."""
    bucket_of_export: Duration | None = None
    """The period of the export's ``generatedTime``: an open row is renewed once in it."""
    columns_or_all: tuple[Property, ...] | None = None
    """These properties where the record has every one of them, otherwise all that it says."""
    text: str | None = None
    """The same for all records: what tells them from those of another query."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"property": (value,)}
        if isinstance(value, dict) and isinstance(value.get("property"), str):
            return {**value, "property": (value["property"],)}
        return value

    @model_validator(mode="after")
    def _one(self) -> Part:
        given = {
            "property": self.named,
            "digest_of": self.digest_of,
            "content_except": self.content_except,
            "start_of": self.start_of,
            "digest_of_join": self.digest_of_join,
            "bucket_of_export": self.bucket_of_export,
            "columns_or_all": self.columns_or_all,
            "text": self.text,
        }
        if sum(value is not None for value in given.values()) != 1:
            raise ValueError(f"needs exactly one of {', '.join(given)}")
        if self.otherwise and self.named is None:
            raise ValueError("otherwise goes with property only")
        return self

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of ``property``, in order of preference."""
        return self.named or ()


class Renew(Declared):
    """When a record whose content is unchanged is indexed again all the same."""

    day_of: Property


class Identity(Declared):
    """What makes two answers of the API the same version of the same record."""

    entity: Property
    """The property that names the thing whose versions these are."""
    parts: tuple[Part, ...] = Field(min_length=1)
    renew: Renew | None = None

    @property
    def by_content(self) -> bool:
        """Whether a version is told by its content, so that the last one must be remembered."""
        return any(part.content_except is not None for part in self.parts)


def _told_by_the_row(part: Part) -> Part:
    if part.named is None and part.digest_of is None:
        raise ValueError("a change is told by its own properties: use property or digest_of")
    return part


class Delta(Declared):
    """The changes since the last full export, from an endpoint of their own.

    The service collects them in periods and gives those of whole periods, so the same change
    comes again and again.
    """

    endpoint: Endpoint
    time_field: Property
    """When the service found the change."""
    period: Duration
    """How long the service collects changes before it shows them."""
    overlap: Duration
    """How far behind the service's time of the last reading each one starts: changes become
    visible late."""
    at_most: Duration
    """How far back the service can be asked; behind that only a full export helps."""
    full_export_every: Duration
    """How old the last full export may be when a pass begins."""
    parts: tuple[Annotated[Part, AfterValidator(_told_by_the_row)], ...] = Field(min_length=1)
    """What makes two answers the same change."""

    @model_validator(mode="after")
    def _within_reach(self) -> Delta:
        if self.overlap + self.period >= self.at_most:
            raise ValueError("at_most must be longer than overlap and period together")
        return self


class JoinedEndpoint(Declared):
    """A collection that is read only to be joined, into the collector's own state."""

    endpoint: Endpoint
    id: Property
    time_field: Property
    """The property that new and changed records are found by."""
    overlap: Duration
    refresh: Duration
    """How old what is held may be when a pass begins."""


class JoinSpec(Declared):
    """What is put beside each record, from another stream or from an endpoint of its own.

    Which properties are taken is said by the rows of the same join in mapping.yml.
    """

    key: Property
    """The property of the record that names its partner."""
    stream: JoinName | None = None
    source: JoinedEndpoint | None = Field(default=None, alias="from")
    volatile: tuple[Property, ...] = ()
    """Properties whose change alone makes no new version of the record."""
    fill_in: Duration | None = None
    """How long a record without a partner waits for it to be joined after all."""

    @model_validator(mode="after")
    def _one_source(self) -> JoinSpec:
        if (self.stream is None) == (self.source is None):
            raise ValueError("needs either stream or from")
        return self


class CollectSpec(Declared):
    """One ``collect.yml``."""

    strategy: Literal["incremental", "export", "hunting"]
    enabled: bool = True
    """Whether the stream is collected where the settings say nothing of it."""
    endpoint: Endpoint
    graph: Endpoint | None = None
    """Where Microsoft Graph gives the same records, and more of them (hunting only)."""
    interval: Duration
    """Between two passes."""
    cursor: Cursor | None = None
    """Without a cursor every pass of an incremental stream reads the whole collection."""
    sweep: Sweep | None = None
    delta: Delta | None = None
    """Without it every pass of an export stream looks for a newer export."""
    identity: Identity
    joins: dict[JoinName, JoinSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_strategy(self) -> CollectSpec:
        if self.strategy == "export" and (self.cursor or self.sweep):
            raise ValueError("an export has neither cursor nor sweep")
        if self.strategy == "hunting" and self.cursor is None:
            raise ValueError("hunting needs a cursor")
        if self.strategy != "hunting" and self.graph:
            raise ValueError("graph belongs to the hunting strategy")
        if self.strategy != "export" and self.delta:
            raise ValueError("delta belongs to the export strategy")
        if self.sweep and not self.cursor:
            raise ValueError("sweep needs a cursor: without one every pass reads everything")
        if self.endpoint.expand_may_fail and not (self.endpoint.expand and self.cursor):
            raise ValueError("expand_may_fail needs expand, and a cursor to find the record by")
        if self.strategy != "export" and any(p.bucket_of_export for p in self.identity.parts):
            raise ValueError("bucket_of_export belongs to the export strategy")
        if self.identity.renew and not self.identity.by_content:
            raise ValueError("identity.renew needs a part with content_except")
        for part in self.identity.parts:
            if part.digest_of_join is not None and part.digest_of_join not in self.joins:
                raise ValueError(f"digest_of_join names {part.digest_of_join}, which is no join")
        return self

    def endpoints(self) -> Iterator[Endpoint]:
        """Every endpoint that the stream is read from, its own first."""
        yield self.endpoint
        if self.delta is not None:
            yield self.delta.endpoint
        for join in self.joins.values():
            if join.source is not None:
                yield join.source.endpoint

    def for_changes(self) -> CollectSpec:
        """The changes of the delta as a stream of their own, which has their identity."""
        if self.delta is None:
            return self
        identity = Identity(entity=self.identity.entity, parts=self.delta.parts)
        own = {"strategy": "incremental", "endpoint": self.delta.endpoint, "delta": None}
        return self.model_copy(update=own | {"identity": identity})

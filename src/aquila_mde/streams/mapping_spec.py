"""What ``mapping.yml`` says: which ECS field each property of a record becomes, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from aquila_mde.streams.collect_spec import Declared, Property
from aquila_mde.streams.latest import Latest

FieldType = Literal[
    "keyword",
    "constant_keyword",
    "wildcard",
    "match_only_text",
    "flattened",
    "nested",
    "boolean",
    "byte",
    "long",
    "float",
    "date",
    "date_nanos",
    "ip",
    "geo_point",
]
RelatedKind = Literal["hash", "hosts", "ip", "user"]
CustomName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*(\.[a-z][a-z0-9_]*)*$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]
EcsName = Annotated[str, Field(pattern=r"^@?[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]
Target = Annotated[str, Field(pattern=r"^(~[a-z][a-z0-9_]*|[a-z][a-z0-9_]*)(\.[a-z][a-z0-9_]*)*$")]
JoinedTime = Annotated[str, Field(pattern=r"^(join\.)?[A-Za-z]\w*(\.[A-Za-z]\w*)*$")]


def snake_case(name: str) -> str:
    """``lastIpAddress`` as ``last_ip_address``, ``errorHResult`` as ``error_h_result``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parted.lower()


class Step(Declared):
    """One change on the way to a target: ``cut 1024``, ``table severity``, ``unless set``."""

    name: str
    words: tuple[str, ...] = ()


def parse_steps(value: Any) -> Any:
    """``"table severity, unless set"`` as a list of steps; an empty text is no step."""
    if not isinstance(value, str):
        return value if value is not None else ()
    parts = [part.split() for part in value.split(",") if part.strip()]
    return [{"name": name, "words": words} for name, *words in parts]


Steps = Annotated[tuple[Step, ...], BeforeValidator(parse_steps)]


def parse_targets(value: Any) -> Any:
    """One name, a list of names, or names with their steps; always the last of these."""
    if isinstance(value, str):
        return {value: ""}
    return dict.fromkeys(value, "") if isinstance(value, list) else value


class OwnField(Declared):
    """A field of the stream that a rule, a step or a block fills."""

    type: FieldType
    about: str


class Row(Declared):
    """What becomes of one property."""

    about: str = ""
    """One line for the reader; becomes the description of the fields that are built."""
    otherwise: tuple[Property, ...] = Field(default=(), alias="or")
    """Other spellings of the property."""
    conversion: str | None = Field(default=None, alias="as")
    to: Annotated[dict[Target, Steps], BeforeValidator(parse_targets)] = Field(default_factory=dict)
    """The ECS fields that it fills; ``~name`` is a field of the stream itself."""
    keep: FieldType | None = None
    """The type it is kept with, as a field of the stream, beside what it fills in ECS."""
    name: Name | None = None
    """Its name there when it is not the property's own in snake_case."""
    related: Annotated[dict[RelatedKind, Steps], BeforeValidator(parse_targets)] = Field(
        default_factory=dict
    )
    block: str | None = None
    """A function that fills several ECS fields from it."""
    table: str | None = None
    """The table that fills ECS fields from it, or that the block needs."""
    rule: str | None = None
    """The rule that reads the property itself."""
    fills: tuple[EcsName, ...] = ()
    """The fields of ECS that the rule may fill from it."""
    object: dict[Property, Row] | None = None
    list: dict[Property, Row] | None = None
    scalar: Property | None = None
    """The property that a member of ``list`` stands for when it is no object."""
    extra: bool = False
    """Whether what the rows of ``list`` leave is kept beside them."""
    each: str | None = None
    """A function that completes each member of ``list`` once its rows are done."""
    own: dict[Name, OwnField] = Field(default_factory=dict)
    """The fields that ``each`` or ``block`` add to a member of ``list``."""
    inline: bool = False
    """Whether the rows of ``object`` are kept beside it instead of below its name."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.object is not None and self.list is not None:
            raise ValueError("is either an object or a list")
        if self.object is not None and (self.to or self.keep or self.block or self.conversion):
            raise ValueError("an object has rows of its own and no to, as, keep or block")
        if self.list is not None and (self.to or self.conversion or self.related):
            raise ValueError("a list has rows of its own and no to, as or related")
        if self.list is not None and self.keep not in (None, "nested"):
            raise ValueError("a list is kept as nested")
        if self.list is None and (self.scalar or self.extra or self.each or self.own):
            raise ValueError("scalar, extra, each and own go with list")
        if self.list is None and self.keep == "nested":
            raise ValueError("nested goes with list")
        if self.inline and self.object is None:
            raise ValueError("inline goes with object")
        if self.fills and self.rule is None:
            raise ValueError("fills goes with rule")
        if self.name and not self.keep and self.object is None and self.list is None:
            raise ValueError("name goes with keep")
        if self.keep and not self.about:
            raise ValueError("what is kept needs an about")
        if not self.places and self.rule is None and self.object is None and self.list is None:
            raise ValueError("needs one of to, keep, related, block, table, rule, object, list")
        return self

    @property
    def places(self) -> bool:
        """Whether the row itself puts its value somewhere."""
        return bool(self.to or self.keep or self.related or self.block or self.table)

    @property
    def rows(self) -> dict[str, Row]:
        """The rows below this one."""
        return self.object or self.list or {}


class Event(Declared):
    """The ECS categorization that every document of the stream starts with."""

    kind: str
    category: tuple[str, ...]
    type: tuple[str, ...]


class Portal(Declared):
    """The page of the Defender portal that ``event.url`` points to."""

    page: str = Field(pattern=r"^[a-z]+$")
    id: EcsName


class Rule(Declared):
    """A function that fills what no single property gives, run after the rows, in order."""

    rule: str
    about: str


class Geo(Declared):
    """Where the located address goes: geography to ECS, the network to a field of the stream."""

    to: EcsName
    address: Name = "address"
    """Where below ``mde.join`` the script leaves the address that is looked up."""
    network: Name | None = Field(default=None, alias="as")
    about: str


class Join(Declared):
    """Rows for what the collector puts beside the record."""

    under: Name | None = None
    """The object of the stream that what is kept goes below."""
    properties: dict[Property, Row]


class MappingSpec(Declared):
    """One ``mapping.yml``."""

    reference: str = Field(pattern=r"^https://")
    event: Event
    timestamp: tuple[JoinedTime, ...] = ()
    """The properties that ``@timestamp`` is read from; otherwise the time it was collected."""
    portal: Portal | None = None
    properties: dict[Property, Row]
    joins: dict[Name, Join] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    geo: tuple[Geo, ...] = ()
    unpack: tuple[Property, ...] = ()
    """Properties that hold an object or a list as JSON text."""
    renamed_by: str | None = Field(default=None, pattern=r"^[a-z_]+\.[a-z_]+$")
    """Where below ``mde.join`` stands which properties are others by another name."""
    own: dict[CustomName, OwnField] = Field(default_factory=dict)
    beyond_ecs: dict[EcsName, OwnField] = Field(default_factory=dict)
    latest: Latest | None = None
    """How the newest version of each thing is told; ``None``: the records have no versions."""

    def walk(self) -> Iterator[tuple[tuple[str, ...], Row]]:
        """Every row with its place in the file, parents first."""
        for place, rows in (
            (("properties",), self.properties),
            *(
                (("joins", name, "properties"), join.properties)
                for name, join in self.joins.items()
            ),
        ):
            yield from _walk(place, rows)


def _walk(place: tuple[str, ...], rows: dict[str, Row]) -> Iterator[tuple[tuple[str, ...], Row]]:
    for name, row in rows.items():
        here = (*place, name)
        yield here, row
        if row.object is not None:
            yield from _walk((*here, "object"), row.object)
        if row.list is not None:
            yield from _walk((*here, "list"), row.list)

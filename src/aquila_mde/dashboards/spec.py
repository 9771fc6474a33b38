"""What a file of ``package/dashboards/`` says: one dashboard, and what each of its panels asks.

The description is the only one. Kibana's saved objects and the queries of the preview are both made
from it, so that the same panel shows the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from aquila_mde.dashboards.filters import FilterError, parse_filter

GRID = 48
"""Columns of Kibana's grid."""
Kind = Literal[
    "metric",
    "line",
    "area",
    "bar",
    "bar_horizontal",
    "pie",
    "donut",
    "table",
    "heatmap",
    "markdown",
]
Function = Literal["count", "unique", "average", "sum", "min", "max", "median", "last"]
Format = Literal["number", "score", "percent", "duration", "nanoseconds", "date", "text"]
"""A ``percent`` is given as a part of one, a ``duration`` in seconds; a ``score`` has one digit."""
Colour = Literal["neutral", "good", "warning", "danger"]
Span = Annotated[str, Field(pattern=r"^[1-9][0-9]*[hdwMy]$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
FieldName = Annotated[str, Field(pattern=r"^[@A-Za-z_][\w.@]*$")]
_SERIES = ("line", "area", "bar", "bar_horizontal")


class _Part(BaseModel):
    """A frozen part of a dashboard; an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _checked(text: str) -> str:
    try:
        parse_filter(text)
    except FilterError as error:
        raise ValueError(str(error)) from None
    return text


Filter = Annotated[str, AfterValidator(_checked)]


class Metric(_Part):
    """One number: a function, the field that it is of, and how it is shown.

    Written short as ``count`` or ``unique host.id``.
    """

    function: Function
    field: FieldName | None = None
    label: str | None = None
    since: FieldName | None = None
    """The number is not the time in ``field``, but how long that is after this one, in seconds."""
    filter: Filter | None = None
    """Only of the records that match."""
    format: Format = "number"
    colours: Name | None = None
    """Of a ``last``: the palette by which its values are coloured in a table."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"of": value}
        if isinstance(value, dict) and isinstance(value.get("of"), str):
            function, _, field = value["of"].partition(" ")
            rest = {key: one for key, one in value.items() if key != "of"}
            return {"function": function, **({"field": field.strip()} if field else {}), **rest}
        return value

    @model_validator(mode="after")
    def _has_its_field(self) -> Self:
        if (self.field is None) != (self.function == "count"):
            raise ValueError("count has no field, every other function has one")
        if self.since is not None and self.function not in ("average", "median", "max"):
            raise ValueError("since goes with average, median and max only")
        if self.colours is not None and self.function != "last":
            raise ValueError("colours go with last only")
        return self

    @property
    def title(self) -> str:
        """What stands over the number."""
        return self.label or (
            "Count" if self.field is None else f"{self.function.capitalize()} of {self.field}"
        )


class Range(_Part):
    """Values from ``start`` up to, but without, ``end``."""

    start: float
    end: float
    label: str


class Split(_Part):
    """What records are taken together by: the values of a field, time, or ranges of a number."""

    field: FieldName
    label: str | None = None
    limit: int = Field(default=5, ge=1, le=100)
    order: Literal["most", "least", "name"] = "most"
    by: int = Field(default=0, ge=0)
    """The number of the metric that decides which values are shown."""
    every: Span | None = None
    """Makes it a histogram of time."""
    ranges: tuple[Range, ...] = ()
    colours: Name | None = None
    hidden: bool = False
    """Of a table: makes the rows, and is no column."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"field": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.every and self.ranges:
            raise ValueError("is split by time or by ranges, not by both")
        return self

    @property
    def title(self) -> str:
        """What stands over the values."""
        return self.label or self.field


class Place(_Part):
    """Where a panel is: from column ``x`` and row ``y``, so wide and so high."""

    x: int = Field(ge=0, lt=GRID)
    y: int = Field(ge=0)
    w: int = Field(ge=4, le=GRID)
    h: int = Field(ge=2)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) == 4:
            return dict(zip("xywh", value, strict=True))
        return value

    @model_validator(mode="after")
    def _on_the_grid(self) -> Self:
        if self.x + self.w > GRID:
            raise ValueError(f"ends at column {self.x + self.w}; there are {GRID}")
        return self

    def overlaps(self, other: Place) -> bool:
        """Whether both cover a cell of the grid."""
        return (
            self.x < other.x + other.w
            and other.x < self.x + self.w
            and self.y < other.y + other.h
            and other.y < self.y + self.h
        )


class Panel(_Part):
    """One panel."""

    title: str = Field(min_length=1)
    about: str | None = None
    kind: Kind
    at: Place
    stream: Annotated[str, Field(pattern=r"^[a-z_]+$")] | None = None
    """The data stream that is asked."""
    latest: bool = False
    """Whether the newest version of each thing is asked, whatever its time, and not the stream."""
    filter: Filter | None = None
    metrics: tuple[Metric, ...] = ()
    x: Split | None = None
    """The axis that runs sideways; in ``bar_horizontal`` the one with the names."""
    by: Split | None = None
    """What makes slices, series, or the rows of a heat map."""
    rows: tuple[Split, ...] = ()
    colour: Colour = "neutral"
    text: str | None = None
    empty: str | None = None
    """What it means that there is nothing to show, where that is no fault."""
    drill: Name | None = None
    """The dashboard that a click on a value leads to, filtered by it."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        needed, most = _NEEDS[self.kind], _METRICS[self.kind]
        given = {"x": self.x, "by": self.by, "rows": self.rows, "text": self.text}
        for key, value in given.items():
            if value and key not in needed | _MAY[self.kind]:
                raise ValueError(f"{self.kind} has no {key}")
            if not value and key in needed:
                raise ValueError(f"{self.kind} needs {key}")
        if not most[0] <= len(self.metrics) <= most[1]:
            raise ValueError(f"{self.kind} has {most[0]} to {most[1]} metrics")
        if self.latest and any(metric.since is not None for metric in self.metrics):
            raise ValueError("since is of versions, and latest is not")
        if (self.stream is None) != (self.kind == "markdown"):
            raise ValueError("markdown has no stream, every other panel has one")
        if self.by is not None and len(self.metrics) > 1:
            raise ValueError("has either several metrics or by")
        if self.kind != "table" and any(one.function == "last" for one in self.metrics):
            raise ValueError("last belongs to tables")
        for split in self.splits():
            metric = self.metrics[split.by] if split.by < len(self.metrics) else None
            if metric is None or metric.function == "last":
                raise ValueError("by must be the number of a metric that is not last")
        return self

    def splits(self) -> tuple[Split, ...]:
        """Every split, from the outermost to the innermost.

        Series are chosen before time is cut up, so that they are the same ones all along.
        """
        axes = (self.by, self.x) if self.x is not None and self.x.every else (self.x, self.by)
        return tuple(one for one in (*axes, *self.rows) if one is not None)

    def fields(self) -> Iterator[tuple[tuple[int | str, ...], str, str]]:
        """Every field that is used: where it stands, its name, and for what."""
        for number, metric in enumerate(self.metrics):
            if metric.since is not None:
                yield ("metrics", number, "since"), metric.since, "time"
            if metric.field is not None:
                of = "time" if metric.since is not None else metric.function
                yield ("metrics", number), metric.field, of
            for name in parse_filter(metric.filter).fields() if metric.filter else ():
                yield ("metrics", number, "filter"), name, "filter"
        for place, split in self.placed_splits():
            use = "time" if split.every else "ranges" if split.ranges else "values"
            yield place, split.field, use
        if self.filter is not None:
            for name in parse_filter(self.filter).fields():
                yield ("filter",), name, "filter"

    def placed_splits(self) -> Iterator[tuple[tuple[int | str, ...], Split]]:
        """Every split and where it stands."""
        for key, split in (("x", self.x), ("by", self.by)):
            if split is not None:
                yield (key,), split
        for number, split in enumerate(self.rows):
            yield ("rows", number), split


_NEEDS: dict[str, set[str]] = {
    **{kind: {"x"} for kind in _SERIES},
    "metric": set(),
    "pie": {"by"},
    "donut": {"by"},
    "table": {"rows"},
    "heatmap": {"x", "by"},
    "markdown": {"text"},
}
_MAY: dict[str, set[str]] = {kind: {"by"} if kind in _SERIES else set() for kind in _NEEDS}
_METRICS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(_SERIES, (1, 4)),
    **dict.fromkeys(("metric", "pie", "donut", "heatmap"), (1, 1)),
    "table": (1, 8),
    "markdown": (0, 0),
}


class Control(_Part):
    """A list of values that the reader filters the whole dashboard by."""

    label: str
    field: FieldName


class Subject(Control):
    """The one thing that a dashboard is about; the preview shows those with the most records."""

    stream: str
    filter: Filter | None = None


class DashboardSpec(_Part):
    """One file of ``package/dashboards/``."""

    title: str = Field(min_length=1)
    question: str
    """What the dashboard answers."""
    order: int
    last: Span
    """How far back it looks when it is opened."""
    controls: tuple[Control, ...] = Field(min_length=1)
    subject: Subject | None = None
    panels: tuple[Panel, ...] = Field(min_length=1)

    def all_controls(self) -> tuple[Control, ...]:
        """The controls, those of the subject first behind the tenant's."""
        subject = (self.subject,) if self.subject is not None else ()
        return (*self.controls[:1], *subject, *self.controls[1:])


def hours(span: str) -> int:
    """A span such as ``12h``, ``90d`` or ``1y`` in hours; a month has 30 days."""
    match = re.fullmatch(r"(\d+)([hdwMy])", span)
    assert match is not None  # noqa: S101 - the pattern of Span
    return int(match[1]) * {"h": 1, "d": 24, "w": 168, "M": 720, "y": 8_760}[match[2]]

"""The query options of a collection, and the page they choose."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from aquila_mde.simulator.collection import Collection, EntityType, Record
from aquila_mde.simulator.odata import Kind, ODataError, Predicate, compile_filter
from aquila_mde.simulator.quirks import Quirks

_KNOWN = {"$filter", "$top", "$skip", "$skiptoken", "$expand"}


@dataclass(frozen=True)
class Query:
    """What a request asks of a collection."""

    predicate: Predicate | None
    top: int | None
    skip: int
    expand: bool
    options: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """The records of one answer, and the query string of the next."""

    records: list[Record]
    next_query: str | None


def parse_query(text: str, entity: EntityType, quirks: Quirks) -> Query:
    """The options in a query string. Raises :class:`~odata.ODataError` for what is refused."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if not name.startswith("$"):
            continue
        if name not in _KNOWN:
            raise ODataError(f"Query option '{name}' is not allowed.")
        if name in options:
            raise ODataError(f"Query option '{name}' was specified more than once.")
        options[name] = value
    expand = options.get("$expand")
    if expand is not None and (entity.expandable is None or expand != entity.expandable):
        raise ODataError(f"Could not find a property named '{expand}' to expand.")
    top = _number("$top", options["$top"]) if "$top" in options else None
    if top is not None and top > _cap(entity, quirks) and quirks.above_cap == "refuse":
        raise ODataError(
            f"The limit of '{_cap(entity, quirks)}' for Top query has been exceeded. The value "
            f"from the incoming request is '{top}'."
        )
    skip = _number("$skip", options["$skip"]) if "$skip" in options else 0
    if skip > quirks.skip_cap:
        raise ODataError(
            f"The limit of '{quirks.skip_cap}' for Skip query has been exceeded. The value from "
            f"the incoming request is '{skip}'."
        )
    if "$skiptoken" in options:
        skip = _offset(options["$skiptoken"])
    predicate = None
    if "$filter" in options:
        properties = _filterable(entity, quirks)
        predicate = compile_filter(options["$filter"], properties, entity.type_name)
    return Query(predicate, top, skip, expand is not None, options)


def page(collection: Collection, query: Query, quirks: Quirks) -> Page:
    """The records that ``query`` chooses, no more than the service gives at once."""
    cap = _cap(collection.entity, quirks)
    size = cap if query.top is None else min(query.top, cap)
    matching = collection.select(query.predicate)
    end = query.skip + size
    told = query.top is None or quirks.next_link == "given"
    more = end < len(matching) and size > 0 and told
    return Page(matching[query.skip : end], _next_query(query, end) if more else None)


def _filterable(entity: EntityType, quirks: Quirks) -> Mapping[str, Kind]:
    if quirks.actions_by_update_time:
        return {**entity.properties, **entity.more_properties}
    return entity.properties


def _cap(entity: EntityType, quirks: Quirks) -> int:
    return quirks.page_cap or entity.page_cap


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ODataError(
            f"Invalid value '{text}' for {name} query option found. The {name} query option "
            "requires a non-negative integer value."
        )
    return int(text)


def _next_query(query: Query, offset: int) -> str:
    options = {name: value for name, value in query.options.items() if name != "$skip"}
    token = base64.urlsafe_b64encode(str(offset).encode()).decode()
    options["$skiptoken"] = token
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())


def _offset(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError) as error:
        raise ODataError("The $skiptoken is not valid.") from error

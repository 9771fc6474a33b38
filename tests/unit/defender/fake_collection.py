"""A collection of the Defender API with the habits of the real one."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from tests.unit.defender.scripted_microsoft import PATH, error, rows

from aquila_mde.defender.page_reader import Collection, Page
from aquila_mde.defender.times import Ticks, format_ticks, parse_ticks

TIME = "lastUpdateTime"
_parse = lru_cache(maxsize=None)(parse_ticks)
_IDS = re.compile(r"id eq '([^']+)'")
_CONDITION = re.compile(rf"{TIME} (ge|lt) (\S+)")


def record(number: int, time: Ticks) -> dict[str, Any]:
    return {"id": f"record-{number}", TIME: format_ticks(time)}


@dataclass
class FakeCollection:
    """Filters on time for real; everything else is as bad as it gets."""

    records: list[dict[str, Any]]
    cap: int = 10_000
    """Most rows in one answer; more are cut without a word."""
    max_skip: int = 10_000
    heeds_skip: bool = True
    links: bool = False
    """Whether a cut answer names the next page."""
    order: str = "random"
    """``random`` for each call, ``storage``, ``shifting`` (one row moves on with each call)."""
    poisoned: frozenset[str] = frozenset()
    """Ids of records that make every answer with ``$expand`` a 500."""
    expands: int = 10_000
    """Most rows that can be expanded in one answer."""
    seed: int = 0
    calls: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def __call__(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.calls.append(asked)
        skip, top = int(asked.get("$skip", 0)), int(asked.get("$top", self.cap))
        if skip > self.max_skip:
            return error(400, "ODataError", f"The limit of $skip is {self.max_skip}")
        found = [row for row in self._ordered() if self._fits(row, asked.get("$filter", ""))]
        skip = skip if self.heeds_skip else 0
        page = found[skip : skip + min(top, self.cap)]
        spoiled = any(row["id"] in self.poisoned for row in page) or len(page) > self.expands
        if "$expand" in asked and spoiled:
            return error(500, "InternalServerError", "")
        link = None
        if self.links and skip + len(page) < len(found):
            link = str(request.url.include_query_params(**{"$skip": skip + len(page)}))
        return rows(*page, link=link)

    def _ordered(self) -> list[dict[str, Any]]:
        if self.order == "random":
            self._random.shuffle(self.records)
        elif self.order == "shifting" and self.records:
            self.records.insert(self._random.randrange(len(self.records)), self.records.pop())
        return self.records

    @staticmethod
    def _fits(row: dict[str, Any], condition: str) -> bool:
        if (wanted := _IDS.findall(condition)) and row["id"] not in wanted:
            return False
        condition = condition.partition(" and (")[0]
        limits = _CONDITION.findall(condition)
        assert condition.count(" and ") == max(len(limits) - 1, 0)
        time = _parse(row[TIME])
        return all(
            time >= _parse(limit) if operator == "ge" else time < _parse(limit)
            for operator, limit in limits
        )


def collection_of(times: Iterable[Ticks], **habits: Any) -> FakeCollection:
    return FakeCollection([record(number, time) for number, time in enumerate(times)], **habits)


def alerts(page_size: int = 1000, **options: Any) -> Collection:
    """The alerts as a collection of the client."""
    options.setdefault("time_field", TIME)
    return Collection(PATH, page_size, "id", **options)


def ids_of(pages: list[Page]) -> list[str]:
    """The ids of every record of the pages."""
    return [json.loads(bytes(raw))["id"] for page in pages for raw in page.records]

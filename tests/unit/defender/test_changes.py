"""Changes since a time: along the links, and where a link is missing, by asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.defender.scripted_microsoft import Connect, Microsoft, error, rows

from aquila_mde.defender.changes import read_changes
from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import BadRequestError, ForeignLinkError, PagingLimitError
from aquila_mde.defender.page_reader import Collection
from aquila_mde.defender.times import parse_ticks

PATH = "/api/machines/SoftwareVulnerabilityChangesByMachine"
SINCE = parse_ticks("2026-03-01T05:00:00.1234567Z")


@dataclass
class Changes:
    """The endpoint, with the habits that it may have."""

    count: int
    links: bool = True
    skip: str = "heeded"
    """``heeded``, ``ignored`` or ``refused``."""
    link_host: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.calls.append(asked)
        if "$skip" in asked and self.skip == "refused":
            return error(400, "ODataError", "Query option '$skip' is not allowed.")
        start = int(asked.get("$skiptoken", 0))
        if self.skip == "heeded":
            start += int(asked.get("$skip", 0))
        end = min(start + int(asked["pageSize"]), self.count)
        page = [{"id": "same", "eventTimestamp": str(n)} for n in range(start, end)]
        link = None
        if self.links and end < self.count:
            link = str(request.url.include_query_params(**{"$skiptoken": end}))
            link = link.replace(request.url.netloc, self.link_host or request.url.netloc)
        return rows(*page, link=link)


async def read(client: DefenderClient, page_size: int = 100) -> list[Any]:
    collection = Collection(path=PATH, page_size=page_size, id_property="id")
    found: list[Any] = []
    async for page in read_changes(client, collection, SINCE, stream="vulnerability"):
        assert page.server_time is not None
        found += [bytes(record) for record in page.records]
    return found


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 300])
@pytest.mark.parametrize("links", [True, False])
async def test_every_change_comes_once_although_all_have_one_id(
    microsoft: Microsoft, client: DefenderClient, links: bool, count: int
) -> None:
    changes = microsoft.routes[PATH] = Changes(count, links=links)
    for _ in range(3):
        found = await read(client)
        assert len(found) == len(set(found)) == count
    first = changes.calls[0]
    assert first == {"sinceTime": "2026-03-01T05:00:00Z", "pageSize": "100"}


async def test_no_change_costs_one_call(microsoft: Microsoft, client: DefenderClient) -> None:
    changes = microsoft.routes[PATH] = Changes(0)
    assert await read(client) == []
    assert len(changes.calls) == 1


@pytest.mark.parametrize("skip", ["ignored", "refused"])
async def test_a_page_that_is_not_full_is_all_where_nobody_can_ask(
    microsoft: Microsoft, client: DefenderClient, skip: str
) -> None:
    changes = microsoft.routes[PATH] = Changes(40, skip=skip)
    assert len(await read(client)) == 40
    assert len(changes.calls) == 2
    assert len(await read(client)) == 40
    assert len(changes.calls) == 3, "it is asked once"


@pytest.mark.parametrize(
    ("skip", "reason"), [("ignored", "is ignored"), ("refused", "is not allowed")]
)
async def test_a_full_page_without_a_link_is_not_taken_for_the_end(
    microsoft: Microsoft, client: DefenderClient, skip: str, reason: str
) -> None:
    microsoft.routes[PATH] = Changes(250, links=False, skip=skip)
    with pytest.raises(PagingLimitError, match=f"100 were read, .*{reason}") as caught:
        await read(client)
    assert caught.value.stream == "vulnerability"
    assert "full export" in caught.value.hint


async def test_a_link_that_leads_back_ends(microsoft: Microsoft, client: DefenderClient) -> None:
    microsoft.routes[PATH] = lambda request: rows({"id": "a"}, link=str(request.url))
    with pytest.raises(PagingLimitError, match="leads back"):
        await read(client)


async def test_a_link_out_of_the_cloud_is_not_followed(
    microsoft: Microsoft, connect: Connect
) -> None:
    microsoft.routes[PATH] = Changes(250, link_host="example.com")
    with pytest.raises(ForeignLinkError, match=r"example\.com"):
        await read(connect())


async def test_a_refusal_of_the_time_is_passed_on(
    microsoft: Microsoft, client: DefenderClient
) -> None:
    microsoft.routes[PATH] = lambda _: error(400, "InvalidInput", "sinceTime is too old")
    with pytest.raises(BadRequestError, match="sinceTime is too old"):
        await read(client)

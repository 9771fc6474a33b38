"""A collection without a time to go by, read whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.defender.fake_collection import (
    alerts,
    collection_of,
    ids_of,
    record,
)
from tests.unit.defender.scripted_microsoft import PATH, Microsoft, error, rows

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import (
    BadRequestError,
    PagingLimitError,
)
from aquila_mde.defender.page_reader import Collection, Page
from aquila_mde.defender.paging import read_all


async def _all(client: DefenderClient, collection: Collection, **options: Any) -> list[Page]:
    return [page async for page in read_all(client, collection, stream="alert", **options)]


class TestReadAll:
    async def test_a_small_set_takes_one_call_and_at_first_a_question(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(range(7))
        microsoft.routes[PATH] = fake
        (page,) = await _all(client, alerts(1000))
        assert len(page.records) == 7
        assert page.done_until is None
        assert fake.calls == [{"$top": "1000"}, {"$top": "1000", "$skip": "7"}]

        fake.calls.clear()
        (page,) = await _all(client, alerts(1000))
        assert len(page.records) == 7
        assert fake.calls == [{"$top": "1000"}]

    @pytest.mark.parametrize("order", ["storage", "random", "shifting"])
    async def test_a_page_that_is_cut_without_a_word_is_noticed(
        self, microsoft: Microsoft, client: DefenderClient, order: str
    ) -> None:
        fake = collection_of(range(1_000), cap=170, order=order)
        microsoft.routes[PATH] = fake
        ids = ids_of(await _all(client, alerts(10_000)))
        assert sorted(ids) == sorted(f"record-{n}" for n in range(1_000))
        if order == "storage":
            skips = [None, "170", "340", "510", "680", "850"]
            assert [call.get("$skip") for call in fake.calls] == skips * 2

    async def test_a_short_last_page_needs_no_look_behind_it(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(range(1_150), order="storage", max_skip=900)
        microsoft.routes[PATH] = fake
        assert len(ids_of(await _all(client, alerts(300)))) == 1_150

    async def test_an_empty_set_is_one_empty_page(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(404, "ResourceNotFound", "none"))
        (page,) = await _all(client, alerts(empty_on=(404,)))
        assert page.records == []

    @pytest.mark.parametrize("links", [True, False])
    async def test_a_set_in_order_is_read_twice_and_yielded_once(
        self, microsoft: Microsoft, client: DefenderClient, links: bool
    ) -> None:
        fake = collection_of(range(950), links=links, order="storage")
        microsoft.routes[PATH] = fake
        pages = await _all(client, alerts(300))
        assert ids_of(pages) == [f"record-{n}" for n in range(950)]
        assert [call.get("$skip") for call in fake.calls] == [None, "300", "600", "900"] * 2

    async def test_a_full_last_page_is_asked_beyond(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(range(600), order="storage")
        microsoft.routes[PATH] = fake
        assert len(ids_of(await _all(client, alerts(300)))) == 600
        assert [call.get("$skip") for call in fake.calls][:3] == [None, "300", "600"]

    @pytest.mark.parametrize("order", ["random", "shifting"])
    async def test_rows_that_change_places_are_found_in_the_end(
        self, microsoft: Microsoft, client: DefenderClient, order: str
    ) -> None:
        fake = collection_of(range(1000), order=order, seed=3)
        microsoft.routes[PATH] = fake
        ids = ids_of(await _all(client, alerts(300)))
        assert sorted(ids) == sorted(f"record-{n}" for n in range(1000))

    async def test_a_row_that_slips_through_a_deletion_is_found(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(range(500), order="storage")

        def shrinking(request: Request) -> Response:
            answer = fake(request)
            if len(fake.calls) == 1:
                del fake.records[0]  # the rest moves up by one: record-200 is never on a page
            return answer

        microsoft.routes[PATH] = shrinking
        ids = ids_of(await _all(client, alerts(200)))
        assert sorted(ids) == sorted(f"record-{n}" for n in range(500))

    async def test_a_skip_beyond_the_cap_says_what_was_read(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(range(3000), order="storage", max_skip=900)
        microsoft.routes[PATH] = fake
        pages: list[Page] = []

        async def read() -> None:
            async for page in read_all(client, alerts(300), stream="alert"):
                pages.append(page)

        with pytest.raises(PagingLimitError, match="1200 were read, those behind number 1200") as e:
            await read()
        assert len(ids_of(pages)) == 1200
        assert "limit of $skip is 900" in e.value.message
        assert e.value.stream == "alert"
        assert "no time" in e.value.hint

    async def test_a_refused_first_call_is_no_matter_of_paging(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(400, "ODataError", "no"))
        with pytest.raises(BadRequestError):
            await _all(client, alerts())

    @pytest.mark.parametrize("page_size", [10, 1000])
    async def test_a_service_that_takes_no_notice_of_skip_is_given_up(
        self, microsoft: Microsoft, client: DefenderClient, page_size: int
    ) -> None:
        microsoft.routes[PATH] = collection_of(range(10), heeds_skip=False)
        with pytest.raises(PagingLimitError, match="the same rows, each time: 10 different"):
            await _all(client, alerts(page_size))
        assert len(microsoft.calls) < 60

    async def test_a_set_that_grows_with_every_reading_is_given_up(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(range(10), order="storage")

        def growing(request: Request) -> Response:
            fake.records.insert(0, record(len(fake.records), 0))
            return fake(request)

        microsoft.routes[PATH] = growing
        with pytest.raises(PagingLimitError, match="another order"):
            await _all(client, alerts(10))

    async def test_rows_without_an_id_are_told_apart_by_all_of_them(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        strange = [{"id": None, "n": 1}, {"id": None, "n": 2}, {"n": 3}, {"id": "", "n": 4}]
        strange += [{"id": 5}, {"id": 5, "again": True}, {"n": 3}]
        microsoft.script(PATH, rows(*strange), rows())
        pages = await _all(client, alerts(1000))
        assert [json.loads(bytes(raw)) for raw in pages[0].records] == strange[:5]

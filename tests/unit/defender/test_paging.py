from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.defender.fake_collection import (
    TIME,
    FakeCollection,
    alerts,
    collection_of,
    ids_of,
    record,
)
from tests.unit.defender.scripted_microsoft import PATH, Connect, Microsoft, error, rows

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import (
    BadRequestError,
    DefenderUnavailableError,
    NotFoundError,
    PagingLimitError,
)
from aquila_mde.defender.page_reader import Collection, Page
from aquila_mde.defender.paging import read_since
from aquila_mde.defender.times import Ticks, parse_ticks

SECOND = 10_000_000
DAY = 86_400 * SECOND
START = parse_ticks("2026-03-01T00:00:00.1234567Z")


async def _since(
    client: DefenderClient,
    collection: Collection,
    since: Ticks = START,
    until: Ticks | None = None,
) -> list[Page]:
    return [page async for page in read_since(client, collection, since, until, stream="alert")]


def _check_coverage(
    fake: FakeCollection, pages: list[Page], since: Ticks, until: Ticks | None
) -> None:
    """Every record of the stretch once, and no promise that is not kept at that moment."""
    expected = {
        row["id"]: time
        for row in fake.records
        if since <= (time := parse_ticks(row[TIME])) and (until is None or time < until)
    }
    assert sorted(ids_of(pages)) == sorted(expected)
    missing = dict(expected)
    before = None
    for page in pages:
        for name in ids_of([page]):
            missing.pop(name)
        if page.done_until is not None:
            assert all(time >= page.done_until for time in missing.values())
            assert before is None or page.done_until >= before
            before = page.done_until
    assert not missing
    assert pages[-1].done_until is not None


class TestReadSince:
    async def test_what_fits_in_one_answer_takes_one_call_and_at_first_a_question(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(START + n * SECOND for n in range(-5, 20))
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(expand=("evidence",)))
        condition = f"{TIME} ge 2026-03-01T00:00:00.1234567Z"
        call = {"$top": "1000", "$filter": condition, "$expand": "evidence"}
        assert fake.calls == [call, {"$top": "1", "$skip": "20", "$filter": condition}]
        _check_coverage(fake, pages, START, None)
        (page,) = pages
        assert page.server_time is not None
        assert page.done_until == page.server_time

        fake.calls.clear()
        _check_coverage(fake, await _since(client, alerts(expand=("evidence",))), START, None)
        assert fake.calls == [call]

    async def test_only_an_answer_longer_than_all_before_is_asked_about(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of([])
        microsoft.routes[PATH] = fake

        async def calls_with(count: int) -> int:
            fake.records = [record(n, START + n) for n in range(count)]
            fake.calls.clear()
            _check_coverage(fake, await _since(client, alerts()), START, None)
            return len(fake.calls)

        counts = [0, 5, 5, 5, 4, 1, 0, 5, 6, 6, 99, 99, 98]
        assert [await calls_with(n) for n in counts] == [1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 1]
        # Numbers that may well be limits: the longest so far, and round ones.
        counts = [250, 250, 249, 101, 100, 200, 99]
        assert [await calls_with(n) for n in counts] == [2, 2, 1, 1, 2, 2, 1]

    async def test_an_empty_collection_is_one_empty_page(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(404, "ResourceNotFound", "none"))
        (page,) = await _since(client, alerts(empty_on=(404,)))
        assert page.records == []
        assert page.done_until == page.server_time is not None
        with pytest.raises(NotFoundError):
            await _since(client, alerts())

    async def test_an_upper_bound_is_kept(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(START + n * SECOND for n in range(30))
        microsoft.routes[PATH] = fake
        (page,) = await _since(client, alerts(), until=START + 10 * SECOND)
        _check_coverage(fake, [page], START, START + 10 * SECOND)
        assert page.done_until == START + 10 * SECOND
        assert [call["$top"] for call in fake.calls] == ["1000", "1"]
        assert fake.calls[0]["$filter"] == fake.calls[1]["$filter"]

    @pytest.mark.parametrize("links", [True, False])
    @pytest.mark.parametrize("order", ["random", "storage"])
    async def test_a_large_stretch_is_read_in_few_calls(
        self, microsoft: Microsoft, client: DefenderClient, links: bool, order: str
    ) -> None:
        fake = collection_of(
            (START + n * 37 * SECOND for n in range(10_000)), links=links, order=order
        )
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(1000))
        _check_coverage(fake, pages, START, None)
        assert len(fake.calls) < 2.5 * 10_000 / 1000

    @pytest.mark.parametrize("cap", [100, 170, 500])
    async def test_a_page_that_is_cut_without_a_word_is_noticed(
        self, microsoft: Microsoft, client: DefenderClient, cap: int
    ) -> None:
        fake = collection_of((START + n * n * SECOND for n in range(2_345)), cap=cap)
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(10_000))
        _check_coverage(fake, pages, START, None)
        assert len(fake.calls) < 4 * 2_345 / cap

    @pytest.mark.parametrize("order", ["storage", "random", "shifting"])
    async def test_a_thousand_rows_of_one_time_survive_a_cut_without_a_word(
        self, microsoft: Microsoft, client: DefenderClient, order: str
    ) -> None:
        times = [START + n * DAY for n in range(500)]
        times += [START + 20 * DAY + 1] * 1000
        fake = collection_of(times, cap=170, order=order)
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(10_000))
        _check_coverage(fake, pages, START, None)
        assert len(fake.calls) < 120

    async def test_a_cut_at_the_very_number_that_was_whole_before_is_noticed(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of((START + n for n in range(170)), cap=170, order="storage")
        microsoft.routes[PATH] = fake
        _check_coverage(fake, await _since(client, alerts()), START, None)
        fake.records.append(record(170, START + 170))
        _check_coverage(fake, await _since(client, alerts()), START, None)

    async def test_a_limit_that_is_lowered_is_noticed(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(START + n * SECOND for n in range(1_234))
        microsoft.routes[PATH] = fake
        assert len(await _since(client, alerts(10_000))) == 1
        fake.cap = 500
        _check_coverage(fake, await _since(client, alerts(10_000)), START, None)

    async def test_a_limit_for_expanded_rows_is_one_of_its_own(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(START + n * SECOND for n in range(1_234))

        def heavy(request: Request) -> Response:
            fake.cap = 170 if "$expand" in request.query_params else 10_000
            return fake(request)

        microsoft.routes[PATH] = heavy
        _check_coverage(fake, await _since(client, alerts(10_000)), START, None)
        expanded = await _since(client, alerts(10_000, expand=("evidence",)))
        _check_coverage(fake, expanded, START, None)

    async def test_where_nobody_may_look_for_a_next_row_the_stretch_is_shortened(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of((START + n * SECOND for n in range(400)), cap=170, max_skip=100)
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts())
        _check_coverage(fake, pages, START, None)
        assert len(fake.calls) < 20

    async def test_a_service_that_takes_no_notice_of_skip_is_given_up(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of([START] * 5, heeds_skip=False)
        microsoft.routes[PATH] = fake
        with pytest.raises(PagingLimitError, match="the same rows, each time: 5 different"):
            await _since(client, alerts())
        assert len(fake.calls) < 60

        # As long as the times differ there is another way.
        fake = collection_of((START + n * SECOND for n in range(50)), heeds_skip=False)
        microsoft.routes[PATH] = fake
        _check_coverage(fake, await _since(client, alerts()), START, None)
        assert len(fake.calls) < 10

    @pytest.mark.parametrize("links", [True, False])
    @pytest.mark.parametrize("order", ["random", "shifting"])
    async def test_a_thousand_rows_of_one_time_are_all_read(
        self, microsoft: Microsoft, client: DefenderClient, links: bool, order: str
    ) -> None:
        times = [START + n * DAY for n in range(50)]
        times += [START + 20 * DAY + 1] * 1000
        fake = collection_of(times, links=links, order=order)
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(300))
        _check_coverage(fake, pages, START, None)
        assert len(fake.calls) < 80

    async def test_rows_that_are_newer_than_the_services_clock_are_read(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        future = parse_ticks("2090-01-01T00:00:00Z")
        fake = collection_of(
            [START + n * DAY for n in range(100)] + [future + n * DAY for n in range(500)]
        )
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(100))
        _check_coverage(fake, pages, START, None)
        for page in pages:
            # Whatever goes on from here must not leave out what is added meanwhile.
            assert page.done_until is not None
            assert page.server_time is not None
            assert page.done_until <= page.server_time

    async def test_a_record_that_is_updated_meanwhile_is_met_again(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of((START + n * SECOND for n in range(1000)), order="storage")
        microsoft.routes[PATH] = fake
        seen: list[str] = []
        async for page in read_since(client, alerts(300), START, None, stream="alert"):
            seen += ids_of([page])
            for name in seen[:5]:  # the oldest ones move to the end
                number = int(name.removeprefix("record-"))
                if number < 5:
                    fake.records[number][TIME] = record(0, START + (2000 + number) * SECOND)[TIME]
        assert set(seen) == {f"record-{n}" for n in range(1000)}
        assert [seen.count(f"record-{n}") for n in range(5)] == [2] * 5

    async def test_rows_without_a_readable_time_do_not_stop_the_halving(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        fake = collection_of(START + n * SECOND for n in range(250))

        def spoiled(request: Request) -> Response:
            body = json.loads(bytes(fake(request).body))
            for number, row in enumerate(body["value"]):
                row[TIME] = [None, "soon", 7][number % 3]
                if number % 5 == 0:
                    del row[TIME]
            return rows(*body["value"])

        microsoft.routes[PATH] = spoiled
        pages = await _since(client, alerts(100))
        assert sorted(ids_of(pages)) == sorted(row["id"] for row in fake.records)

    async def test_without_the_services_time_nothing_is_lost_either(
        self, microsoft: Microsoft, client: DefenderClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aquila_mde.defender.client.ticks_of_http_date", lambda _: None)
        fake = collection_of(START + n * SECOND for n in range(1000))
        microsoft.routes[PATH] = fake
        pages = await _since(client, alerts(100))
        _check_coverage(fake, pages, START, None)
        assert pages[-1].server_time is None
        assert pages[-1].done_until == START + 999 * SECOND

        (page,) = await _since(client, alerts(100), START + DAY)
        assert (page.records, page.done_until) == ([], None)

    @pytest.mark.parametrize("body", ['{"records": []}', '{"value": null}', '{"value": [}'])
    async def test_an_answer_without_records_is_no_empty_collection(
        self, microsoft: Microsoft, client: DefenderClient, body: str
    ) -> None:
        microsoft.script(PATH, Response(body, media_type="application/json"))
        with pytest.raises(DefenderUnavailableError, match="not a list of records") as caught:
            await _since(client, alerts())
        assert caught.value.stream == "alert"

    async def test_a_refused_filter_is_told_as_it_is(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.script(PATH, error(400, "ODataError", "Property is not filterable"))
        with pytest.raises(BadRequestError):
            await _since(client, alerts())

    async def test_too_many_rows_of_one_time_name_the_time(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        microsoft.routes[PATH] = collection_of([START] * 3000, order="storage", max_skip=900)
        with pytest.raises(PagingLimitError) as caught:
            await _since(client, alerts(300))
        assert f"{TIME} ge 2026-03-01T00:00:00.1234567Z" in caught.value.hint


_CLUSTERED = st.lists(
    st.one_of(
        st.integers(0, 3),
        st.integers(0, 1_000),
        st.integers(0, 400 * DAY),
        st.integers(2 * 365 * DAY, 3 * 365 * DAY),
    ),
    max_size=250,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    offsets=_CLUSTERED,
    repeat=st.integers(1, 4),
    page_size=st.integers(1, 300),
    cap=st.sampled_from([100, 113, 170, 10_000]),
    links=st.booleans(),
    order=st.sampled_from(["storage", "shifting", "random"]),
    since=st.integers(-2, 500),
    until=st.none() | st.integers(0, 500 * DAY),
)
async def test_every_record_is_yielded_once_and_no_promise_is_broken(
    microsoft: Microsoft,
    connect: Connect,
    offsets: list[int],
    repeat: int,
    page_size: int,
    cap: int,
    links: bool,
    order: str,
    since: int,
    until: int | None,
) -> None:
    fake = collection_of(
        (START + offset for offset in offsets for _ in range(repeat)),
        cap=cap, links=links, order=order,
    )  # fmt: skip
    if order == "random" and page_size < 20:
        fake.order = "shifting"  # one at a time out of a hat: that set has no last page
    microsoft.routes[PATH] = fake
    client = connect()
    start, end = START + since, None if until is None else START + until
    pages = await _since(client, alerts(page_size), start, end)
    _check_coverage(fake, pages, start, end)
    await client.aclose()

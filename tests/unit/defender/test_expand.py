"""Records whose evidence makes every answer a 500 are found, and the others keep theirs."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.defender.fake_collection import collection_of
from tests.unit.defender.scripted_microsoft import Microsoft

from aquila_mde.defender.client import DefenderClient
from aquila_mde.defender.errors import DefenderUnavailableError
from aquila_mde.defender.page_reader import Collection, Page
from aquila_mde.defender.paging import read_since
from aquila_mde.defender.times import parse_ticks

PATH = "/api/alerts"
TIME = "lastUpdateTime"
SECOND = 10_000_000
START = parse_ticks("2026-03-01T00:00:00.1234567Z")


def alerts(page_size: int = 1_000, *, may_fail: bool = True) -> Collection:
    return Collection(PATH, page_size, "id", TIME, ("evidence",), expand_may_fail=may_fail)


async def read(client: DefenderClient, collection: Collection) -> list[Page]:
    return [page async for page in read_since(client, collection, START, None, stream="alert")]


def split(pages: list[Page]) -> tuple[list[str], list[str]]:
    """Ids of the records that came as asked for, and of those that did not."""
    whole: list[str] = []
    lacking: list[str] = []
    for page in pages:
        assert page.unexpanded in ((), ("evidence",))
        into = lacking if page.unexpanded else whole
        into += [json.loads(bytes(raw))["id"] for raw in page.records]
    return sorted(whole), sorted(lacking)


async def test_one_of_a_thousand_costs_a_bounded_number_of_calls(
    microsoft: Microsoft, client: DefenderClient
) -> None:
    fake = collection_of(
        (START + n * SECOND for n in range(900)), poisoned=frozenset({"record-700"})
    )
    microsoft.routes[PATH] = fake
    whole, lacking = split(await read(client, alerts()))
    assert lacking == ["record-700"]
    assert len(whole) == 899
    # Ten halvings, three attempts and one plain call each, and the halves that went well.
    assert len(fake.calls) < 70


async def test_a_lone_record_is_taken_at_once(microsoft: Microsoft, client: DefenderClient) -> None:
    fake = collection_of([START + SECOND], poisoned=frozenset({"record-0"}))
    microsoft.routes[PATH] = fake
    pages = await read(client, alerts())
    assert split(pages) == ([], ["record-0"])
    assert pages[-1].done_until is not None
    # Three attempts, the record plain, three attempts more; whether that was all.
    assert len(fake.calls) == 8


async def test_pages_above_the_number_that_can_be_expanded_get_shorter_and_stay_so(
    microsoft: Microsoft, client: DefenderClient
) -> None:
    fake = collection_of((START + n * SECOND for n in range(900)), expands=100)
    microsoft.routes[PATH] = fake
    whole, lacking = split(await read(client, alerts()))
    assert lacking == []
    assert len(whole) == 900
    failed = [call for call in fake.calls if "$expand" not in call and call["$top"] != "1"]
    assert len(failed) < 10  # three more calls each


async def test_an_outage_of_all_evidence_is_an_error_and_marks_no_more_than_a_few(
    microsoft: Microsoft, client: DefenderClient
) -> None:
    fake = collection_of((START + n * SECOND for n in range(300)), expands=0)
    microsoft.routes[PATH] = fake
    lacking: list[str] = []
    with pytest.raises(DefenderUnavailableError, match="evidence of 20 records in a row"):
        async for page in read_since(client, alerts(), START, None, stream="alert"):
            lacking += split([page])[1]
    assert len(lacking) == 20


async def test_where_it_is_not_declared_a_500_stays_an_error(
    microsoft: Microsoft, client: DefenderClient
) -> None:
    microsoft.routes[PATH] = collection_of([START], poisoned=frozenset({"record-0"}))
    with pytest.raises(DefenderUnavailableError, match="HTTP 500"):
        await read(client, alerts(may_fail=False))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_nothing_is_lost_doubled_or_taken_plain_without_need(
    microsoft: Microsoft, client: DefenderClient, data: st.DataObject
) -> None:
    offsets = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=60))
    poisoned = data.draw(st.sets(st.sampled_from(range(len(offsets))), max_size=8))
    names = {f"record-{number}" for number in poisoned}
    microsoft.routes[PATH] = collection_of(
        (START + offset * SECOND for offset in offsets),
        poisoned=frozenset(names),
        expands=data.draw(st.sampled_from([1, 5, 10_000])),
        cap=data.draw(st.sampled_from([10, 10_000])),
    )
    whole, lacking = split(await read(client, alerts(data.draw(st.sampled_from([20, 1_000])))))
    assert lacking == sorted(names)
    assert whole == sorted({f"record-{number}" for number in range(len(offsets))} - names)

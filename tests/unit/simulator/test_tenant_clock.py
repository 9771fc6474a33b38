"""The tenant's time and the texts it is written in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquila_mde.simulator.clock import (
    Clock,
    duration,
    format_export_time,
    format_time,
    parse_time,
    to_datetime,
    to_ticks,
)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2_000_000_000 * 10**7))
def test_what_is_written_is_read_again(ticks: int) -> None:
    assert parse_time(format_time(ticks)) == ticks


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-26T20:33:59.2000000Z", "2026-01-26T20:33:59.2Z"),
        ("2026-01-26T20:33:33.0Z", "2026-01-26T20:33:33Z"),
        ("2026-01-26T20:33:58.6133333Z", "2026-01-26T20:33:58.6133333Z"),
        ("2026-01-26T20:33:58-02:30", "2026-01-26T23:03:58Z"),
        ("2026-01-26T20:33:58+02:30", "2026-01-26T18:03:58Z"),
    ],
)
def test_trailing_zeros_are_dropped(text: str, written: str) -> None:
    assert format_time(parse_time(text)) == written


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-26", "2026-01-26T20:33:58", "2026-01-26 20:33:58Z", "2026-02-30T00:00:00Z"],
)
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


def test_export_rows_write_a_blank_and_all_seven_digits_or_none() -> None:
    ticks = parse_time("2020-11-03T10:13:34.8476880Z")
    assert format_export_time(ticks) == "2020-11-03 10:13:34.8476880"
    assert format_export_time(ticks - 8_476_880) == "2020-11-03 10:13:34"


def test_a_standing_clock_moves_when_it_is_advanced() -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    clock = Clock(start)
    assert to_datetime(clock.now()) == start
    clock.advance(timedelta(hours=1, microseconds=5))
    assert clock.now() - to_ticks(start) == duration(timedelta(hours=1, microseconds=5))
    assert clock.http_date() == "Fri, 01 May 2026 11:00:00 GMT"
    assert clock.elapsed() >= 3600


def test_a_running_clock_begins_in_the_present_and_goes_on() -> None:
    before = datetime.now(UTC)
    clock = Clock(running=True)
    first = clock.now()
    assert to_ticks(before) <= first <= to_ticks(datetime.now(UTC))
    while clock.now() == first:
        pass
    assert clock.now() > first


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="only moves forward"):
        Clock().advance(timedelta(seconds=-1))

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aquila_mde.collect.windows import Window, moment, short, windows

HOUR = 36_000_000_000
DAY = 24 * HOUR


def test_a_date_is_its_midnight() -> None:
    assert moment("2026-01-31", "--to") == moment("2026-01-31T00:00:00Z", "--to")
    assert short(moment("2026-01-31T08:09:10.5Z", "")) == "20260131T080910Z"


def test_windows_begin_at_multiples_of_their_length() -> None:
    start = 20_000 * DAY + HOUR
    assert list(windows(start, start + 2 * DAY, at_most=4)) == [
        Window(start, 20_001 * DAY),
        Window(20_001 * DAY, 20_002 * DAY),
        Window(20_002 * DAY, start + 2 * DAY),
    ]
    assert list(windows(start, start, at_most=4)) == []
    (*_, last) = windows(start, start + 2 * DAY, at_most=4, open_end=True)
    assert last == Window(20_002 * DAY, None)


@given(st.integers(0, 10**17), st.integers(1, 10**17), st.integers(1, 200))
def test_windows_cover_the_time_once_and_are_not_too_many(
    start: int, length: int, at_most: int
) -> None:
    found = list(windows(start, start + min(length, at_most * 30 * DAY), at_most=at_most))
    assert found[0].start == start
    assert found[-1].end == start + min(length, at_most * 30 * DAY)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(one.end is not None and one.start < one.end for one in found)
    assert len(found) <= at_most + 1

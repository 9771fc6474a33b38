from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquila_mde.defender.times import format_ticks, parse_each, parse_ticks, ticks_of_http_date

_SECOND = 10_000_000


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0000001Z", 1),
        ("1970-01-01T00:00:01.2Z", 12_000_000),
        ("1970-01-01 00:00:01", _SECOND),
        ("1970-01-01 00:00:01.8476880", 18_476_880),
        ("1970-01-01T00:00:00.12345678999Z", 1_234_567),
        ("1970-01-01T01:30:00+01:30", 0),
        ("1970-01-01T00:00:00-00:01", 60 * _SECOND),
        ("1969-12-31T23:59:59.9999999Z", -1),
        # The "no time" of .NET.
        ("0001-01-01T00:00:00Z", -62_135_596_800 * _SECOND),
    ],
)
def test_a_time_of_the_api_is_read_to_its_last_digit(text: str, ticks: int) -> None:
    assert parse_ticks(text) == ticks


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z",
     "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Z ", "٢٠٢٦-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that is the whole contract
        parse_ticks(text)


@given(
    st.integers(parse_ticks("0001-01-01T00:00:00Z"), parse_ticks("9999-12-31T23:59:59.9999999Z"))
)
def test_a_time_survives_being_written_and_read(ticks: int) -> None:
    text = format_ticks(ticks)
    assert len(text) == len("2026-01-01T00:00:00.1234567Z")
    assert parse_ticks(text) == ticks
    assert parse_ticks(text.rstrip("Z").replace("T", " ")) == ticks


_TEXTS = st.sampled_from(
    ["1970-01-01 00:00:01", "1970-01-01T01:30:00+01:30", "1969-12-31T23:59:59.9999999Z",
     "1970-01-01T00:00:00.12345678999Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
     "2026-01-01T25:00:00Z", "2026-01-01T00:00:00Z\n2026-01-01T00:00:00Z", "", "no"]
)  # fmt: skip
_TIMES = st.builds(
    lambda ticks, digits: format_ticks(ticks)[: 20 + digits].rstrip(".") + "Z",
    st.integers(parse_ticks("0001-01-01T00:00:00Z"), parse_ticks("9999-12-31T23:59:59.9999999Z")),
    st.integers(0, 7),
)


@given(st.lists(_TIMES, max_size=5) | st.lists(_TIMES | _TEXTS, max_size=5))
def test_times_that_are_read_together_are_those_read_alone(texts: list[str]) -> None:
    try:
        alone = [parse_ticks(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - that is the whole contract
            parse_each(texts)
    else:
        assert parse_each(texts) == alone


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_order_and_distance_of_times_are_kept(moment: datetime) -> None:
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000
    expected = (microseconds + since_epoch.microseconds) * 10
    assert parse_ticks(moment.isoformat()) == expected


def test_the_date_header_is_read_and_nonsense_is_not() -> None:
    assert ticks_of_http_date("Thu, 01 Jan 1970 00:01:00 GMT") == 60 * _SECOND
    assert ticks_of_http_date("soon") is None
    assert ticks_of_http_date("") is None
    assert ticks_of_http_date(None) is None

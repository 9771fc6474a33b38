import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquila_mde.streams.casing import camel_case, spellings


@pytest.mark.parametrize(
    ("received", "name"),
    [
        ("id", "id"),
        ("Id", "id"),
        ("ID", "id"),
        ("DeviceId", "deviceId"),
        ("OSPlatform", "osPlatform"),
        ("OsPlatform", "osPlatform"),
        ("CveSupportability", "cveSupportability"),
        ("CVSS", "cvss"),
        ("externalID", "externalID"),
        ("", ""),
    ],
)
def test_leading_capitals_become_small(received: str, name: str) -> None:
    assert camel_case(received) == name


@given(st.from_regex(r"[a-z]{1,4}([A-Z][a-z]{1,5}){0,3}", fullmatch=True))
def test_every_spelling_leads_back_to_the_name(name: str) -> None:
    assert spellings(name)[0] == name
    assert name[0].upper() + name[1:] in spellings(name)
    assert {camel_case(each) for each in spellings(name)} == {name}

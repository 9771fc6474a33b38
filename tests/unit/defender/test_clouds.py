import pytest

from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.errors import ConfigurationError


def test_each_cloud_has_its_own_hosts() -> None:
    commercial = resolve_cloud("commercial")
    assert commercial.api == "https://api.security.microsoft.com"
    assert commercial.resource == "https://api.securitycenter.microsoft.com"
    assert resolve_cloud("gcc").sign_in == "https://login.microsoftonline.com"
    assert resolve_cloud("gcc").resource == "https://api-gcc.securitycenter.microsoft.us"
    assert resolve_cloud("gcc_high").sign_in == "https://login.microsoftonline.us"
    assert resolve_cloud("dod").portal == "https://security.apps.mil"


def test_explicit_hosts_win_and_lose_their_last_slash() -> None:
    cloud = resolve_cloud(
        "gcc", sign_in="https://sts.example/", api="https://eu.example:8443/", resource="api://x"
    )
    assert (cloud.sign_in, cloud.api) == ("https://sts.example", "https://eu.example:8443")
    assert cloud.resource == "api://x"
    assert cloud.portal == "https://security.microsoft.com"


def test_an_unknown_cloud_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'china'") as caught:
        resolve_cloud("china")
    assert "gcc_high" in caught.value.hint


@pytest.mark.parametrize(
    ("api", "url", "owned"),
    [
        (None, "https://api.security.microsoft.com/api/alerts?$skip=1", True),
        (None, "https://eu.api.security.microsoft.com/api/alerts", True),
        (None, "https://API.securitycenter.microsoft.com/api/alerts", True),
        (None, "http://api.security.microsoft.com/api/alerts", False),
        (None, "https://api.security.microsoft.com:8443/api/alerts", False),
        (None, "https://api.security.microsoft.com:x/api/alerts", False),
        (None, "https://user@api.security.microsoft.com/api/alerts", False),
        (None, "https://api.security.microsoft.com@evil.example/api/alerts", False),
        (None, "https://evil-api.security.microsoft.com/api/alerts", False),
        (None, "https://evilsecuritycenter.microsoft.com/api/alerts", False),
        (None, "https://storage.blob.core.windows.net/api/alerts", False),
        (None, "//evil.example/api", False),
        ("https://eu.api.security.microsoft.com", "https://api.security.microsoft.com/api", True),
        ("https://mde.example", "https://mde.example/api", True),
        ("https://mde.example", "https://api.security.microsoft.com/api", False),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443/api", True),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8444/api", False),
    ],
)
def test_only_hosts_of_the_same_api_may_see_the_token(
    api: str | None, url: str, owned: bool
) -> None:
    assert resolve_cloud("commercial", api=api).owns(url) is owned


def test_government_hosts_are_not_commercial_ones() -> None:
    assert resolve_cloud("gcc_high").owns("https://api-gov.securitycenter.microsoft.us/api")
    assert not resolve_cloud("gcc_high").owns("https://api.security.microsoft.com/api")

"""Settings: file and environment, and what is said about what is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.settings import (
    Settings,
    StreamSettings,
    load_engine_settings,
    load_settings,
)

TENANT = "12345678-1234-1234-1234-123456789012"
ENOUGH = {
    "AQUILA_TENANT_ID": TENANT,
    "AQUILA_CLIENT_ID": "client",
    "AQUILA_CLIENT_SECRET": "geheim",
    "ES_URL": "https://engine.example:9200",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENOUGH, "AQUILA_STATE", "AQUILA_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "aquila.yml"
    file.write_text(text)
    return file


def complaint(file: Path | None, environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(file, environment)
    assert raised.value.exit_code is ExitCode.SETTINGS
    assert "geheim" not in str(raised.value)
    assert "geheim" not in repr(raised.value)
    return str(raised.value)


def test_the_environment_alone_is_enough() -> None:
    settings = load_settings(None, ENOUGH).only()
    assert settings.tenant.id == TENANT
    assert settings.tenant.namespace == "default"
    assert settings.elasticsearch.url == "https://engine.example:9200"
    assert settings.log_level == "info"
    assert settings.stream("alert") == StreamSettings()
    assert "geheim" not in repr(settings)


def test_the_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        tmp_path,
        f"""
tenant: {{id: {TENANT}, client_id: of-the-file, certificate: key.pem, cloud: gcc_high}}
elasticsearch: {{url: "https://engine.example", api_key: geheim}}
state: of-the-file.sqlite3
streams:
  alert: {{interval: 90s, look_back: 30d}}
  machine: {{enabled: false}}
""",
    )
    monkeypatch.setenv("AQUILA_STATE", "of-the-environment.sqlite3")
    monkeypatch.setenv("AQUILA_TENANT__API_URL", "https://eu.api.security.microsoft.com")
    settings = load_settings(file, {"AQUILA_CLIENT_ID": "of-the-environment", "ES_URL": ""}).only()
    assert settings.tenant.client_id == "of-the-environment"
    assert settings.tenant.api_url == "https://eu.api.security.microsoft.com"
    assert settings.tenant.cloud == "gcc_high"
    assert settings.elasticsearch.url == "https://engine.example"
    assert settings.state == Path("of-the-environment.sqlite3")
    assert settings.stream("alert").interval == timedelta(seconds=90)
    assert settings.stream("alert").look_back == timedelta(days=30)
    assert not settings.stream("machine").enabled
    assert "geheim" not in repr(settings)


def test_the_state_is_a_file_or_in_the_engine(tmp_path: Path) -> None:
    said = {"elasticsearch": "elasticsearch", "./elasticsearch": Path("elasticsearch")}
    for text, state in said.items():
        assert load_settings(write(tmp_path, f"state: {text}"), ENOUGH).only().state == state
    assert load_settings(None, ENOUGH).only().state == Path("aquila-state.sqlite3")
    text = complaint(write(tmp_path, "state: [a]"), ENOUGH)
    assert "aquila.yml:1: state: must be the path of a file, or elasticsearch" in text


def test_everything_missing_is_named_with_its_variable() -> None:
    text = complaint(None, {"AQUILA_CLIENT_ID": "client"})
    assert "tenant.id: is missing (AQUILA_TENANT_ID)" in text
    assert "elasticsearch: is missing (a section, or variables such as ES_URL" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("id: nonsense", "aquila.yml:2: tenant.id: must be the tenant's GUID"),
        ("cloud: moon", "aquila.yml:2: tenant.cloud: "),
        ("namespace: Upper", "aquila.yml:2: tenant.namespace: "),
        ("colour: red", "aquila.yml:2: tenant.colour: is not a setting that is known"),
        ("api_url: http://plain.example", "aquila.yml:2: tenant.api_url: "),
        ("certificate: key.pem", "tenant: has several credentials"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_line(
    tmp_path: Path, line: str, said: str
) -> None:
    text = complaint(
        write(tmp_path, f"tenant:\n  {line}\n"),
        ENOUGH
        if "id:" not in line
        else {name: value for name, value in ENOUGH.items() if name != "AQUILA_TENANT_ID"},
    )
    assert said in text


def test_a_credential_is_needed() -> None:
    without = {name: value for name, value in ENOUGH.items() if name != "AQUILA_CLIENT_SECRET"}
    assert "tenant: needs a credential: client_secret (AQUILA_CLIENT_SECRET)" in complaint(
        None, without
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"ES_API_KEY": "geheim", "ES_USERNAME": "u", "ES_PASSWORD": "geheim"},
            "has both api_key and username: keep one",
        ),
        ({"ES_USERNAME": "u"}, "username and password go together"),
        ({"ES_URL": "ftp://engine"}, "elasticsearch.url: "),
        ({"ES_URL": "https://user:geheim@engine"}, "elasticsearch.url: "),
    ],
)
def test_one_login_for_the_engine(more: dict[str, str], said: str) -> None:
    assert said in complaint(None, ENOUGH | more)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "must hold a mapping of settings"),
        ("tenant: [", "is not YAML"),
        ("state: a\nstate: b", "is given twice"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "aquila.yml" if text is None else write(tmp_path, text)
    answer = complaint(file, ENOUGH)
    assert str(file) in answer
    assert said in answer


def test_who_installs_needs_no_tenant(tmp_path: Path) -> None:
    file = write(tmp_path, 'tenant: {id: nonsense}\nelasticsearch: {url: "http://engine:9200"}\n')
    assert load_engine_settings(file, {}).url == "http://engine:9200"
    with pytest.raises(ConfigurationError, match="elasticsearch: is missing"):
        load_engine_settings(None, {})


def test_settings_do_not_change() -> None:
    settings = load_settings(None, ENOUGH).only()
    with pytest.raises(ValueError, match="frozen"):
        settings.state = Path("elsewhere")  # type: ignore[misc]
    assert isinstance(settings, Settings)

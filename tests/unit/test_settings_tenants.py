"""Settings with a list of tenants: what each gets, and what two of them may not share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.settings import AllSettings, load_engine_settings, load_places, load_settings

ENGINE = {"ES_URL": "https://engine.example:9200"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AQUILA_STATE", "AQUILA_LOG_LEVEL", "AQUILA_TENANT__API_URL"):
        monkeypatch.delenv(name, raising=False)


def tenant(number: int, **more: Any) -> dict[str, Any]:
    """What a list says of one tenant."""
    return {
        "id": f"12345678-1234-1234-1234-{number:012d}",
        "client_id": f"client-{number}",
        "client_secret_file": f"secret-{number}",
        "name": f"Tenant {number}",
        "namespace": f"tenant_{number}",
    } | more


def write(tmp_path: Path, *tenants: dict[str, Any], **more: Any) -> Path:
    file = tmp_path / "aquila.yml"
    file.write_text(yaml.safe_dump({"tenants": list(tenants)} | more, sort_keys=False))
    return file


def load(tmp_path: Path, *tenants: dict[str, Any], **more: Any) -> AllSettings:
    return load_settings(write(tmp_path, *tenants, **more), ENGINE)


def complaint(file: Path, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(file, ENGINE | (environment or {}))
    assert raised.value.exit_code is ExitCode.SETTINGS
    assert "geheim" not in str(raised.value)
    return str(raised.value)


def test_each_has_its_own_and_what_is_said_for_all(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        tenant(1, cloud="gcc_high"),
        tenant(
            2,
            streams={"alert": {"interval": "10m"}, "hunting": {"enabled": True}},
            hunting={"api": "graph"},
        ),
        streams={"alert": {"interval": "1m", "look_back": "3d"}, "machine": {"enabled": False}},
        hunting={"row_limit": 500},
    )
    first, second = settings.each
    assert (first.tenant.id, first.tenant.namespace) == (tenant(1)["id"], "tenant_1")
    assert (first.tenant.cloud, second.tenant.cloud) == ("gcc_high", "commercial")
    assert first.stream("alert").interval == timedelta(minutes=1)
    assert second.stream("alert").interval == timedelta(minutes=10)
    assert second.stream("alert").look_back == timedelta(days=3)
    assert (first.stream("hunting").enabled, second.stream("hunting").enabled) == (None, True)
    assert second.stream("machine").enabled is False
    assert (first.hunting.api, second.hunting.api) == ("defender", "graph")
    assert (first.hunting.row_limit, second.hunting.row_limit) == (500, 500)
    assert first.elasticsearch == second.elasticsearch == settings.shared.elasticsearch


def test_each_state_lies_beside_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states(**more: Any) -> list[Any]:
        own = tenant(3, state="/elsewhere/three.sqlite3")
        return [each.state for each in load(tmp_path, tenant(1), tenant(2), own, **more).each]

    first, second, third = states(state="/var/lib/aquila/state.sqlite3")
    assert first == Path(f"/var/lib/aquila/state-{tenant(1)['id']}.sqlite3")
    assert second == Path(f"/var/lib/aquila/state-{tenant(2)['id']}.sqlite3")
    assert third == Path("/elsewhere/three.sqlite3")
    assert states(state="elasticsearch")[:2] == ["elasticsearch", "elasticsearch"]
    monkeypatch.setenv("AQUILA_STATE", "of-the-environment.db")
    assert states()[0] == Path(f"of-the-environment-{tenant(1)['id']}.db")


def test_one_tenant_may_stand_in_a_list(tmp_path: Path) -> None:
    assert load(tmp_path, tenant(1)).only().tenant.name == "Tenant 1"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"id": tenant(1)["id"].upper()}, "tenants[1].id: is the same as that of tenants[0]: "),
        ({"namespace": "tenant_1"}, "tenants[1].namespace: is the same as that of tenants[0]: "),
        ({"name": "TENANT 1"}, "tenants[1].name: is the same as that of tenants[0]: "),
        (
            {"state": f"state-{tenant(1)['id']}.sqlite3"},
            "tenants[1].state: is the same as that of tenants[0]: ",
        ),
        ({"id": "nonsense"}, "tenants[1].id: must be the tenant's GUID"),
        ({"client_secret": "geheim"}, "tenants[1]: has several credentials"),
        ({"colour": "red"}, "tenants[1].colour: is not a setting that is known"),
        ({"streams": {"alert": {"interval": "soon"}}}, "tenants[1].streams.alert.interval: "),
    ],
)
def test_what_is_wrong_with_one_is_named_with_its_line(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    file = write(tmp_path, tenant(1), tenant(2, **more), state="state.sqlite3")
    lines = enumerate(file.read_text().splitlines(), 1)
    second = [number for number, line in lines if line.startswith("- ")][1]
    text = complaint(file)
    assert said in text
    place = next(line for line in text.splitlines() if said in line)
    assert int(place.split(":")[1]) >= second


def test_a_namespace_is_not_shared_by_leaving_it_out(tmp_path: Path) -> None:
    bare = [{k: v for k, v in tenant(number).items() if k != "namespace"} for number in (1, 2, 3)]
    text = complaint(write(tmp_path, *bare))
    assert text.count("is the same as that of tenants[0]") == 2
    assert "give each tenant a namespace of its own" in text


def test_a_credential_is_needed_for_each(tmp_path: Path) -> None:
    without = {key: value for key, value in tenant(2).items() if key != "client_secret_file"}
    text = complaint(write(tmp_path, tenant(1), without))
    assert "tenants[1]: needs a credential: client_secret, client_secret_file" in text


def test_an_empty_list_is_told(tmp_path: Path) -> None:
    assert "tenants: " in complaint(write(tmp_path))


def test_one_tenant_and_a_list_do_not_go_together(tmp_path: Path) -> None:
    both = write(tmp_path, tenant(1), tenant={"id": tenant(2)["id"]})
    assert f"{both} has both tenant and tenants." in complaint(both)
    for variable in ("AQUILA_CLIENT_SECRET", "AQUILA_TENANT__API_URL"):
        text = complaint(write(tmp_path, tenant(1)), {variable: "geheim"})
        assert f"{variable} is about one tenant" in text


def test_a_tenant_is_chosen_by_its_name_or_its_id(tmp_path: Path) -> None:
    settings = load(tmp_path, tenant(1), tenant(2), tenant(3))
    assert settings.chosen(()) is settings
    by_both = settings.chosen([tenant(3)["id"].upper(), "tenant 1", "Tenant 1"])
    assert [each.tenant.name for each in by_both.each] == ["Tenant 1", "Tenant 3"]
    with pytest.raises(ConfigurationError, match="no tenant 'Tenant 9'") as unknown:
        settings.chosen(["Tenant 9"])
    assert "Tenant 1, Tenant 2, Tenant 3" in unknown.value.hint
    with pytest.raises(ConfigurationError, match="There are 3 tenants"):
        settings.only()


def test_who_installs_needs_the_namespaces_alone(tmp_path: Path) -> None:
    file = write(tmp_path, {"namespace": "a"}, {"namespace": "b", "state": "elasticsearch"})
    assert load_places(file, {}) == {"a": False, "b": True}
    assert load_engine_settings(file, ENGINE | {"AQUILA_CLIENT_ID": "x"}).url == ENGINE["ES_URL"]

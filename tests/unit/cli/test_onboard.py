"""``aquila-mde onboard`` as it is typed: what it asks, shows and answers."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from tests.plugins.simulator import StartSimulator

from aquila_mde.cli.onboard import _Shown
from aquila_mde.errors import ExitCode
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Call

AT_ONCE = Quirks(sign_in_interval=1, directory_delay=timedelta(0), credential_delay=timedelta(0))


@pytest.fixture
def server(simulator: StartSimulator) -> SimulatorServer:
    started = simulator(
        machines=1, alerts=0, actions=0, vulnerabilities=0, registered=False, quirks=AT_ONCE
    )
    started.control.expect_operator("admin")
    return started


@pytest.fixture
def config(server: SimulatorServer, tmp_path: Path) -> Path:
    file = tmp_path / "aquila.yml"
    file.write_text(yaml.safe_dump(server.settings()))
    return file


def test_for_a_program_it_is_one_value(call: Call, server: SimulatorServer, config: Path) -> None:
    done = call("onboard", "-c", config, "--json", "--credential", "file", "--valid-for", "30d")
    assert done.code == ExitCode.OK
    told = json.loads(done.out)
    assert told["applied"]
    assert told["tenant_id"] == server.tenant_id
    assert told["credential"]["kind"] == "file"
    assert set(told["permissions"].values()) == {True}
    assert "with the code" in done.err
    assert yaml.safe_load(config.read_text())["tenant"]["client_id"] == told["client_id"]


def test_who_says_no_changes_nothing(
    call: Call, server: SimulatorServer, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    before = config.read_bytes()
    done = call("onboard", "-c", config)
    assert done.code == ExitCode.OK
    assert "+ application" in done.out
    assert server.control.directory()["applications"] == []
    assert config.read_bytes() == before


def test_who_waits_in_vain_is_told_the_link(
    call: Call, server: SimulatorServer, config: Path
) -> None:
    done = call("onboard", "-c", config, "--no-consent", "--wait", "1s", "--json")
    assert done.code == ExitCode.PERMISSION
    link = json.loads(done.out)["consent_link"]
    assert link.startswith(f"{server.url}/{server.tenant_id}/adminconsent?client_id=")
    assert link in done.err
    assert "✗" not in done.err


@pytest.mark.parametrize(
    ("options", "text", "said"),
    [
        (("--valid-for", "soon"), "", "--valid-for must be a duration"),
        (("--wait", "1"), "", "--wait must be a duration"),
        (("--credential", "paper"), "", "paper"),
        ((), "tenant: {colour: red}", "tenant.colour"),
        ((), "tenant: {client_secret: a, certificate: b}", "has several credentials"),
        (
            (),
            "streams: {alert: {enabled: false}, machine: {enabled: false}, "
            "machine_action: {enabled: false}, vulnerability: {enabled: false}}",
            "Every stream is turned off",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anybody_signs_in(
    call: Call, tmp_path: Path, options: tuple[str, ...], text: str, said: str
) -> None:
    file = tmp_path / "aquila.yml"
    file.write_text(text)
    done = call("onboard", "-c", file, *options)
    assert done.code == ExitCode.SETTINGS
    assert said in done.err


def test_a_folder_that_cannot_be_written_is_found_out_first(call: Call, tmp_path: Path) -> None:
    done = call("onboard", "-c", tmp_path / "missing" / "aquila.yml")
    assert done.code == ExitCode.ENVIRONMENT
    assert "missing" in done.err


def test_a_secret_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    _Shown(print, ask=False).secret("AQUILA_CLIENT_SECRET", "abc8Q~password=x")
    assert capsys.readouterr().out.endswith("\nAQUILA_CLIENT_SECRET=abc8Q~password=x\n")

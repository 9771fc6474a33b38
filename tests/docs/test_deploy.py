"""What is shipped to run a collector with names what there is."""

from __future__ import annotations

import configparser
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from aquila_mde.cli import app
from aquila_mde.collect.report import StreamReport
from aquila_mde.collect.telemetry import Readings, Telemetry
from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree

DEPLOY = PackageTree.default().root / "deploy"
UNIT = DEPLOY / "systemd" / "aquila-mde.service"
RULES = DEPLOY / "prometheus" / "rules.yml"


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    class Repeated(dict[str, Any]):
        """Keeps every value of a key that is given several times."""

        def __setitem__(self, key: str, value: Any) -> None:
            if isinstance(value, list) and key in self:
                value = [*self[key], *value]
            super().__setitem__(key, value)

    parser = configparser.ConfigParser(
        interpolation=None, strict=False, dict_type=Repeated, delimiters=("=",)
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def test_the_service_runs_a_command_that_there_is(unit: configparser.ConfigParser) -> None:
    program, command, *options = unit["Service"]["ExecStart"].split()
    assert program.endswith("/aquila-mde")
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    spelled = {each for parameter in known.params for each in parameter.opts}
    assert {each for each in options if each.startswith("--")} <= spelled
    assert "-HUP" in unit["Service"]["ExecReload"]


def test_what_only_a_person_can_mend_is_not_tried_again(unit: configparser.ConfigParser) -> None:
    codes = {int(code) for code in unit["Service"]["RestartPreventExitStatus"].split()}
    assert codes == {ExitCode.SETTINGS, ExitCode.ENVIRONMENT}


def test_the_service_has_no_rights(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    for name in ("PrivateUsers", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "LockPersonality"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


def test_every_metric_of_an_alert_is_shown() -> None:
    telemetry = Telemetry("t", {"alert": timedelta(minutes=5)})
    telemetry.watch(Readings(lambda: 0, lambda: {"/api": 1}, 1.0), {"alert": 0.0})
    telemetry.passed(StreamReport("alert", 1, 1, 0, 0, 1, 1.0, True), began=0.0, retries=0)
    shown = {sample.name for family in telemetry.registry.collect() for sample in family.samples}
    rules = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    named = {name for rule in rules for name in re.findall(r"aquila_mde_\w+", rule["expr"])}
    assert len(named) > 4
    assert named <= shown
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for rule in rules:
        assert set(rule["annotations"]) == {"summary", "description"}
        told = re.findall(r"aquila-mde (\w+)", rule["annotations"]["description"])
        assert set(told) <= commands


def _checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_prometheus_takes_the_rules() -> None:
    _checked("promtool", "check", "rules", str(RULES))


@pytest.mark.systemd
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    # The program need not be installed where the unit says.
    text = UNIT.read_text(encoding="utf-8").replace("/opt/aquila-mde/bin/aquila-mde", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text, encoding="utf-8")
    _checked("systemd-analyze", "verify", str(copy))

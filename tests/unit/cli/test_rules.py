"""The rules as a file for Kibana, and what an engine finds by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Call

from aquila_mde.errors import ExitCode
from aquila_mde.rules.load import load_rules
from aquila_mde.streams.tree import PackageTree

NAMES = [rule.name for rule in load_rules(PackageTree.default())]


def test_all_rules_are_exported_as_the_package_has_them_and_switched_off(call: Call) -> None:
    lines = [json.loads(line) for line in call("rules", "export").out.splitlines()]
    assert [line["rule_id"] for line in lines] == [f"aquila_mde-{name}" for name in NAMES]
    for line in lines:
        assert line.pop("enabled") is False
        file = f"kibana/security_rule/{line['rule_id']}_{line['version']}.json"
        saved = json.loads((PackageTree.default().package / file).read_text())
        assert saved["attributes"] == line


def test_one_rule_is_exported_to_a_file_and_switched_on(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "new" / "rules.ndjson"
    called = call("rules", "export", "-r", "isolation_released", "--enabled", "--output", file)
    assert (called.code, called.out) == (0, f"written: {file}\n")
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["enabled"] is True
    assert json.loads(line)["type"] == "eql"


@pytest.mark.parametrize("command", ["export", "try"])
def test_a_rule_that_does_not_exist_is_told_with_those_that_do(call: Call, command: str) -> None:
    called = call("rules", command, "--rule", "gone")
    assert called.code == ExitCode.SETTINGS
    assert "there is no rule gone" in called.err
    assert "isolation_released" in called.err


def test_a_time_that_is_none_is_told(call: Call) -> None:
    called = call("rules", "try", "--last", "soon")
    assert called.code == ExitCode.SETTINGS
    assert "--last" in called.err


SIGMA = """\
title: Test
logsource: {product: windows, category: process_creation}
detection:
  selection: {FileName: cmd.exe}
  condition: selection
"""


def test_a_sigma_rule_becomes_a_query_or_a_rule(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "rule.yml"
    file.write_text(SIGMA)
    called = call("rules", "sigma", file, "--target", "eql")
    assert called.code == 0
    assert called.out == (
        'any where mde.hunting.table:"DeviceProcessEvents" and process.name regex~ '
        '"[cC][mM][dD]\\\\.[eE][xX][eE]"\n'
    )
    called = call("rules", "sigma", file, "--ndjson")
    assert json.loads(called.out)["name"] == "Test"
    file.write_text(SIGMA.replace("FileName", "FileTitle"))
    called = call("rules", "sigma", file)
    assert called.code == ExitCode.SETTINGS
    assert "FileTitle" in called.err


def test_the_pipeline_is_printed_for_sigma_cli(call: Call) -> None:
    called = call("rules", "sigma", "--pipeline")
    text = (PackageTree.default().package / "sigma" / "aquila_mde.yml").read_text()
    assert (called.code, called.out) == (0, text)


def test_a_sigma_rule_has_to_be_named(call: Call) -> None:
    called = call("rules", "sigma")
    assert called.code == ExitCode.SETTINGS
    assert "name at least one file" in called.err

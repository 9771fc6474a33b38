from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml
from tests.unit.cli.conftest import Call

from aquila_mde.errors import ExitCode
from aquila_mde.settings import load_settings

SMALL = ("--machines", 3, "--alerts", 2, "--actions", 1, "--vulnerabilities", 5)


def test_it_prints_a_settings_file_that_reaches_it(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start("simulate", *SMALL)
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("# and say"):
        lines.append(process.stdout.readline())
    file = tmp_path / "aquila.yml"
    file.write_text("".join(lines))
    tenant = load_settings(file, {"ES_URL": "http://127.0.0.1:9200"}).only().tenant
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{tenant.api_url}/_control/truth", trust_env=False)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert not Path(str(tenant.ca_file)).exists()


def test_for_programs_it_prints_json_and_plays_faults(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('[{"where": "/api/alerts", "what": "status", "status": 503}]')
    process = start("simulate", *SMALL, "--json", "--faults", plan, "--activity", 0)
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        text += process.stdout.readline()
    answer = json.loads(text)
    assert answer.keys() == {"url", "settings"}
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert yaml.safe_load(json.dumps(answer["settings"]))["tenant"]["api_url"] == answer["url"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        ("nonsense", "is not a plan of faults"),
        ('[{"where": "/api/alerts", "what": "thunder"}]', "thunder"),
    ],
)
def test_a_plan_that_is_none_is_told(
    call: Call, tmp_path: Path, content: str | None, complaint: str
) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_text(content)
    answer = call("simulate", *SMALL, "--faults", file)
    assert answer.code == ExitCode.SETTINGS
    assert str(file) in answer.err
    assert complaint in answer.err

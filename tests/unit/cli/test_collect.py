"""``collect`` and ``run`` as a user meets them; what they do is tested with the collector."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.conftest import Call

from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.errors import AquilaError, ConfigurationError, ExitCode
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree


@pytest.fixture(scope="module")
def tenant() -> Iterator[SimulatorServer]:
    with SimulatorServer(
        machines=20, alerts=30, actions=10, vulnerabilities=50, activity=0, running=True
    ) as server:
        yield server


@pytest.fixture
def settings(tenant: SimulatorServer, engine_url: str, namespace: str, tmp_path: Path) -> Path:
    values: dict[str, Any] = tenant.settings()
    values["tenant"]["namespace"] = namespace
    values["elasticsearch"] = {"url": engine_url}
    values["state"] = str(tmp_path / "state.sqlite3")
    file = tmp_path / "aquila.yml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_install_collect_status_uninstall(
    call: Call, tree: PackageTree, settings: Path, tenant: SimulatorServer
) -> None:
    assert call("install", "-c", settings).code == 0
    first = call("collect", "--config", settings, "--json")
    assert first.code == 0, first.err
    reports = {report["stream"]: report for report in json.loads(first.out)["streams"]}
    truth = tenant.control.truth()
    assert {name: report["created"] for name, report in reports.items()} == {
        name: counted["versions"] for name, counted in truth.items()
    }
    assert all(report["complete"] and report["error"] is None for report in reports.values())

    again = call("collect", "-c", settings, "--stream", "alert", "--stream", "machine")
    assert again.code == 0, again.err
    names, created = zip(*(line.split()[:3:2] for line in again.out.splitlines()[1:]), strict=True)
    assert (names, created) == (("alert", "machine"), ("0", "0"))

    streams = json.loads(call("status", "-c", settings, "--json").out)["streams"]
    assert {each["stream"]: each["delivered"] for each in streams} == {
        name: counted["versions"] for name, counted in truth.items()
    }
    assert call("uninstall", "-c", settings, "--delete-data").code == 0
    everything = first.out + first.err + again.out + again.err
    assert tenant.client_secret not in everything


def test_a_stream_that_is_not_there_is_named(call: Call, tree: PackageTree, settings: Path) -> None:
    answer = call("collect", "-c", settings, "--stream", "alarm")
    assert answer.code == ExitCode.SETTINGS
    assert "'alarm'" in answer.err
    assert "machine_action" in answer.err


class Reporting:
    """A collector that has these reports to give."""

    def __init__(self, *reports: StreamReport) -> None:
        self._reports = list(reports)
        self.latest = self.health = self

    async def __aenter__(self) -> Reporting:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def try_update(self) -> None:
        return

    async def write(self) -> None:
        return

    async def collect(self, _names: object) -> list[StreamReport]:
        return self._reports


def report(stream: str, *, dead: int = 0, error: AquilaError | None = None) -> StreamReport:
    return StreamReport(stream, 3, 2, 1 - dead, dead, 1, 0.25, error is None, error)


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def reporting(*reports: StreamReport) -> None:
        async def opened(*_: object, **__: object) -> Reporting:
            return Reporting(*reports)

        monkeypatch.setattr(Collector, "open", opened)

    return reporting


def test_dead_letters_have_an_exit_code(
    call: Call, settings: Path, reporting: Callable[..., None]
) -> None:
    reporting(report("alert", dead=1))
    assert call("collect", "-c", settings).code == ExitCode.DEAD_LETTERS


def test_the_first_error_decides_and_all_are_told(
    call: Call, settings: Path, reporting: Callable[..., None]
) -> None:
    class RefusedError(ConfigurationError):
        exit_code = ExitCode.PERMISSION

    refused = RefusedError("The role is missing.", hint="Grant it.", stream="alert")
    reporting(report("alert", error=refused), report("machine", dead=1, error=AquilaError("Odd.")))
    answer = call("collect", "-c", settings)
    assert answer.code == ExitCode.PERMISSION
    assert answer.err.endswith(
        "Error: The role is missing. (stream alert)\nGrant it.\nError: Odd.\n"
    )
    assert answer.out.splitlines()[1].split() == ["alert", "3", "2", "1", "0", "1", "0.2"]
    as_json = call("collect", "-c", settings, "--json")
    assert as_json.code == ExitCode.PERMISSION
    assert json.loads(as_json.out)["streams"][0]["error"] == {
        "message": "The role is missing.",
        "hint": "Grant it.",
        "exit_code": 4,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_collector_stops_cleanly(
    start: Callable[..., subprocess.Popen[str]],
    call: Call,
    tree: PackageTree,
    settings: Path,
    number: signal.Signals,
) -> None:
    assert call("install", "-c", settings).code == 0
    process = start(
        "run",
        "--config",
        settings,
        code="from pathlib import Path; from aquila_mde.streams.tree import PackageTree; "
        f"PackageTree.default = classmethod(lambda cls: cls(Path({str(tree.root)!r})))",
    )
    assert process.stderr is not None
    ended: set[str] = set()
    messages: list[str] = []
    while len(ended) < 4:
        event = json.loads(process.stderr.readline())
        messages.append(event["message"])
        if event["message"] == "Pass ended":
            assert "error" not in event, event
            ended.add(event["aquila"]["stream"])
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    messages += [json.loads(line)["message"] for line in err.splitlines()]
    assert messages[0] != "Stopped"
    # The health is kept under the package's own name, for which this engine may have no template.
    messages = [each for each in messages if not each.startswith("The health of the collector")]
    assert messages[-2:] == ["Stopping after the page under way", "Stopped"]
    assert call("uninstall", "-c", settings, "--delete-data").code == 0

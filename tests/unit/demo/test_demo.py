"""The whole demonstration, small, as a user starts it; and a tenant that does not start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from aquila_mde.collect.runner import StreamReport
from aquila_mde.demo import Comparison, Demo, StreamResult, TenantSize, TenantStartError
from aquila_mde.demo.run import DemoReport, _without_errors
from aquila_mde.demo.tenant import TenantProcess
from aquila_mde.engine import EngineStartError
from aquila_mde.errors import AquilaError

STREAMS = ("alert", "machine", "machine_action", "vulnerability")


def test_the_demonstration_ends_well_and_keeps_its_engine(tmp_path: Path) -> None:
    summary = tmp_path / "deep" / "summary.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from aquila_mde.cli import main; main()", "demo"),
            *("--machines=20", "--alerts=40", "--actions=15", "--vulnerabilities=200"),
            *("--keep", f"--summary={summary}", f"--page={tmp_path / 'deep' / 'page.html'}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith("The engine stays at "):
            lines.append(process.stdout.readline())
        url = lines[-1].split()[4]
        health = httpx.get(f"{url}/_cluster/health", trust_env=False, timeout=30)
        assert health.status_code == 200, lines
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    with pytest.raises(httpx.TransportError):
        httpx.get(url, trust_env=False)

    text = "".join(lines)
    assert text.count("An example from ") == 2
    decode = json.JSONDecoder().raw_decode
    documents = [decode(part[part.index("{") :])[0] for part in text.split("An example from ")[1:]]
    assert [each["event"]["kind"] for each in documents] == ["alert", "state"]
    assert "in tenant" in text
    assert "The second collection brought 0 new documents.\n" in text

    assert f"What the dashboards show is in {tmp_path / 'deep' / 'page.html'}" in text
    assert '"title":"Collector health"' in (tmp_path / "deep" / "page.html").read_text()
    written = json.loads(summary.read_text())
    assert set(written) == {"engine", "streams", "hunting", "second_pass"}
    assert written["hunting"]["rows"] > 100
    assert written["hunting"]["created_again"] == 0
    assert f"The hunting queries gave {written['hunting']['rows']:,} rows, and 0 new" in text
    assert tuple(written["streams"]) == STREAMS
    for numbers in written["streams"].values():
        assert numbers["tenant"] == numbers["indexed"] > 0
        assert numbers["duplicates"] == numbers["failed"] == numbers["missing"] == 0
        assert numbers["seconds"] > 0
    assert written["streams"]["alert"]["tenant"] == 40
    assert [each["created"] for each in written["second_pass"].values()] == [0, 0, 0, 0]


def report(created: int = 0, error: AquilaError | None = None) -> StreamReport:
    return StreamReport("alert", 1, created, 0, 0, 1, 0.5, error is None, error)


@pytest.mark.parametrize(
    ("changes", "again", "perfect"),
    [
        ({}, 0, True),
        ({}, 1, False),
        ({"missing": 1}, 0, False),
        ({"duplicates": 1}, 0, False),
        ({"failed": 1}, 0, False),
        ({"unknown": 1}, 0, False),
    ],
)
def test_a_demonstration_is_perfect_only_without_a_flaw(
    changes: dict[str, int], again: int, perfect: bool
) -> None:
    compared = Comparison(
        **{"tenant": 1, "indexed": 1, "missing": 0, "duplicates": 0, "unknown": 0, "failed": 0}
        | changes
    )
    done = DemoReport({}, {"alert": StreamResult(compared, report(1), report(again))})
    assert done.perfect is perfect


@pytest.mark.parametrize(("again", "perfect"), [(0, True), (1, False)])
def test_a_row_that_a_query_gave_twice_is_a_flaw(again: int, perfect: bool) -> None:
    assert DemoReport({}, hunting=[report(5), report(again)]).perfect is perfect


def test_an_error_of_a_stream_ends_the_demonstration() -> None:
    wrong = AquilaError("wrong")
    with pytest.raises(AquilaError) as raised:
        _without_errors([report(), report(error=wrong)])
    assert raised.value is wrong


def test_a_tenant_that_does_not_start_says_why() -> None:
    tenant = TenantProcess(TenantSize(machines="many"))  # type: ignore[arg-type]
    try:
        with pytest.raises(TenantStartError, match="invalid int value: 'many'"):
            tenant.wait()
    finally:
        tenant.stop()


def test_a_tenant_tells_the_truth_until_it_is_stopped() -> None:
    tenant = TenantProcess(TenantSize(machines=3, alerts=5, actions=0, vulnerabilities=0))
    try:
        tenant.wait()
        assert len(tenant.versions("alert")) == 5
        assert {len(version) for version in tenant.versions("alert")} == {3}
    finally:
        tenant.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(tenant.url, trust_env=False)


def test_an_engine_that_does_not_start_leaves_no_tenant_behind() -> None:
    demo = Demo(
        TenantSize(machines=1, alerts=0, actions=0, vulnerabilities=0), tell=print, heap="999999g"
    )
    with pytest.raises(EngineStartError), demo:
        pass
    assert demo._tenant._process.poll() is not None

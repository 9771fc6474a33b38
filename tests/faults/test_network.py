"""A network that leads nowhere, or to somebody else: one error says so, and nothing is lost."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trustme
from tests.faults.parts import SIZES, MakeJob, all_is_there, one_pass, told
from tests.plugins.tally import Tally

from aquila_mde.elastic.errors import EngineUnavailableError
from aquila_mde.errors import ExitCode
from aquila_mde.simulator.faults import Fault


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("setting", ["api_url", "sign_in_url"])
async def test_a_name_that_does_not_resolve(job: MakeJob, setting: str, tally: Tally) -> None:
    work = job(**SIZES)
    report = (await one_pass(work, "alert", **{setting: "https://defender.invalid"}))["alert"]
    said = told(report, ExitCode.DEFENDER)
    assert "The name defender.invalid cannot be resolved" in said
    assert "DNS of this machine" in said
    tally.fault("network unknown name")
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_a_certificate_of_an_authority_that_is_not_trusted(
    job: MakeJob, tmp_path: Path, tally: Tally
) -> None:
    work = job(**SIZES)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    report = (await one_pass(work, "alert", ca_file=str(other)))["alert"]
    said = told(report, ExitCode.DEFENDER)
    assert "is not trusted" in said
    assert "AQUILA_CA_FILE" in said
    tally.fault("network certificate not trusted")
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_a_port_at_which_nobody_listens(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    host = f"127.0.0.1:{closed_port()}"
    report = (await one_pass(work, "alert", api_url=f"https://{host}"))["alert"]
    said = told(report, ExitCode.DEFENDER)
    assert f"{host} refuses the connection" in said
    tally.fault("network closed port")
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_an_engine_whose_name_does_not_resolve(job: MakeJob, tally: Tally) -> None:
    work = job(**SIZES)
    section = {"url": "http://engine.invalid:9200"}
    with pytest.raises(EngineUnavailableError, match="engine.invalid:9200 is not known") as raised:
        await one_pass(work, "alert", elasticsearch=section)
    assert raised.value.exit_code is ExitCode.ENGINE
    assert "the DNS of this machine" in raised.value.hint
    assert work.simulator.control.requests == []
    tally.fault("network unknown name")
    await work.collect("alert")
    await all_is_there(work, ["alert"])


async def test_the_page_of_a_proxy_that_stays_is_named(job: MakeJob) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([Fault("/api/alerts", "html", when="always")])
    report = (await one_pass(work, "alert"))["alert"]
    assert report.error is not None
    assert "answered with text/html (HTTP 200), not with the JSON asked for" in str(report.error)
    assert "A proxy or a sign-in page of the network may stand in between" in str(report.error)
    work.simulator.control.set_faults([])
    await work.collect("alert")
    await all_is_there(work, ["alert"])


@pytest.mark.parametrize("where", ["/api/", "file"])
async def test_a_slow_body_is_waited_for(job: MakeJob, where: str) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([Fault(where, "slow", seconds=0.3, times=2)])
    await work.collect()
    assert work.simulator.control.faults_left == []
    await all_is_there(work)


@pytest.mark.parametrize("what", ["reset", "short"])
async def test_a_connection_that_always_breaks_is_an_error_and_then_made_up_for(
    job: MakeJob, what: str
) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([Fault("/api/machines", what, when="always")])  # type: ignore[arg-type]
    reports = await one_pass(work, "machine", "alert")
    assert reports["alert"].error is None
    error = reports["machine"].error
    assert error is not None
    assert "broke off" in error.message
    assert "firewall, proxy" in error.hint
    work.simulator.control.set_faults([])
    await work.collect()
    await all_is_there(work)

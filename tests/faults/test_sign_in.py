"""Tokens, roles and secrets that end while a collector is at work."""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.parts import SIZES, MakeJob, all_is_there, one_pass, told
from tests.system.conftest import STREAMS, Job

from aquila_mde.defender.errors import PermissionDeniedError, SignInError
from aquila_mde.errors import ExitCode
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks


def with_secret(work: Job, secret: str) -> None:
    """From now on the settings hold another secret."""
    settings = work.simulator.settings()
    tenant: dict[str, Any] = settings["tenant"] | {"client_secret": secret}
    work.simulator.settings = lambda: {  # type: ignore[method-assign]
        **settings,
        "tenant": dict(tenant),
    }


async def test_a_token_revoked_in_mid_page_is_renewed(job: MakeJob) -> None:
    work = job(**SIZES, quirks=Quirks(page_cap=20))
    control = work.simulator.control
    reports = await one_pass(work, at_first=control.revoke_tokens)
    assert [report.error for report in reports.values()] == [None] * 4
    refused = [request for request in control.requests if request.status == 401]
    assert 1 <= len(refused) <= len(STREAMS)
    await all_is_there(work)


async def test_a_role_removed_in_mid_run_stops_its_streams_until_it_is_granted_again(
    job: MakeJob,
) -> None:
    work = job(**SIZES)
    control = work.simulator.control
    await work.collect("machine", "machine_action")
    control.remove_role("Alert.Read.All")
    reports = await one_pass(work)
    said = told(reports["alert"])
    assert isinstance(reports["alert"].error, PermissionDeniedError)
    assert "Alert.Read.All" in said
    assert "grant admin consent" in said
    assert [reports[name].error for name in STREAMS if name != "alert"] == [None] * 3
    await all_is_there(work, [name for name in STREAMS if name != "alert"])
    control.grant_role("Alert.Read.All")
    await work.collect()
    await all_is_there(work)


async def test_a_secret_that_expires_in_mid_run(job: MakeJob) -> None:
    work = job(**SIZES, quirks=Quirks(page_cap=20))
    control = work.simulator.control

    def expire() -> None:
        control.expire_secret()
        control.revoke_tokens()

    reports = await one_pass(work, "alert", at_first=expire)
    assert isinstance(reports["alert"].error, SignInError)
    assert reports["alert"].error.exit_code is ExitCode.SIGN_IN
    said = told(reports["alert"])
    assert "AADSTS7000222" in said
    assert work.simulator.client_secret not in said
    with_secret(work, control.new_secret())
    await work.collect()
    await all_is_there(work)


@pytest.mark.parametrize("what", ["reset", "short", "html", "empty", "truncated"])
async def test_a_sign_in_service_that_stumbles_is_asked_again(job: MakeJob, what: Any) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([Fault("token", what, times=2)])
    await work.collect("alert")
    assert work.simulator.control.faults_left == []
    await all_is_there(work, ["alert"])


async def test_a_sign_in_service_that_is_away(job: MakeJob) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults([Fault("token", "status", status=503, when="always")])
    said = told((await one_pass(work, "alert"))["alert"])
    assert "503" in said
    work.simulator.control.set_faults([])
    await work.collect("alert")
    await all_is_there(work, ["alert"])

"""From an empty tenant to a collector that collects, by one command and one device code."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aquila_mde.defender.errors import SignInError
from aquila_mde.errors import ExitCode
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.graph_apis import DEFENDER, MICROSOFT_GRAPH
from aquila_mde.simulator.quirks import Quirks
from tests.plugins.simulator import StartSimulator
from tests.system.conftest import STREAMS, Job
from tests.system.onboarding import NEEDED, PROGRAM, Desk

QUICK = Quirks(
    sign_in_interval=1,
    directory_delay=timedelta(seconds=0.8),
    credential_delay=timedelta(seconds=0.8),
)
OpenDesk = Callable[..., Desk]


@pytest.fixture
def desk(simulator: StartSimulator, tmp_path: Path) -> Iterator[OpenDesk]:
    """Opens a desk in front of a tenant in which nothing is registered; at the end no secret was
    told by any run."""
    opened: list[Desk] = []

    def start(sections: dict[str, Any] | None = None, **options: Any) -> Desk:
        options = {"registered": False, "quirks": QUICK, "activity": 0} | options
        opened.append(Desk.of(simulator(**options), tmp_path, **(sections or {})))
        return opened[-1]

    yield start
    for each in opened:
        each.close()
        each.no_secret_was_told()


def consent_by(run_output: str, desk: Desk) -> None:
    """Somebody opens the link that was printed, and accepts."""
    link = re.findall(r"https://\S+/adminconsent\?\S+", run_output)[0]
    trust = ssl.create_default_context(cafile=str(desk.server.ca_file))
    with httpx.Client(verify=trust, trust_env=False) as browser:
        assert "AADSTS500113" in browser.post(link).raise_for_status().text


@pytest.mark.parametrize("consented_by", ["the operator", "somebody else, later"])
async def test_from_an_empty_tenant_to_documents(
    job: Callable[..., Job], tmp_path: Path, consented_by: str
) -> None:
    sizes = {"machines": 20, "alerts": 30, "actions": 10, "vulnerabilities": 100}
    work = job(**sizes, registered=False, quirks=QUICK)
    values = work.values()
    values["tenant"].pop("id", None)
    sections = {key: value for key, value in values.items() if key != "tenant"}
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk.of(work.simulator, folder, **sections)
    desk.config.write_text(
        desk.config.read_text().replace(
            "tenant:\n", f"tenant:\n  namespace: {work.namespace}  # ours\n"
        )
    )
    run = desk.start()
    if consented_by == "the operator":
        work.simulator.control.approve_sign_in(run.code(), "admin")
    else:
        work.simulator.control.approve_sign_in(run.code(), "registrar")
        consent_by(run.until("/adminconsent?"), desk)
    assert run.end().exit_code == ExitCode.OK, run.output
    assert [line.split() for line in run.output.splitlines() if "✓" in line] == [
        ["✓", name] for name in NEEDED
    ]
    done = subprocess.run(
        [PROGRAM, "collect", "--config", desk.config], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.OK, done.stderr
    for stream in STREAMS:
        assert (await work.compare(stream)).perfect
    assert f"namespace: {work.namespace}  # ours" in desk.config.read_text()
    desk.close()
    desk.no_secret_was_told()


def test_the_second_run_changes_nothing(desk: OpenDesk) -> None:
    me = desk()
    first = me.onboard()
    assert first.exit_code == ExitCode.OK, first.output
    before = me.server.control.directory()
    files = {file: file.read_bytes() for file in me.folder.iterdir()}
    me.server.control.clear_requests()
    again = me.onboard()
    assert again.exit_code == ExitCode.OK, again.output
    assert "Nothing has to be changed." in again.output
    assert me.server.control.directory() == before
    assert {file: file.read_bytes() for file in me.folder.iterdir()} == files
    graph = [r for r in me.server.control.requests if r.path.startswith("/v1.0/")]
    assert {request.method for request in graph} == {"GET"}


def test_what_is_made_is_no_more_than_what_is_needed(desk: OpenDesk) -> None:
    me = desk({"streams": {"vulnerability": {"enabled": False}}})
    run = me.onboard()
    assert run.exit_code == ExitCode.OK, run.output
    made = me.application()
    assert made["signInAudience"] == "AzureADMyOrg"
    assert made["passwordCredentials"] == []
    ids = me.server.control._directory.role_ids
    (asked,) = made["requiredResourceAccess"]
    wanted = {ids["Alert.Read.All"], ids["Machine.Read.All"]}
    assert {role["id"] for role in asked["resourceAccess"]} == wanted
    granted = me.server.control.directory()["appRoleAssignments"]
    assert {each["appRoleId"] for each in granted} == wanted


@pytest.mark.parametrize("kind", ["certificate", "file", "keyring"])
async def test_a_rotation_leaves_no_moment_without_a_credential(desk: OpenDesk, kind: str) -> None:
    me = desk()
    assert me.onboard("--credential", kind).exit_code == ExitCode.OK, me.runs[0].output
    with pytest.MonkeyPatch.context() as patch:
        for name, value in me.variables.items():
            patch.setenv(name, value)
        # As it was: read again it would be the new one.
        old, before = replace(me.credential(), origin=None), me.application()
        if kind == "certificate":
            kept = me.folder / "kept"
            kept.write_bytes((me.folder / "aquila.pem").read_bytes())
            old = replace(old, certificate=kept)
        running = me.tokens()
        me.server.control.expect_operator("admin")
        run, got = me.start("--rotate"), 0
        while run.running:
            running.invalidate(await running.token())
            got += 1
            await asyncio.sleep(0.05)  # leaves the other process some of the machine
        assert run.end().exit_code == ExitCode.OK, run.output
        assert got > 1
        with pytest.raises(SignInError) as refused:
            await me.tokens(old).token()
        assert refused.value.code in {7000215, 700027}
        assert (await me.tokens().token()).roles == set(NEEDED)
    after = me.application()
    for name in ("passwordCredentials", "keyCredentials"):
        assert len(after[name]) == len(before[name])
        ids = {key["keyId"] for key in after[name]} & {key["keyId"] for key in before[name]}
        assert ids == set()
    assert not list(me.folder.glob("*.new")) + list(me.folder.glob("*.old"))


def test_a_dry_run_changes_nothing(desk: OpenDesk) -> None:
    me = desk()
    before = me.config.read_bytes()
    run = me.onboard("--dry-run", operator="reader")
    assert run.exit_code == ExitCode.OK
    assert "+ application Aquila MDE collector" in run.output
    assert "+ admin consent to Alert.Read.All" in run.output
    assert me.server.control.directory()["applications"] == []
    assert me.config.read_bytes() == before
    assert list(me.folder.iterdir()) == [me.config]


def test_an_operator_without_rights(desk: OpenDesk) -> None:
    me = desk()
    run = me.onboard(operator="reader")
    assert run.exit_code == ExitCode.PERMISSION
    assert "Cloud Application Administrator" in run.output
    assert me.server.control.directory()["applications"] == []


def test_a_tenant_without_defender(desk: OpenDesk) -> None:
    me = desk(licensed=False)
    run = me.onboard()
    assert run.exit_code == ExitCode.DEFENDER
    assert "Defender for Endpoint licence" in run.output
    assert me.server.control.directory()["applications"] == []


def test_a_sign_in_that_is_declined(desk: OpenDesk) -> None:
    me = desk()
    run = me.start()
    me.server.control.decline_sign_in(run.code())
    assert run.end().exit_code == ExitCode.SIGN_IN
    assert "declined" in run.output


def test_a_sign_in_that_comes_too_late(desk: OpenDesk) -> None:
    me = desk()
    run = me.start()
    run.code()
    me.server.control.advance(timedelta(minutes=16))
    assert run.end().exit_code == ExitCode.SIGN_IN
    assert "new code" in run.output


def test_a_graph_that_is_busy(desk: OpenDesk) -> None:
    busy = {"status": 429, "headers": {"Retry-After": "1"}}
    me = desk(
        faults=[
            Fault("/v1.0/servicePrincipals", "status", status=503),
            Fault("/v1.0/applications", "status", **busy, when=2, times=2),
            Fault("/v1.0/servicePrincipals", "reset", when=3),
            Fault("/v1.0/servicePrincipals", "status", **busy, when=6, times=2),
        ]
    )
    run = me.onboard()
    assert run.exit_code == ExitCode.OK, run.output
    assert me.server.control.faults_left == []
    assert len(me.application()["keyCredentials"]) == 1


def test_an_answer_that_is_lost_makes_no_second_application(desk: OpenDesk) -> None:
    me = desk(faults=[Fault("/v1.0/applications", "reset", when=2)])
    run = me.onboard()
    assert run.exit_code == ExitCode.DEFENDER
    assert "Run the command again" in run.output
    again = me.onboard()
    assert again.exit_code == ExitCode.OK, again.output
    assert me.application()["displayName"] == "Aquila MDE collector"


@pytest.mark.parametrize(
    "after",
    [
        "Registering the application",
        "Making its service principal",
        "Making a key",
        "Waiting until it signs in",
    ],
)
def test_a_run_that_was_killed_is_gone_on_with(desk: OpenDesk, after: str) -> None:
    me = desk(quirks=Quirks(sign_in_interval=1, directory_delay=timedelta(seconds=0.2)))
    me.server.control.expect_operator("admin")
    run = me.start()
    run.until(after)
    run.signal(signal.SIGKILL)
    run.end()
    again = me.start().end()
    assert again.exit_code == ExitCode.OK, again.output
    assert len(me.application()["keyCredentials"]) == 1
    assert not list(me.folder.glob("*.new"))


def test_a_rotation_that_was_killed_is_gone_on_with(desk: OpenDesk) -> None:
    me = desk()
    me.server.control.expect_operator("admin")
    me.onboard(operator=None)
    (before,) = me.application()["keyCredentials"]
    run = me.start("--rotate")
    run.until("Waiting until it signs in")
    run.signal(signal.SIGKILL)
    run.end()
    assert len(me.application()["keyCredentials"]) == 2
    again = me.onboard(operator=None)
    assert again.exit_code == ExitCode.OK, again.output
    (after,) = me.application()["keyCredentials"]
    assert after["keyId"] != before["keyId"]


def test_waiting_for_consent_can_be_interrupted(desk: OpenDesk) -> None:
    me = desk()
    run = me.start()
    me.server.control.approve_sign_in(run.code(), "registrar")
    run.until("Waiting for it")
    run.signal(signal.SIGINT)
    assert run.end().exit_code == 130
    assert "goes on" in run.output
    before = me.application()
    late = me.onboard("--wait", "1s", operator="registrar")
    assert late.exit_code == ExitCode.PERMISSION
    assert "✗ Alert.Read.All" in late.output
    me.server.control.give_consent()
    again = me.onboard("--no-consent", operator="registrar")
    assert again.exit_code == ExitCode.OK, again.output
    assert me.application() == before


def test_a_secret_for_the_environment_is_shown_once(desk: OpenDesk) -> None:
    me = desk()
    run = me.onboard("--credential", "environment")
    assert run.exit_code == ExitCode.OK, run.output
    (secret,) = re.findall(r"^AQUILA_CLIENT_SECRET=(.+)$", run.output, re.MULTILINE)
    assert run.output.count(secret) == 1
    me.shown.add(secret)
    before = me.server.control.directory()
    without = me.onboard("--credential", "environment")
    assert without.exit_code == ExitCode.SETTINGS
    assert "--rotate" in without.output
    me.variables["AQUILA_CLIENT_SECRET"] = secret
    again = me.onboard()
    assert again.exit_code == ExitCode.OK, again.output
    assert secret not in without.output + again.output
    assert me.server.control.directory() == before
    assert secret not in me.config.read_text()


def test_an_application_of_somebody_else_only_gets_more(desk: OpenDesk) -> None:
    me = desk(registered=True, roles=["Alert.Read.All", "Software.Read.All"])
    before = me.application()
    run = me.onboard("--client-id", me.server.client_id)
    assert run.exit_code == ExitCode.OK, run.output
    assert "Software.Read.All, which no enabled stream needs" in run.output
    after = me.application()
    assert after["passwordCredentials"] == before["passwordCredentials"]
    assert after["keyCredentials"] == before["keyCredentials"]
    ids = me.server.control._directory.role_ids
    asked = {role["id"] for role in after["requiredResourceAccess"][0]["resourceAccess"]}
    assert asked == {ids[name] for name in (*NEEDED, "Software.Read.All")}


def test_an_application_that_is_not_there(desk: OpenDesk) -> None:
    me = desk()
    run = me.onboard("--client-id", "11111111-2222-4333-8444-555555555555")
    assert run.exit_code == ExitCode.SETTINGS
    assert "--client-id" in run.output
    assert me.server.control.directory()["applications"] == []


def test_the_wrong_tenant(desk: OpenDesk) -> None:
    me = desk()
    text = me.config.read_text().replace(
        "tenant:\n", "tenant:\n  id: 00000000-0000-4000-8000-000000000000\n"
    )
    me.config.write_text(text)
    run = me.onboard("--tenant", "contoso.onmicrosoft.com")
    assert run.exit_code == ExitCode.SETTINGS
    assert "admin@contoso.onmicrosoft.com" in run.output
    assert me.server.control.directory()["applications"] == []


async def test_no_thread_is_left_when_the_sign_in_is_cancelled(desk: OpenDesk) -> None:
    me = desk()
    run = me.start()
    run.code()
    run.signal(signal.SIGINT)
    done = await asyncio.to_thread(run.end)
    assert done.exit_code == 130


HUNTING = {"defender": "AdvancedQuery.Read.All", "graph": "ThreatHunting.Read.All"}


@pytest.mark.parametrize("api", ["defender", "graph"])
@pytest.mark.parametrize("consented_by", ["the operator", "somebody else, later"])
def test_hunting_that_is_switched_on_later_gets_its_permission(
    desk: OpenDesk, api: str, consented_by: str
) -> None:
    me = desk({"hunting": {"api": api}, "elasticsearch": {"url": "http://127.0.0.1:9"}})
    first = me.onboard()
    assert first.exit_code == ExitCode.OK, first.output
    assert "Hunting" not in first.output
    before = me.application()
    me.config.write_text(me.config.read_text() + "streams: {hunting: {enabled: true}}\n")
    if consented_by == "the operator":
        run = me.onboard()
    else:
        run = me.start()
        me.server.control.approve_sign_in(run.code(), "registrar")
        consent_by(run.until("/adminconsent?"), me)
        run.end()
    assert run.exit_code == ExitCode.OK, run.output
    plan = [line.split("  (")[0].strip() for line in run.output.splitlines() if "  + " in line]
    assert plan == [f"+ permission {HUNTING[api]}", f"+ admin consent to {HUNTING[api]}"]
    # Each API has its own list; what was asked for before is in it still.
    after = {each["resourceAppId"]: each for each in me.application()["requiredResourceAccess"]}
    (kept,) = before["requiredResourceAccess"]
    added = [role for api in after.values() for role in api["resourceAccess"]]
    added = [role for role in added if role not in kept["resourceAccess"]]
    ids = me.server.control._directory.role_ids
    assert added == [{"id": ids[HUNTING[api]], "type": "Role"}]
    assert set(after) == {DEFENDER} if api == "defender" else {DEFENDER, MICROSOFT_GRAPH}
    proven = {line.split()[1] for line in run.output.splitlines() if "✓" in line}
    assert proven == {*NEEDED, HUNTING[api]}
    asked = subprocess.run(
        [PROGRAM, "hunt", "DeviceInfo | take 1", "--config", me.config, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == ExitCode.OK, asked.stderr
    directory = me.server.control.directory()
    again = me.onboard()
    assert "Nothing has to be changed." in again.output
    assert me.server.control.directory() == directory


def test_the_other_api_for_hunting_leaves_the_permission_of_the_first(desk: OpenDesk) -> None:
    me = desk({"streams": {"hunting": {"enabled": True}}, "hunting": {"api": "graph"}})
    assert me.onboard().exit_code == ExitCode.OK, me.runs[0].output
    me.config.write_text(me.config.read_text().replace("api: graph", "api: defender"))
    run = me.onboard()
    assert run.exit_code == ExitCode.OK, run.output
    assert "ThreatHunting.Read.All, which no enabled stream needs" in run.output
    assert "✓ AdvancedQuery.Read.All" in run.output
    assert len(me.server.control.directory()["appRoleAssignments"]) == len(NEEDED) + 2


def test_a_tenant_that_lacks_the_permission_of_hunting(desk: OpenDesk) -> None:
    me = desk({"streams": {"hunting": {"enabled": True}}, "hunting": {"api": "graph"}})
    del me.server.control._directory.apis[1].role_ids["ThreatHunting.Read.All"]
    run = me.onboard()
    assert run.exit_code == ExitCode.SETTINGS
    assert "does not offer ThreatHunting.Read.All (Microsoft Graph)" in run.output
    assert "hunting.api" in run.output
    assert me.server.control.directory()["applications"] == []

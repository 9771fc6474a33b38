"""Each thing that can be wrong, in turn: ``check`` names exactly that one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aquila_mde.check.finding import Finding, Status, first_failed
from aquila_mde.check.run import check as look
from aquila_mde.errors import ExitCode
from aquila_mde.settings import load_settings
from aquila_mde.simulator.faults import Fault
from tests.system.conftest import STREAMS, Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")
SIZES = {"machines": 5, "alerts": 3, "actions": 2, "vulnerabilities": 20}
ALERT_CALLS = {("alert", "answer")}
Failed = set[tuple[str, str]]
MakeJob = Callable[..., Job]


async def check(work: Job, **changes: Any) -> tuple[ExitCode, list[Finding]]:
    """What ``aquila-mde check`` finds, and the exit code that it has; no secret is told."""
    settings = load_settings(work.config(**changes), environment={})
    findings = await look(settings, None, work.tree)
    for secret in (work.simulator.client_secret, "a-wrong-secret"):
        assert secret not in repr(findings)
    return first_failed(findings), findings


def wrong(findings: list[Finding], status: Status = Status.FAILED) -> Failed:
    return {(each.where, each.what) for each in findings if each.status is status}


def now_job(job: MakeJob) -> Job:
    """A tenant in which it is as late as here."""
    return job(**SIZES, now=datetime.now(UTC), running=True, quota_scale=1.0)


@dataclass
class Trouble:
    """Something that is wrong, and what of the table it makes fail."""

    failed: Failed
    hint: str
    code: ExitCode
    do: Callable[[Job], dict[str, Any] | None]
    status: Status = Status.FAILED
    said: str = ""


def _remove(role: str) -> Callable[[Job], None]:
    return lambda work: work.simulator.control.remove_role(role)


def _play(fault: Fault) -> Callable[[Job], None]:
    return lambda work: work.simulator.control.set_faults([fault])


def _expired_certificate(work: Job) -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "aquila")])
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(yesterday - timedelta(days=1))
        .not_valid_after(yesterday)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(Encoding.PEM)
    work.simulator.control.register_certificate(public)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = work.folder / "expired.pem"
    file.write_bytes(private + public)
    return {"certificate": str(file), "client_secret": None}


RETIRED = Fault(
    "/api/alerts",
    "status",
    status=200,
    when="always",
    headers={"Sunset": "Thu, 31 Dec 2026 23:59:59 GMT", "Content-Type": "application/json"},
    body='{"value": []}',
)
NOWHERE = "https://127.0.0.1:1"
EVERY_ANSWER = {(stream, "answer") for stream in STREAMS}
CASES = {
    "no permission for alerts": Trouble(
        {("alert", "permission")},
        "aquila-mde onboard",
        ExitCode.PERMISSION,
        _remove("Alert.Read.All"),
        said="Alert.Read.All",
    ),
    "no permission for machines": Trouble(
        {("machine", "permission"), ("machine_action", "permission")},
        "grant admin consent",
        ExitCode.PERMISSION,
        _remove("Machine.Read.All"),
        said="Machine.Read.All",
    ),
    "no permission for vulnerabilities": Trouble(
        {("vulnerability", "permission")},
        "grant admin consent",
        ExitCode.PERMISSION,
        _remove("Vulnerability.Read.All"),
        said="Vulnerability.Read.All",
    ),
    "a permission that is only in the token": Trouble(
        ALERT_CALLS,
        "Alert.Read.All",
        ExitCode.PERMISSION,
        _play(
            Fault(
                "/api/alerts",
                "status",
                status=403,
                when="always",
                body='{"error": {"code": "Forbidden", "message": "no"}}',
                headers={"Content-Type": "application/json"},
            )
        ),
    ),
    "a wrong secret": Trouble(
        {("tenant", "sign-in")},
        "AQUILA_CLIENT_SECRET",
        ExitCode.SIGN_IN,
        lambda _: {"client_secret": "a-wrong-secret"},
    ),
    "an expired secret": Trouble(
        {("tenant", "sign-in")},
        "Create a new secret",
        ExitCode.SIGN_IN,
        lambda work: work.simulator.control.expire_secret(),
    ),
    "an expired certificate": Trouble(
        {("tenant", "credential"), ("tenant", "sign-in")},
        "aquila-mde onboard --rotate",
        ExitCode.SIGN_IN,
        _expired_certificate,
        said="has expired",
    ),
    "no file of the secret": Trouble(
        {("tenant", "credential")},
        "",
        ExitCode.SETTINGS,
        lambda work: {"client_secret": None, "client_secret_file": str(work.folder / "none")},
        said="cannot be read",
    ),
    "another tenant": Trouble(
        {("tenant", "sign-in")},
        "AQUILA_TENANT_ID",
        ExitCode.SIGN_IN,
        lambda _: {"id": "00000000-0000-4000-8000-000000000000"},
    ),
    "the API's host": Trouble(
        EVERY_ANSWER, "firewall", ExitCode.DEFENDER, lambda _: {"api_url": NOWHERE}
    ),
    "the sign-in host": Trouble(
        {("tenant", "sign-in")}, "firewall", ExitCode.DEFENDER, lambda _: {"sign_in_url": NOWHERE}
    ),
    "the authority of its certificate": Trouble(
        {("tenant", "sign-in")},
        "AQUILA_CA_FILE",
        ExitCode.DEFENDER,
        lambda _: {"ca_file": None},
        said="not trusted",
    ),
    "the clock": Trouble(
        {("tenant", "clock")},
        "NTP",
        ExitCode.ENVIRONMENT,
        lambda work: work.simulator.control.advance(timedelta(minutes=10)),
        said="slow",
    ),
    "the quota": Trouble(
        ALERT_CALLS,
        "",
        ExitCode.DEFENDER,
        lambda work: work.simulator.control.exhaust_quota("/api/alerts"),
        said="429",
    ),
    "an interval that the quota does not allow": Trouble(
        {("alert", "quota")},
        "streams.alert.interval",
        ExitCode.SETTINGS,
        lambda _: {"streams": {"alert": {"interval": "1s"}}},
    ),
    "an endpoint that is retired": Trouble(
        ALERT_CALLS,
        "Update",
        ExitCode.OK,
        _play(RETIRED),
        status=Status.WARNING,
        said="31 Dec 2026",
    ),
    "the service": Trouble(
        ALERT_CALLS,
        "",
        ExitCode.DEFENDER,
        _play(Fault("/api/alerts", "status", status=503, when="always")),
        said="503",
    ),
    "the engine's host": Trouble(
        {("engine", "connection")},
        "ES_URL",
        ExitCode.ENGINE,
        lambda _: {"elasticsearch": {"url": "http://127.0.0.1:1"}},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_is_wrong_is_named_and_nothing_else(job: MakeJob, case: Trouble) -> None:
    work = now_job(job)
    code, findings = await check(work, **(case.do(work) or {}))
    # The engine of the tests has no plugin that deletes old data.
    assert wrong(findings, case.status) - {("engine", "retention")} == case.failed
    if case.status is Status.WARNING:
        assert not wrong(findings)
    named = [each for each in findings if each.status is case.status]
    assert any(case.hint in each.hint for each in named)
    assert all(each.hint for each in named) or not case.hint
    assert any(case.said in each.said for each in named)
    assert code == case.code


def test_all_is_well_and_what_is_missing_in_the_engine_is_installed(job: MakeJob) -> None:
    work = now_job(job)
    assert "All is well." in work.command("check")
    findings = json.loads(work.command("check", "--json"))["findings"]
    assert {each["where"] for each in findings if each["status"] == "ok"} == {
        "tenant",
        "engine",
        *STREAMS,
    }
    work.ask("DELETE", "/_index_template/logs-aquila_mde.machine")
    try:
        done = subprocess.run(
            [PROGRAM, "check", "--config", work.config()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == ExitCode.ENGINE
        assert "✗  engine          package" in done.stdout
        assert "logs-aquila_mde.machine" in done.stdout
        assert "aquila-mde install" in done.stdout
        assert "All is well." in work.command("check", "--fix")
    finally:
        work.command("install")


@pytest.mark.parametrize(
    ("api", "role"), [("defender", "AdvancedQuery.Read.All"), ("graph", "ThreatHunting.Read.All")]
)
async def test_hunting_is_looked_at_where_it_is_on(job: MakeJob, api: str, role: str) -> None:
    work = now_job(job)
    changes = {"streams": {"hunting": {"enabled": True}}, "hunting": {"api": api}}
    work.simulator.control.grant_role(role)
    code, findings = await check(work, **changes)
    assert (code, wrong(findings)) == (ExitCode.OK, set())
    assert ("hunting", "answer") in wrong(findings, Status.OK)
    work.simulator.control.remove_role(role)
    code, findings = await check(work, **changes)
    assert (code, wrong(findings)) == (ExitCode.PERMISSION, {("hunting", "permission")})
    (found,) = [each for each in findings if each.status is Status.FAILED]
    assert role in found.said

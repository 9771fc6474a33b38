"""Signing in: msal does it for real, and every refusal has Microsoft's shape."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.simulator.sign_in import RESOURCE

from .conftest import Caller

Call = Callable[[SimulatorServer], Caller]


def by_msal(server: SimulatorServer, credential: Any) -> dict[str, Any]:
    with requests.Session() as session:
        session.verify = str(server.ca_file)
        session.trust_env = False
        application = msal.ConfidentialClientApplication(
            server.client_id,
            authority=f"{server.url}/{server.tenant_id}",
            client_credential=credential,
            instance_discovery=False,
            http_client=session,
        )
        answer: dict[str, Any] = application.acquire_token_for_client([f"{RESOURCE}/.default"])
        return answer


def from_pem(file: Path) -> dict[str, str]:
    pem = file.read_text()
    certificate = x509.load_pem_x509_certificate(pem.encode())
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex()
    return {"private_key": pem, "thumbprint": thumbprint}


def test_msal_signs_in_with_the_secret(simulator: StartSimulator) -> None:
    server = simulator()
    answer = by_msal(server, server.client_secret)
    assert answer["token_type"] == "Bearer"
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert claims["aud"] == RESOURCE
    assert claims["tid"] == server.tenant_id
    assert claims["appid"] == server.client_id
    # Not ThreatHunting.Read.All, which is Graph's.
    assert claims["roles"] == [
        "AdvancedQuery.Read.All",
        "Alert.Read.All",
        "Machine.Read.All",
        "Vulnerability.Read.All",
    ]


def test_msal_signs_in_with_a_certificate(simulator: StartSimulator) -> None:
    server = simulator()
    file = server.certificate_file()
    assert "access_token" in by_msal(server, from_pem(file))
    by_sha256 = {"private_key": file.read_text(), "public_certificate": file.read_text()}
    assert "access_token" in by_msal(server, by_sha256)


def test_msal_is_told_of_a_wrong_secret(simulator: StartSimulator) -> None:
    server = simulator()
    answer = by_msal(server, server.secret_id)
    assert answer["error"] == "invalid_client"
    assert answer["error_codes"] == [7000215]


def test_a_certificate_that_is_over_or_unknown_is_refused(simulator: StartSimulator) -> None:
    server, other = simulator(), simulator()
    over = by_msal(server, from_pem(server.certificate_file(valid_for=timedelta(days=-1))))
    assert over["error_codes"] == [700027]
    assert "expired" in over["error_description"]
    unknown = by_msal(server, from_pem(other.certificate_file()))
    assert unknown["error_codes"] == [700027]
    assert "not registered" in unknown["error_description"]


def test_a_certificate_of_another_kind_of_key_is_refused(
    simulator: StartSimulator, tmp_path: Path
) -> None:
    server = simulator()
    rsa_file = server.certificate_file()
    name = x509.load_pem_x509_certificate(rsa_file.read_bytes()).subject
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(server.control.now)
        .not_valid_after(server.control.now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    server.control.register_certificate(certificate.public_bytes(serialization.Encoding.PEM))
    signed_by_another = from_pem(rsa_file) | {
        "thumbprint": certificate.fingerprint(hashes.SHA1()).hex()
    }
    assert by_msal(server, signed_by_another)["error_codes"] == [700027]


@pytest.mark.parametrize(
    ("changes", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        ({"client_id": "11111111-1111-4111-8111-111111111111"}, 400, "unauthorized_client", 700016),
        ({"client_id": None}, 400, "invalid_request", 900144),
        ({"tenant": "22222222-2222-4222-8222-222222222222"}, 400, "invalid_tenant", 90002),
        ({"grant_type": None}, 400, "invalid_request", 900144),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": None}, 400, "invalid_request", 900144),
        ({"scope": "https://graph.microsoft.com/User.Read"}, 400, "invalid_scope", 1002012),
        ({"scope": "https://vault.azure.net/.default"}, 400, "invalid_resource", 500011),
    ],
)
def test_refusals_have_microsofts_shape(
    simulator: StartSimulator,
    call: Call,
    changes: dict[str, str | None],
    status: int,
    error: str,
    code: int,
) -> None:
    answer = call(simulator()).ask_token(**changes)
    body = answer.json()
    assert answer.status_code == status
    assert body["error"] == error
    assert body["error_codes"] == [code]
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert set(body) >= {"trace_id", "correlation_id", "timestamp"}


def test_a_secret_expires_and_a_new_one_takes_its_place(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator()
    caller = call(server)
    server.control.expire_secret()
    refused = caller.ask_token()
    assert refused.status_code == 401
    assert refused.json()["error_codes"] == [7000222]
    assert caller.get("/api/alerts", {"$top": "1"}).status_code == 200, "tokens live on"
    secret = server.control.new_secret(valid_for=timedelta(days=1))
    assert caller.ask_token(client_secret=secret).status_code == 200
    server.control.advance(timedelta(days=2))
    assert caller.ask_token(client_secret=secret).json()["error_codes"] == [7000222]
    assert caller.ask_token(client_secret=server.control.new_secret()).status_code == 200
    server.control.remove_secrets()
    assert caller.ask_token().json()["error_codes"] == [7000215]


def test_discovery_names_the_endpoints_of_the_tenant(simulator: StartSimulator, call: Call) -> None:
    server = simulator()
    caller = call(server)
    path = f"/{server.tenant_id}/v2.0/.well-known/openid-configuration"
    found = caller.http.get(path).json()
    assert found["token_endpoint"] == f"{server.url}/{server.tenant_id}/oauth2/v2.0/token"
    keys = caller.http.get(found["jwks_uri"]).json()["keys"]
    key = jwt.PyJWK(keys[0])
    assert jwt.decode(caller.token, key, audience=RESOURCE, options={"verify_exp": False})
    unknown = caller.http.get(path.replace(server.tenant_id, "nobody"))
    assert unknown.status_code == 400
    assert unknown.json()["error_codes"] == [90002]


def test_tokens_end_by_time_by_revocation_and_are_for_one_audience(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator()
    caller = call(server)
    server.control.advance(timedelta(minutes=59))
    assert caller.get("/api/alerts").status_code == 200
    server.control.advance(timedelta(minutes=1))
    refused = caller.get("/api/alerts")
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "Unauthorized"
    caller.sign_in()
    server.control.revoke_tokens()
    assert caller.get("/api/alerts").status_code == 401
    caller.token = "eyJ.made.up"
    assert caller.get("/api/alerts").status_code == 401
    own = caller.ask_token(scope=f"{server.url}/.default").json()["access_token"]
    caller.token = own
    assert caller.get("/api/alerts").status_code == 200


def test_a_role_is_in_the_token_as_long_as_the_token_lives(
    simulator: StartSimulator, call: Call
) -> None:
    server = simulator()
    caller = call(server)
    server.control.remove_role("Alert.Read.All")
    assert caller.get("/api/alerts").status_code == 200
    caller.sign_in()
    claims = jwt.decode(caller.token, options={"verify_signature": False})
    assert "Alert.Read.All" not in claims["roles"]
    refused = caller.get("/api/alerts")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "Forbidden"
    assert caller.get("/api/machines").status_code == 200
    server.control.grant_role("Alert.ReadWrite.All")
    assert caller.sign_in().get("/api/alerts").status_code == 200


def test_without_any_role_the_claim_is_missing(simulator: StartSimulator, call: Call) -> None:
    caller = call(simulator(roles=()))
    assert "roles" not in jwt.decode(caller.token, options={"verify_signature": False})

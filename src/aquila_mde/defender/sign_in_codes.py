"""What Microsoft Entra answers when it does not sign an application in, and what to do then.

Source: https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from aquila_mde.defender.credential import Credential
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.errors import without_secrets

_AADSTS = re.compile(r"AADSTS(\d+)")
_MEANING = {
    7000215: (
        "the client secret is wrong",
        "Most often the secret's ID was copied instead of its value. The value is shown only once: "
        "create a new secret (Entra admin centre → App registrations → the application → "
        "Certificates & secrets) and set client_secret (AQUILA_CLIENT_SECRET) to its Value.",
    ),
    7000222: (
        "the client secret has expired",
        "Create a new secret (Entra admin centre → App registrations → the application → "
        "Certificates & secrets), set client_secret (AQUILA_CLIENT_SECRET) to its Value and remove "
        "the old one.",
    ),
    700016: (
        "the tenant does not know the application",
        "Compare tenant.client_id with Application (client) ID and tenant.id with Directory "
        "(tenant) ID on the Overview page of the app registration; they may be swapped, or the "
        "application is in another tenant or cloud (tenant.cloud).",
    ),
    90002: (
        "there is no such tenant",
        "Compare tenant.id (AQUILA_TENANT_ID) with Entra admin centre → Overview → Tenant ID, and "
        "check that tenant.cloud is the cloud that the tenant is in.",
    ),
    700027: (
        "the certificate is not registered for the application, or has expired",
        "Upload the certificate (without its key) in Entra admin centre → App registrations → the "
        "application → Certificates & secrets → Certificates, and compare the thumbprint shown "
        "there with that of the file named in tenant.certificate.",
    ),
    700024: (
        "the signed assertion is not within its valid time",
        "The clock of this machine is wrong: set it, and let it be kept right by NTP "
        "(timedatectl set-ntp true).",
    ),
    53003: (
        "a Conditional Access policy blocks the sign-in",
        "Ask who administers Conditional Access to let this workload identity in from the address "
        "of this machine (Entra admin centre → Protection → Conditional Access; the sign-in log "
        "for service principals names the policy).",
    ),
    500011: (
        "the tenant does not know the Defender API",
        "The service principal WindowsDefenderATP comes with a Microsoft Defender for Endpoint "
        "licence: check that the tenant has one, and that tenant.cloud (or tenant.resource) is "
        "right.",
    ),
}
_BUSY = {"temporarily_unavailable", "server_error"}


def refusal(
    result: object, answer: httpx.Response, credential: Credential, host: str
) -> SignInError | DefenderUnavailableError:
    """The error for an answer of ``host`` that brought no token.

    ``result`` is what msal made of it, where it did make something of it.
    """
    body = result if isinstance(result, dict) and "error" in result else _body(answer)
    description = str(body.get("error_description") or "")
    code = _code(body, description)
    if answer.status_code == 429 or answer.status_code >= 500 or body.get("error") in _BUSY:
        after = answer.headers.get("Retry-After", "")
        return DefenderUnavailableError(
            f"{host} cannot sign in anybody at the moment (HTTP {answer.status_code})",
            wait=float(after) if after.isdecimal() else None,
            hint="It was tried again for a while; the next pass asks again.",
            tenant=credential.tenant_id,
        )
    if not body:
        kind = answer.headers.get("Content-Type", "nothing").partition(";")[0]
        return DefenderUnavailableError(
            f"{host} answered the sign-in with {kind} (HTTP {answer.status_code}), not with JSON",
            hint="A proxy or a sign-in page of the network may stand in between.",
            tenant=credential.tenant_id,
        )
    meaning, hint = _MEANING.get(code, ("", ""))
    if not meaning:
        meaning = _first_sentences(description, credential) or str(body.get("error") or "no reason")
        hint = (
            f"Look up AADSTS{code} at https://login.microsoftonline.com/error?code={code}"
            if code
            else "Check tenant.id, tenant.client_id and tenant.cloud."
        )
    trace = body.get("trace_id") or body.get("correlation_id")
    return SignInError(
        f"Microsoft Entra does not sign in the application {credential.client_id}: {meaning}"
        + (f" (AADSTS{code})" if code else ""),
        code=code,
        hint=hint,
        tenant=credential.tenant_id,
        request_id=str(trace) if trace else None,
    )


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(answer.text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _code(body: dict[str, Any], description: str) -> int:
    codes = body.get("error_codes")
    if isinstance(codes, list) and codes and isinstance(codes[0], int):
        return codes[0]
    match = _AADSTS.search(description)
    return int(match[1]) if match else 0


def _first_sentences(description: str, credential: Credential) -> str:
    """The part of ``description`` before the trace ids, without anything secret."""
    text = re.split(r"\s*(?:Trace ID|\r?\n)", description, maxsplit=1)[0]
    text = re.sub(r"^AADSTS\d+:\s*", "", without_secrets(text))
    if credential.secret is not None:
        text = text.replace(credential.secret.get_secret_value(), "…")
    return text[:300]

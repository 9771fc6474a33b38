"""Does what the plan says, step by step; each step can be done again by the next run."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.defender.graph import Graph
from aquila_mde.onboard.directory import (
    DEFENDER,
    TAG,
    Application,
    find_principal,
    granted_roles,
    read_application,
)
from aquila_mde.onboard.material import Material, Registered
from aquila_mde.onboard.patience import patiently
from aquila_mde.onboard.plan import Plan


async def register(graph: Graph, plan: Plan) -> str:
    """Create the application, or have it ask for what it lacks. Its client id.

    A created one is single-tenant and asks for exactly the permissions of the plan.
    """
    app, ids = plan.directory.application, plan.directory.defender.role_ids
    if app is None:
        body = {
            "displayName": plan.name,
            "signInAudience": "AzureADMyOrg",
            "tags": [TAG],
            "requiredResourceAccess": [_asked([ids[name] for name in plan.permissions])],
        }
        return str((await graph.post("/applications", body))["appId"])
    if plan.to_request:
        wanted = app.requested | {ids[name] for name in plan.to_request}
        # A change replaces the whole list: what others ask for is sent along.
        delegated = [
            role
            for resource in app.access
            if resource["resourceAppId"] == DEFENDER
            for role in resource["resourceAccess"]
            if role["type"] != "Role"
        ]
        others = [each for each in app.access if each["resourceAppId"] != DEFENDER]
        asked = _asked(sorted(wanted), delegated)
        await graph.patch(
            f"/applications/{app.object_id}", {"requiredResourceAccess": [*others, asked]}
        )
    return app.client_id


def _asked(role_ids: list[str], more: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    roles = [{"id": role_id, "type": "Role"} for role_id in role_ids]
    return {"resourceAppId": DEFENDER, "resourceAccess": [*roles, *(more or ())]}


async def make_principal(graph: Graph, client_id: str) -> str:
    """The principal of the application, which is made where there is none. Its id."""

    async def act() -> str:
        found = await find_principal(graph, client_id)
        if found is None:
            made = await graph.post("/servicePrincipals", {"appId": client_id})
            return str(made["id"])
        return found

    return await patiently(act)


async def consent(graph: Graph, plan: Plan, principal_id: str) -> bool:
    """Consent to what nobody has consented to yet; False where the operator may not."""
    defender = plan.directory.defender
    for name in plan.to_consent:
        role_id = defender.role_ids[name]

        async def act(role_id: str = role_id) -> None:
            if role_id in await granted_roles(graph, principal_id, defender):
                return
            body = {
                "principalId": principal_id,
                "resourceId": defender.principal_id,
                "appRoleId": role_id,
            }
            await graph.post(f"/servicePrincipals/{principal_id}/appRoleAssignments", body)

        try:
            await patiently(act)
        except PermissionDeniedError:
            return False
    return True


async def add_secret(graph: Graph, app: Application, own_name: str, until: datetime) -> Material:
    """A new secret of the application; its value is told this once."""
    body = {"passwordCredential": {"displayName": own_name, "endDateTime": _time(until)}}
    told = await graph.post(f"/applications/{app.object_id}/addPassword", body)
    return Material.secret(told["secretText"])


async def add_certificate(
    graph: Graph, app: Application, own_name: str, material: Material
) -> None:
    """Register a certificate beside those that the application has."""
    if material.among(app.registered) is not None:
        return
    certificate = material.certificate
    new = {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "displayName": own_name,
        "startDateTime": _time(certificate.not_valid_before_utc),
        "endDateTime": _time(certificate.not_valid_after_utc),
        "key": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
    }
    # A change replaces the whole list, so it is read as late as can be and sent along.
    held = await _certificates(graph, app)
    await graph.patch(f"/applications/{app.object_id}", {"keyCredentials": [*held, new]})


async def remove(graph: Graph, app: Application, gone: Registered) -> None:
    """Take a credential away; what is not there any more is removed."""
    if gone.is_certificate:
        held = await _certificates(graph, app)
        left = [each for each in held if each["keyId"] != gone.key_id]
        if len(left) < len(held):
            await graph.patch(f"/applications/{app.object_id}", {"keyCredentials": left})
        return
    fresh = await read_application(graph, app.object_id)
    if any(each.key_id == gone.key_id for each in fresh.registered):
        await graph.post(f"/applications/{app.object_id}/removePassword", {"keyId": gone.key_id})


async def _certificates(graph: Graph, app: Application) -> list[dict[str, Any]]:
    told = await graph.get(f"/applications/{app.object_id}", {"$select": "id,keyCredentials"})
    return list(told.get("keyCredentials") or ())


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

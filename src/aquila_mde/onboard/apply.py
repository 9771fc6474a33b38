"""Does what the plan says, step by step; each step can be done again by the next run."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.defender.graph import Graph
from aquila_mde.onboard.directory import (
    TAG,
    Application,
    find_principal,
    granted_to,
    read_application,
)
from aquila_mde.onboard.material import Material, Registered
from aquila_mde.onboard.patience import patiently
from aquila_mde.onboard.permissions import Permission
from aquila_mde.onboard.plan import Plan


async def register(graph: Graph, plan: Plan) -> str:
    """Create the application, or have it ask for what it lacks. Its client id.

    A created one is single-tenant and asks for exactly the permissions of the plan.
    """
    app = plan.directory.application
    if app is None:
        body = {
            "displayName": plan.name,
            "signInAudience": "AzureADMyOrg",
            "tags": [TAG],
            "requiredResourceAccess": _with((), plan),
        }
        return str((await graph.post("/applications", body))["appId"])
    if plan.to_request:
        # A change replaces the whole list: what it asks for already is sent along.
        await graph.patch(
            f"/applications/{app.object_id}", {"requiredResourceAccess": _with(app.access, plan)}
        )
    return app.client_id


def _with(access: Iterable[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    """``access`` and, API by API, what the plan still has to ask for."""
    asked: dict[str, list[dict[str, Any]]] = {}
    for resource in access:
        asked.setdefault(resource["resourceAppId"], []).extend(resource["resourceAccess"])
    for permission in plan.to_request:
        role_ids = plan.directory.offers[permission.api].role_ids
        role = {"id": role_ids[permission.name], "type": "Role"}
        asked.setdefault(permission.api.app_id, []).append(role)
    return [{"resourceAppId": api, "resourceAccess": roles} for api, roles in asked.items()]


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
    offers = plan.directory.offers
    for permission in plan.to_consent:

        async def act(permission: Permission = permission) -> None:
            if permission in await granted_to(graph, principal_id, offers):
                return
            offer = offers[permission.api]
            body = {
                "principalId": principal_id,
                "resourceId": offer.principal_id,
                "appRoleId": offer.role_ids[permission.name],
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

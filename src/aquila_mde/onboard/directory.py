"""What there is in the tenant's directory: the application, its principal, Defender, consent.

Source: https://learn.microsoft.com/en-us/graph/api/resources/application
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aquila_mde.defender.errors import NotFoundError
from aquila_mde.defender.graph import Graph
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.onboard.material import Registered

DEFENDER = "fc780465-2017-40d4-a0c5-307022471b92"
"""The application id of WindowsDefenderATP, the same in every tenant."""
TAG = "aquila-mde"
"""What an application carries that was registered here."""
_SINGLE_TENANT = "AzureADMyOrg"
_SELECT = "id,appId,displayName,signInAudience,tags,requiredResourceAccess,passwordCredentials"


class NoLicenceError(ConfigurationError):
    """The tenant has no Defender for Endpoint."""

    exit_code = ExitCode.DEFENDER


@dataclass(frozen=True)
class Defender:
    """The Defender API as the tenant knows it."""

    principal_id: str
    role_ids: dict[str, str]
    """Permission to the id that it has here: those ids are looked up, never assumed."""

    def name(self, role_id: str) -> str:
        """The permission that an id stands for; the id itself where it has no name."""
        return next((name for name, held in self.role_ids.items() if held == role_id), role_id)


@dataclass(frozen=True)
class Application:
    """An application that is registered."""

    object_id: str
    client_id: str
    name: str
    single_tenant: bool
    requested: frozenset[str]
    """Ids of the roles of Defender that it asks for."""
    registered: tuple[Registered, ...]
    access: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """All that it asks for, as Graph tells it: a change replaces everything."""


@dataclass(frozen=True)
class Directory:
    """What was found."""

    tenant_id: str
    defender: Defender
    application: Application | None = None
    principal_id: str | None = None
    granted: frozenset[str] = frozenset()
    """Ids of the roles of Defender that were consented to."""


async def read_directory(
    graph: Graph, tenant_id: str, *, client_id: str | None, name: str
) -> Directory:
    """Look for the application ``client_id`` or, without one, for one that is called ``name``.

    Raises :class:`NoLicenceError` when the tenant does not know Defender, and
    :class:`ConfigurationError` when the application cannot be told or is not there.
    """
    defender = await _defender(graph)
    found = await find_application(graph, client_id, name)
    if found is None:
        return Directory(tenant_id, defender)
    principal_id = await find_principal(graph, found.client_id)
    granted = await granted_roles(graph, principal_id, defender) if principal_id else frozenset()
    return Directory(tenant_id, defender, found, principal_id, granted)


async def find_application(graph: Graph, client_id: str | None, name: str) -> Application | None:
    """The application, or None where there is none of that name."""
    wanted, value = ("appId", client_id) if client_id else ("displayName", name)
    quoted = value.replace("'", "''")
    found = await graph.items(
        "/applications", {"$filter": f"{wanted} eq '{quoted}'", "$select": "id,appId,tags"}
    )
    if len(found) > 1:
        # Names are not unique; of several, the one that was registered here.
        found = [each for each in found if TAG in (each.get("tags") or [])] or found
    if len(found) > 1:
        ids = ", ".join(sorted(each["appId"] for each in found))
        raise ConfigurationError(
            f"The tenant has {len(found)} applications that are called {name!r}.",
            hint=f"Say which one: --client-id with one of {ids}.",
        )
    return await read_application(graph, found[0]["id"]) if found else None


async def read_application(graph: Graph, object_id: str) -> Application:
    """The application with its credentials. Public keys are told for a single object only."""
    told = await graph.get(f"/applications/{object_id}", {"$select": f"{_SELECT},keyCredentials"})
    access = tuple(told.get("requiredResourceAccess") or ())
    return Application(
        object_id=told["id"],
        client_id=told["appId"],
        name=told.get("displayName") or "",
        single_tenant=told.get("signInAudience") == _SINGLE_TENANT,
        requested=frozenset(
            role["id"]
            for resource in access
            if resource["resourceAppId"] == DEFENDER
            for role in resource["resourceAccess"]
            if role["type"] == "Role"
        ),
        registered=(
            *map(Registered.secret, told.get("passwordCredentials") or ()),
            *map(Registered.certificate, told.get("keyCredentials") or ()),
        ),
        access=access,
    )


async def find_principal(graph: Graph, client_id: str) -> str | None:
    """The id of the principal of an application."""
    found = await graph.items(
        "/servicePrincipals", {"$filter": f"appId eq '{client_id}'", "$select": "id,appId"}
    )
    return str(found[0]["id"]) if found else None


async def granted_roles(graph: Graph, principal_id: str, defender: Defender) -> frozenset[str]:
    """Ids of the roles of Defender that were consented to."""
    try:
        found = await graph.items(f"/servicePrincipals/{principal_id}/appRoleAssignments")
    except NotFoundError:
        return frozenset()
    return frozenset(
        each["appRoleId"] for each in found if each["resourceId"] == defender.principal_id
    )


async def _defender(graph: Graph) -> Defender:
    found = await graph.items(
        "/servicePrincipals",
        {"$filter": f"appId eq '{DEFENDER}'", "$select": "id,appId,appRoles"},
    )
    if not found:
        raise NoLicenceError(
            "The tenant does not know the Defender API: there is no service principal "
            "WindowsDefenderATP.",
            hint="It comes with a Microsoft Defender for Endpoint licence: check that this tenant "
            "has one (a new one takes a while to appear), and that --tenant and --cloud are right.",
        )
    roles = found[0].get("appRoles") or ()
    return Defender(
        found[0]["id"],
        {role["value"]: role["id"] for role in roles if role.get("value")},
    )

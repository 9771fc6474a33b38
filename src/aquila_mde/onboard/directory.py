"""What there is in the tenant's directory: the application, its principal, APIs, consent.

Source: https://learn.microsoft.com/en-us/graph/api/resources/application
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aquila_mde.defender.errors import NotFoundError
from aquila_mde.defender.graph import Graph
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.onboard.material import Registered
from aquila_mde.onboard.permissions import DEFENDER, MICROSOFT_GRAPH, Api, Permission

TAG = "aquila-mde"
"""What an application carries that was registered here."""
_SINGLE_TENANT = "AzureADMyOrg"
_SELECT = "id,appId,displayName,signInAudience,tags,requiredResourceAccess,passwordCredentials"


class NoLicenceError(ConfigurationError):
    """The tenant has no Defender for Endpoint."""

    exit_code = ExitCode.DEFENDER


@dataclass(frozen=True)
class Offer:
    """An API as the tenant knows it."""

    api: Api
    principal_id: str
    role_ids: dict[str, str]
    """Permission to the id that it has here: those ids are looked up, never assumed."""

    def permission(self, role_id: str) -> Permission:
        """What an id stands for; it is called by the id itself where it has no name."""
        known = (name for name, held in self.role_ids.items() if held == role_id)
        return Permission(self.api, next(known, role_id))


Offers = Mapping[Api, Offer]


@dataclass(frozen=True)
class Application:
    """An application that is registered."""

    object_id: str
    client_id: str
    name: str
    single_tenant: bool
    registered: tuple[Registered, ...]
    access: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """All that it asks for, as Graph tells it: a change replaces everything."""


@dataclass(frozen=True)
class Directory:
    """What was found."""

    tenant_id: str
    offers: Offers
    application: Application | None = None
    principal_id: str | None = None
    granted: frozenset[Permission] = frozenset()
    """What was consented to."""

    @property
    def requested(self) -> frozenset[Permission]:
        """What the application asks for, of the APIs that were looked at."""
        access = self.application.access if self.application else ()
        return frozenset(
            offer.permission(role["id"])
            for resource in access
            for api, offer in self.offers.items()
            if resource["resourceAppId"] == api.app_id
            for role in resource["resourceAccess"]
            if role["type"] == "Role"
        )

    def offers_one(self, permission: Permission) -> bool:
        """Whether this tenant has ``permission`` at all."""
        offer = self.offers.get(permission.api)
        return offer is not None and permission.name in offer.role_ids


async def read_directory(
    graph: Graph, tenant_id: str, *, client_id: str | None, name: str
) -> Directory:
    """Look for the application ``client_id`` or, without one, for one that is called ``name``.

    Raises :class:`NoLicenceError` when the tenant does not know Defender, and
    :class:`ConfigurationError` when the application cannot be told or is not there.
    """
    offers = await _offers(graph)
    found = await find_application(graph, client_id, name)
    if found is None:
        return Directory(tenant_id, offers)
    principal_id = await find_principal(graph, found.client_id)
    granted = await granted_to(graph, principal_id, offers) if principal_id else frozenset()
    return Directory(tenant_id, offers, found, principal_id, granted)


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
    return Application(
        object_id=told["id"],
        client_id=told["appId"],
        name=told.get("displayName") or "",
        single_tenant=told.get("signInAudience") == _SINGLE_TENANT,
        registered=(
            *map(Registered.secret, told.get("passwordCredentials") or ()),
            *map(Registered.certificate, told.get("keyCredentials") or ()),
        ),
        access=tuple(told.get("requiredResourceAccess") or ()),
    )


async def find_principal(graph: Graph, client_id: str) -> str | None:
    """The id of the principal of an application."""
    found = await graph.items(
        "/servicePrincipals", {"$filter": f"appId eq '{client_id}'", "$select": "id,appId"}
    )
    return str(found[0]["id"]) if found else None


async def granted_to(graph: Graph, principal_id: str, offers: Offers) -> frozenset[Permission]:
    """What was consented to, of these APIs."""
    try:
        found = await graph.items(f"/servicePrincipals/{principal_id}/appRoleAssignments")
    except NotFoundError:
        return frozenset()
    return frozenset(
        offer.permission(each["appRoleId"])
        for each in found
        for offer in offers.values()
        if each["resourceId"] == offer.principal_id
    )


async def _offers(graph: Graph) -> Offers:
    asked = {api: await _offer(graph, api) for api in (DEFENDER, MICROSOFT_GRAPH)}
    if asked[DEFENDER] is None:
        raise NoLicenceError(
            "The tenant does not know the Defender API: there is no service principal "
            "WindowsDefenderATP.",
            hint="It comes with a Microsoft Defender for Endpoint licence: check that this tenant "
            "has one (a new one takes a while to appear), and that --tenant and --cloud are right.",
        )
    return {api: offer for api, offer in asked.items() if offer is not None}


async def _offer(graph: Graph, api: Api) -> Offer | None:
    found = await graph.items(
        "/servicePrincipals",
        {"$filter": f"appId eq '{api.app_id}'", "$select": "id,appId,appRoles"},
    )
    if not found:
        return None
    roles = found[0].get("appRoles") or ()
    return Offer(
        api,
        found[0]["id"],
        {role["value"]: role["id"] for role in roles if role.get("value")},
    )

"""The APIs whose permissions an application may ask for: Defender's and Microsoft Graph's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from aquila_mde.simulator.seeds import guid_of

DEFENDER = "fc780465-2017-40d4-a0c5-307022471b92"
"""The application id of WindowsDefenderATP, the same in every tenant."""
MICROSOFT_GRAPH = "00000003-0000-0000-c000-000000000000"
"""The application id of Microsoft Graph, the same in every tenant."""
_OTHER_ROLES = {
    DEFENDER: (
        "AdvancedQuery.Read.All",
        "Alert.ReadWrite.All",
        "Machine.Isolate",
        "Machine.ReadWrite.All",
        "SecurityRecommendation.Read.All",
        "Software.Read.All",
    ),
    MICROSOFT_GRAPH: ("SecurityAlert.Read.All", "SecurityIncident.Read.All", "User.Read.All"),
}


@dataclass(frozen=True)
class Api:
    """One API: its principal in the tenant, and its permissions with the ids they have here."""

    app_id: str
    name: str
    principal_id: str
    role_ids: dict[str, str]

    @classmethod
    def of(cls, app_id: str, name: str, roles: Iterable[str], rng: Random) -> Api:
        """The API with ``roles`` and with some that nobody here needs."""
        names = sorted({*roles, *_OTHER_ROLES[app_id]})
        return cls(app_id, name, guid_of(rng), {each: guid_of(rng) for each in names})

    def role(self, role_id: str | None) -> str | None:
        """The permission of an id."""
        return next((name for name, held in self.role_ids.items() if held == role_id), None)

    def principal(self) -> dict[str, Any]:
        """The service principal as Graph tells it."""
        return {
            "id": self.principal_id,
            "appId": self.app_id,
            "displayName": self.name,
            "appRoles": [
                {
                    "id": role_id,
                    "value": name,
                    "displayName": name,
                    "allowedMemberTypes": ["Application"],
                    "isEnabled": True,
                }
                for name, role_id in self.role_ids.items()
            ],
        }

    def access(self, roles: Iterable[str]) -> dict[str, Any]:
        """How an application asks for those of ``roles`` that are this API's."""
        asked = [
            {"id": self.role_ids[role], "type": "Role"}
            for role in sorted(roles)
            if role in self.role_ids
        ]
        return {"resourceAppId": self.app_id, "resourceAccess": asked}

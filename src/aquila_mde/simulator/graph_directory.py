"""The tenant's directory as Microsoft Graph tells it: applications, principals, consent.

An application signs in by what is held in :class:`~aquila_mde.simulator.sign_in.Application`; here
stands what Graph says of it beside. What was just made is not visible for a while, and a credential
that was just added does not sign in for a while (``directory_delay`` and ``credential_delay`` of
:class:`~aquila_mde.simulator.quirks.Quirks`).
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from aquila_mde.simulator.clock import DAY, Clock, format_time, parse_time, to_ticks
from aquila_mde.simulator.graph_apis import DEFENDER, MICROSOFT_GRAPH, Api
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of
from aquila_mde.simulator.sign_in import Application, SignIn, key_of

_FOR_EVER = 730 * DAY
_APPLICATION = "#microsoft.graph.application"
Values = dict[str, Any]


class GraphRefused(Exception):  # noqa: N818 - an answer, not a failure of the program
    """A request that gets an error answer of Microsoft Graph."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Entry:
    """One application, and its principal once there is one."""

    application: Application
    object_id: str
    name: str
    audience: str
    tags: list[str]
    access: list[Values]
    visible_from: float
    principal_id: str | None = None
    principal_from: float = 0.0
    labels: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    """Name and start of the credentials that were added by Graph, by their key id."""


class Directory:
    """What Graph reads and changes. Safe for use from several threads."""

    def __init__(
        self,
        sign_in: SignIn,
        clock: Clock,
        quirks: Callable[[], Quirks],
        *,
        seed: int,
        permissions: Iterable[str],
        graph_permissions: Iterable[str],
        registered: bool,
        licensed: bool,
    ) -> None:
        rng = random_of(seed, "identity", 2)
        self._sign_in, self._clock, self._quirks, self._rng = sign_in, clock, quirks, rng
        self._born = clock.now()
        self.lock = threading.RLock()
        self.entries: list[Entry] = []
        defender = Api.of(DEFENDER, "WindowsDefenderATP", permissions, rng)
        graph = Api.of(MICROSOFT_GRAPH, "Microsoft Graph", graph_permissions, rng)
        self.apis = (defender, graph) if licensed else (graph,)
        self.role_ids = {**defender.role_ids, **graph.role_ids}
        """Every permission that there is, with its id."""
        self.ever: list[str] = []
        """Every secret that was ever added."""
        if registered:
            entry = self._entry("aquila", sign_in.application, 0.0)
            entry.access = [api.access(sign_in.application.roles) for api in self.apis]
            entry.principal_id = guid_of(rng)

    # What Graph tells

    def applications(self, name: str, value: str) -> list[Values]:
        """Those whose property ``name`` is ``value``."""
        found = [self._application(entry) for entry in self.entries if self._visible(entry)]
        return [each for each in found if str(each.get(name)).lower() == value.lower()]

    def application(self, object_id: str, *, keys: bool = False) -> Values:
        """One application; ``keys``: with the public keys, which are told on request only."""
        return self._application(self._by_object(object_id), keys=keys)

    def principals(self, app_id: str) -> list[Values]:
        """The principal of an application, if there is one."""
        apis = [api.principal() for api in self.apis if api.app_id == app_id.lower()]
        return apis or [
            self._principal(entry)
            for entry in self.entries
            if entry.application.client_id == app_id.lower() and self._principal_visible(entry)
        ]

    def assignments(self, principal_id: str) -> list[Values]:
        """What was consented to."""
        return self._assignments(self._by_principal(principal_id))

    def everything(self) -> Values:
        """All of it, visible or not, for comparisons."""
        with self.lock:
            return {
                "applications": [self._application(entry, keys=True) for entry in self.entries],
                "servicePrincipals": [
                    self._principal(entry) for entry in self.entries if entry.principal_id
                ],
                "appRoleAssignments": [
                    each
                    for entry in self.entries
                    if entry.principal_id
                    for each in self._assignments(entry)
                ],
            }

    # What Graph changes

    def create_application(self, body: Values) -> Values:
        """Register an application."""
        if not body.get("displayName"):
            raise _bad("A value is required for property 'displayName' of resource 'Application'.")
        own = Application(guid_of(self._rng), {}, set(), has_principal=False)
        entry = self._entry(str(body["displayName"]), own, self._delayed())
        self._sign_in.add(own)
        self._change(entry, body)
        return self._application(entry)

    def change_application(self, object_id: str, body: Values) -> None:
        """Replace properties of an application."""
        self._change(self._by_object(object_id), body)

    def create_principal(self, app_id: str) -> Values:
        """Give an application its principal in the tenant."""
        entry = next((e for e in self.entries if e.application.client_id == app_id.lower()), None)
        if entry is None or not self._visible(entry):
            raise GraphRefused(
                400,
                "NoBackingApplicationObject",
                f"The appId '{app_id}' of the service principal does not reference a valid "
                "application object.",
            )
        if entry.principal_id is not None:
            raise GraphRefused(
                409,
                "Request_MultipleObjectsWithSameKeyValue",
                "The service principal cannot be created, updated, or restored because the service "
                f"principal name {app_id} is already in use.",
            )
        self._make_principal(entry)
        return self._principal(entry)

    def consent(self, principal_id: str, body: Values) -> Values:
        """Grant one role to a principal."""
        entry = self._by_principal(principal_id)
        resource_id = body.get("resourceId")
        api = next((api for api in self.apis if api.principal_id == resource_id), None)
        if api is None:
            raise _missing(str(resource_id))
        role = api.role(body.get("appRoleId"))
        if role is None or body.get("principalId") != principal_id:
            raise _bad("Permission being assigned was not found on application.")
        if role in entry.application.roles:
            raise _bad("Permission being assigned already exists on the object")
        entry.application.roles.add(role)
        return next(
            each for each in self._assignments(entry) if each["appRoleId"] == body["appRoleId"]
        )

    def consent_to_all(self, client_id: str | None = None) -> None:
        """Grant all that an application asks for, as an administrator does by the link."""
        with self.lock:
            wanted = client_id or self._sign_in.application.client_id
            entry = next((e for e in self.entries if e.application.client_id == wanted), None)
            if entry is None:
                raise KeyError(f"no application {wanted}")
            if entry.principal_id is None:
                self._make_principal(entry)
            entry.application.roles |= {
                role
                for resource in entry.access
                for api in self.apis
                if resource["resourceAppId"] == api.app_id
                for access in resource["resourceAccess"]
                if (role := api.role(access["id"])) is not None
            }

    def add_password(self, object_id: str, body: Values) -> Values:
        """Add a secret, whose text is told this once."""
        entry, wanted = self._by_object(object_id), body.get("passwordCredential") or {}
        secret = f"{hex_of(self._rng, 3)}8Q~{hex_of(self._rng, 34)}"
        self.ever.append(secret)
        end = wanted.get("endDateTime")
        now = self._clock.now()
        own = entry.application
        own.valid_from[secret] = (
            self._clock.elapsed() + self._quirks().credential_delay.total_seconds()
        )
        own.secrets = {**own.secrets, secret: parse_time(end) if end else now + _FOR_EVER}
        entry.labels[key_of(secret)] = (wanted.get("displayName"), now)
        told = next(p for p in self._passwords(entry) if p["keyId"] == key_of(secret))
        return {**told, "secretText": secret}

    def remove_password(self, object_id: str, key_id: str) -> None:
        """Take a secret away."""
        own = self._by_object(object_id).application
        left = {secret: end for secret, end in own.secrets.items() if key_of(secret) != key_id}
        if len(left) == len(own.secrets):
            raise _bad(f"No password credential found with keyId '{key_id}'.")
        own.secrets = left

    # Inside

    def _entry(self, name: str, application: Application, visible_from: float) -> Entry:
        entry = Entry(application, guid_of(self._rng), name, "AzureADMyOrg", [], [], visible_from)
        self.entries.append(entry)
        return entry

    def _make_principal(self, entry: Entry) -> None:
        entry.principal_id, entry.principal_from = guid_of(self._rng), self._delayed()
        entry.application.has_principal = True

    def _change(self, entry: Entry, body: Values) -> None:
        entry.name = body.get("displayName", entry.name)
        entry.audience = body.get("signInAudience", entry.audience)
        entry.tags = body.get("tags", entry.tags)
        entry.access = body.get("requiredResourceAccess", entry.access)
        if "keyCredentials" in body:
            self._replace_certificates(entry, body["keyCredentials"])

    def _replace_certificates(self, entry: Entry, keys: list[Values]) -> None:
        own = entry.application
        held = {key_of(certificate): certificate for certificate in own.certificates}
        after = []
        for key in keys:
            # As in the service, a certificate that is not sent along is gone.
            try:
                der = base64.b64decode(key["key"], validate=True)
                certificate = x509.load_der_x509_certificate(der)
            except (KeyError, TypeError, ValueError):
                raise _bad(
                    "New key credentials must have a value for the property 'key'."
                ) from None
            key_id = key_of(certificate)
            after.append(held.get(key_id, certificate))
            if key_id not in held:
                delay = self._quirks().credential_delay.total_seconds()
                own.valid_from[key_id] = self._clock.elapsed() + delay
                entry.labels[key_id] = (key.get("displayName"), self._clock.now())
        own.certificates = after

    def _delayed(self) -> float:
        return self._clock.elapsed() + self._quirks().directory_delay.total_seconds()

    def _visible(self, entry: Entry) -> bool:
        return self._clock.elapsed() >= entry.visible_from

    def _principal_visible(self, entry: Entry) -> bool:
        return entry.principal_id is not None and self._clock.elapsed() >= entry.principal_from

    def _by_object(self, object_id: str) -> Entry:
        found = next((e for e in self.entries if e.object_id == object_id), None)
        if found is None or not self._visible(found):
            raise _missing(object_id)
        return found

    def _by_principal(self, principal_id: str) -> Entry:
        found = next((e for e in self.entries if e.principal_id == principal_id), None)
        if found is None or not self._principal_visible(found):
            raise _missing(principal_id)
        return found

    def _application(self, entry: Entry, *, keys: bool = False) -> Values:
        return {
            "@odata.type": _APPLICATION,
            "id": entry.object_id,
            "appId": entry.application.client_id,
            "displayName": entry.name,
            "signInAudience": entry.audience,
            "tags": entry.tags,
            "requiredResourceAccess": entry.access,
            "passwordCredentials": self._passwords(entry),
            "keyCredentials": [
                self._certificate(entry, each, keys) for each in entry.application.certificates
            ],
        }

    def _passwords(self, entry: Entry) -> list[Values]:
        found = []
        for secret, end in entry.application.secrets.items():
            name, start = entry.labels.get(key_of(secret), (None, self._born))
            found.append(
                {
                    "keyId": key_of(secret),
                    "displayName": name,
                    "hint": secret[:3],
                    "secretText": None,
                    "customKeyIdentifier": None,
                    "startDateTime": format_time(start),
                    "endDateTime": format_time(start + _FOR_EVER if end is None else end),
                }
            )
        return found

    def _certificate(self, entry: Entry, held: x509.Certificate, keys: bool) -> Values:
        name, _ = entry.labels.get(key_of(held), (None, 0))
        thumbprint = held.fingerprint(hashes.SHA1())  # noqa: S303 - what the service names it by
        return {
            "keyId": key_of(held),
            "displayName": name,
            "type": "AsymmetricX509Cert",
            "usage": "Verify",
            "customKeyIdentifier": thumbprint.hex().upper(),
            "startDateTime": _time(held.not_valid_before_utc),
            "endDateTime": _time(held.not_valid_after_utc),
            "key": base64.b64encode(held.public_bytes(Encoding.DER)).decode() if keys else None,
        }

    def _principal(self, entry: Entry) -> Values:
        return {
            "id": entry.principal_id,
            "appId": entry.application.client_id,
            "displayName": entry.name,
            "appRoles": [],
        }

    def _assignments(self, entry: Entry) -> list[Values]:
        return [
            {
                "id": guid_of(Random(f"{entry.principal_id} {role}")),  # noqa: S311 - a name
                "principalId": entry.principal_id,
                "principalDisplayName": entry.name,
                "resourceId": api.principal_id,
                "resourceDisplayName": api.name,
                "appRoleId": api.role_ids[role],
            }
            for api in self.apis
            for role in sorted(entry.application.roles)
            if role in api.role_ids
        ]


def _time(moment: datetime) -> str:
    return format_time(to_ticks(moment))


def _bad(message: str) -> GraphRefused:
    return GraphRefused(400, "Request_BadRequest", message)


def _missing(object_id: str) -> GraphRefused:
    return GraphRefused(
        404,
        "Request_ResourceNotFound",
        f"Resource '{object_id}' does not exist or one of its queried reference-property objects "
        "are not present.",
    )

"""The whole way: sign in, look, plan, apply, prove. What is shown is somebody else's business."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from aquila_mde.defender.clouds import Cloud, cloud_of
from aquila_mde.defender.device_code import ANY_TENANT, DeviceCode, Operator, sign_in
from aquila_mde.defender.errors import NotFoundError
from aquila_mde.defender.graph import Graph
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.onboard import apply
from aquila_mde.onboard.directory import Application, Directory, find_application, read_directory
from aquila_mde.onboard.keeping import Keeper, Kind, Slot, check_writable, keeper_of, new_keeper
from aquila_mde.onboard.material import Material, new_certificate
from aquila_mde.onboard.patience import patiently
from aquila_mde.onboard.permissions import Permission
from aquila_mde.onboard.plan import Plan, plan_credential, remarks_on, remarks_on_credential
from aquila_mde.onboard.prove import Proof, credential_of
from aquila_mde.onboard.settings_file import write_tenant
from aquila_mde.settings import CREDENTIALS, OnboardingSettings

DEFAULT_NAME = "Aquila MDE collector"
_LOOK = ("Application.Read.All",)
_CHANGE = ("Application.ReadWrite.All",)
_CONSENT = ("AppRoleAssignment.ReadWrite.All",)
_LOOKS_FOR = 12.0
"""Seconds after which an application that cannot be found is not there."""
_ROLES_WITHIN = 120.0
"""Seconds after which a consent must be in the tokens."""


@dataclass(frozen=True)
class Wish:
    """What was asked for."""

    settings: OnboardingSettings
    file: Path
    """The settings file, which need not be there yet."""
    permissions: tuple[Permission, ...]
    tenant: str | None = None
    """GUID or domain; by default that of the settings, or of whoever signs in."""
    client_id: str | None = None
    name: str = DEFAULT_NAME
    kind: Kind | None = None
    valid_for: timedelta = timedelta(days=365)
    rotate: bool = False
    consents: bool = True
    """Whether the operator consents; asking for the right to needs a stronger role."""
    dry_run: bool = False
    wait: timedelta = timedelta(minutes=15)
    """How long a consent by somebody else is waited for."""


class Tell(Protocol):
    """Who is told how it goes."""

    def sign_in(self, code: DeviceCode) -> None:
        """What the operator has to type, and where."""

    def plan(self, operator: str, plan: Plan) -> bool:
        """What will be done; False: it shall not."""

    def step(self, text: str) -> None:
        """Something is about to be done."""

    def consent(self, link: str, wait: timedelta) -> None:
        """Somebody else has to consent, and we wait for it."""

    def secret(self, variable: str, value: str) -> None:
        """The only time that a secret is shown, since it is kept nowhere."""


@dataclass(frozen=True)
class Outcome:
    """How things stand at the end."""

    plan: Plan
    tenant_id: str
    client_id: str | None = None
    applied: bool = False
    consent_link: str = ""
    held: frozenset[Permission] = frozenset()
    """The permissions in the application's tokens."""

    @property
    def missing(self) -> tuple[Permission, ...]:
        """The permissions that the tokens lack."""
        return tuple(each for each in self.plan.permissions if each not in self.held)


async def onboard(wish: Wish, tell: Tell) -> Outcome:
    """Make the tenant ready to be read, and the settings file to read it with.

    It may be stopped at any time and run again. Raises an :class:`AquilaError` that says what to
    do; permissions that are still missing at the end are no error here but in the outcome.
    """
    tenant = wish.settings.tenant
    cloud = cloud_of(tenant)
    if not wish.dry_run:
        check_writable(wish.file)
    asked = wish.tenant or tenant.id or ANY_TENANT
    scopes = _LOOK if wish.dry_run else _CHANGE + (_CONSENT if wish.consents else ())
    operator = await sign_in(cloud, asked, scopes, tell.sign_in, ca_file=tenant.ca_file)
    if tenant.id and tenant.id.lower() != operator.tenant_id:
        raise ConfigurationError(
            f"{operator.name} is of the tenant {operator.tenant_id}, and the settings are those of "
            f"{tenant.id}.",
            hint="Sign in with an account of that tenant, or use another settings file (--config).",
        )
    async with Graph(operator.token, cloud, ca_file=tenant.ca_file) as graph:
        return await _Onboarding(wish, tell, cloud, graph, operator).run()


class _Onboarding:
    """One run, after the operator has signed in."""

    def __init__(
        self, wish: Wish, tell: Tell, cloud: Cloud, graph: Graph, operator: Operator
    ) -> None:
        self._wish, self._tell, self._cloud, self._graph = wish, tell, cloud, graph
        self._operator = operator
        self._tenant = wish.settings.tenant
        self._own_name = f"aquila-mde on {socket.gethostname()}"[:90]
        self._keeper, self._old = self._places()

    async def run(self) -> Outcome:
        directory = await self._look()
        plan = self._plan(directory)
        agreed = self._tell.plan(self._operator.name, plan)
        if self._wish.dry_run or not agreed:
            known = directory.application
            return Outcome(plan, directory.tenant_id, known.client_id if known else None)
        return await self._apply(plan)

    def _places(self) -> tuple[Keeper, Material | None]:
        """Where the credential is kept, and the one of another kind that it replaces."""
        now = keeper_of(self._tenant)
        if now is not None and self._wish.kind in (None, now.kind):
            return now, None
        kind = self._wish.kind or Kind.CERTIFICATE
        return new_keeper(kind, self._wish.file, self._tenant), now.read() if now else None

    async def _look(self) -> Directory:
        client_id = self._wish.client_id or self._tenant.client_id

        async def look() -> Directory:
            found = await read_directory(
                self._graph, self._operator.tenant_id, client_id=client_id, name=self._wish.name
            )
            if client_id and found.application is None:
                raise _GoneError(
                    f"The tenant has no application with the client id {client_id}.",
                    hint="Remove tenant.client_id from the settings to have a new one made, or "
                    "name another with --client-id.",
                )
            return found

        # It may have been made seconds ago, by a run that was stopped.
        return await patiently(look, seconds=_LOOKS_FOR)

    def _plan(self, directory: Directory) -> Plan:
        unknown = [
            f"{each.name} ({each.api.name})"
            for each in self._wish.permissions
            if not directory.offers_one(each)
        ]
        if unknown:
            raise ConfigurationError(
                f"This tenant does not offer {', '.join(unknown)}.",
                hint="Turn off the streams that need it (streams.<stream>.enabled: false); for "
                "hunting, choose the other API (hunting.api).",
            )
        app = directory.application
        credential = plan_credential(
            self._keeper,
            self._old,
            app.registered if app else (),
            rotate=self._wish.rotate,
            valid_for=self._wish.valid_for,
            own_name=self._own_name,
            now=datetime.now(UTC),
        )
        remarks = remarks_on(directory, self._wish.permissions) + remarks_on_credential(credential)
        if (
            app
            and self._old
            and not self._wish.rotate
            and (held := self._old.among(app.registered))
        ):
            remarks += (f"The application keeps the {held.text()}, which was in use so far.",)
        return Plan(
            directory,
            self._wish.name,
            self._wish.permissions,
            credential,
            self._keeper.where,
            self._settings(directory.tenant_id, app.client_id if app else "as Entra gives it"),
            remarks,
        )

    def _settings(self, tenant_id: str, client_id: str) -> dict[str, str | None]:
        """What has to change in the settings file."""
        wanted: dict[str, str | None] = {"id": tenant_id, "client_id": client_id}
        if self._keeper.setting is not None:
            wanted |= dict.fromkeys(CREDENTIALS)
            wanted[self._keeper.setting[0]] = self._keeper.setting[1]
        elif self._wish.rotate or self._old is not None:
            wanted |= dict.fromkeys(CREDENTIALS)
        held = {
            name: str(value) if value is not None else None
            for name in wanted
            for value in [getattr(self._tenant, name)]
        }
        same = self._keeper.setting
        if same is not None and self._old is None and held[same[0]] is not None:
            # The same place, as the settings spell it.
            wanted[same[0]] = held[same[0]]
        return {name: value for name, value in wanted.items() if value != held[name]}

    async def _apply(self, plan: Plan) -> Outcome:
        tenant_id, graph = plan.directory.tenant_id, self._graph
        if plan.directory.application is None:
            self._tell.step(f"Registering the application {plan.name}")
        client_id = await apply.register(graph, plan)
        # From now on a run that is stopped knows which application is its own.
        settings = self._settings(tenant_id, client_id)
        known = {key: value for key, value in settings.items() if key in ("id", "client_id")}
        write_tenant(self._wish.file, known)
        principal_id = plan.directory.principal_id
        if principal_id is None:
            self._tell.step("Making its service principal")
            principal_id = await apply.make_principal(graph, client_id)
        proof = await self._credential(plan, client_id)
        link = ""
        consents = self._wish.consents
        if plan.to_consent and not (consents and await apply.consent(graph, plan, principal_id)):
            link = f"{self._cloud.sign_in}/{tenant_id}/adminconsent?client_id={client_id}"
            self._tell.consent(link, self._wish.wait)
        seconds = self._wish.wait.total_seconds() if link else _ROLES_WITHIN
        held = await proof.holds(frozenset(plan.permissions), seconds=seconds)
        return Outcome(plan, tenant_id, client_id, True, link, held)

    async def _credential(self, plan: Plan, client_id: str) -> Proof:
        """Have a credential that signs in, kept where the settings lead to it."""
        keeper, todo, graph = self._keeper, plan.credential, self._graph
        app = await patiently(lambda: self._application(client_id))
        if todo.action == "create":
            await self._create(plan, app)
        elif todo.action == "register":
            material = keeper.read(todo.slot)
            if material is not None:
                self._tell.step("Registering the certificate")
                await apply.add_certificate(graph, app, self._own_name, material)
        if todo.action != "keep":
            self._tell.step("Waiting until it signs in, which takes up to a minute")
        tenant_id = plan.directory.tenant_id
        credential = credential_of(keeper, todo.slot, tenant_id, client_id)
        await Proof(credential, self._tenant).signs_in()
        if keeper.kind is Kind.ENVIRONMENT and todo.action == "create":
            made = keeper.read(Slot.NEXT)
            if made is not None:
                self._tell.secret(keeper.where, made.text.get_secret_value())
        if todo.slot is Slot.NEXT:
            keeper.promote()
        write_tenant(self._wish.file, self._settings(tenant_id, client_id))
        for gone in todo.remove:
            self._tell.step(f"Removing the {gone.text()}")
            await apply.remove(graph, app, gone)
        keeper.write(Slot.PREVIOUS, None)
        kept = credential_of(keeper, Slot.CURRENT, tenant_id, client_id)
        return Proof(kept, self._tenant)

    async def _create(self, plan: Plan, app: Application) -> None:
        until = plan.credential.expires or datetime.now(UTC) + self._wish.valid_for
        if self._keeper.kind is Kind.CERTIFICATE:
            self._tell.step("Making a key and a certificate")
            made = await asyncio.to_thread(new_certificate, plan.name, self._wish.valid_for)
            # Kept before it is registered: a run that is stopped in between goes on with it.
            self._keeper.write(Slot.NEXT, made)
            await apply.add_certificate(self._graph, app, self._own_name, made)
        else:
            self._tell.step("Making a client secret")
            secret = await apply.add_secret(self._graph, app, self._own_name, until)
            self._keeper.write(Slot.NEXT, secret)

    async def _application(self, client_id: str) -> Application:
        found = await find_application(self._graph, client_id, "")
        if found is None:
            raise _GoneError(f"The application {client_id} cannot be found.")
        return found


class _GoneError(NotFoundError):
    """The application that was named is not there, or not visible yet."""

    exit_code = ExitCode.SETTINGS

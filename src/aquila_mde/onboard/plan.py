"""What has to be created or changed, as a difference: worked out, not done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from aquila_mde.errors import ConfigurationError
from aquila_mde.onboard.directory import Directory
from aquila_mde.onboard.keeping import Keeper, Kind, Slot
from aquila_mde.onboard.material import KEY_BITS, Material, Registered
from aquila_mde.onboard.permissions import Permission

SOON = timedelta(days=30)
"""A credential that ends within this time is spoken of."""


@dataclass(frozen=True)
class Change:
    """One line of the plan: ``+`` is created, ``~`` changed, ``-`` removed, ``=`` left alone."""

    sign: Literal["+", "~", "-", "="]
    what: str
    detail: str = ""


@dataclass(frozen=True)
class CredentialPlan:
    """What becomes of the credential."""

    action: Literal["keep", "create", "register", "finish"]
    """Finish: an earlier run has added it, and was stopped before it was proven."""
    kind: Kind
    slot: Slot = Slot.NEXT
    """Where it lies until it is proven."""
    expires: datetime | None = None
    remove: tuple[Registered, ...] = ()
    """What the application does not need any more once the new one is proven."""


@dataclass(frozen=True)
class Plan:
    """Everything that will be done, in this order."""

    directory: Directory
    name: str
    permissions: tuple[Permission, ...]
    """Each is offered in this tenant."""
    credential: CredentialPlan
    where: str
    """Where the credential is kept."""
    settings: dict[str, str | None]
    """Keys of the tenant in the settings file that are set or, where None, removed."""
    remarks: tuple[str, ...] = ()

    @property
    def to_request(self) -> tuple[Permission, ...]:
        """Permissions that the application does not ask for yet."""
        return self._without(self.directory.requested)

    @property
    def to_consent(self) -> tuple[Permission, ...]:
        """Permissions that nobody has consented to yet."""
        return self._without(self.directory.granted)

    def _without(self, held: frozenset[Permission]) -> tuple[Permission, ...]:
        return tuple(each for each in self.permissions if each not in held)

    @property
    def changes_nothing(self) -> bool:
        """Whether everything is as it should be."""
        return all(change.sign == "=" for change in self.changes())

    def changes(self) -> list[Change]:
        """The plan line by line."""
        return [
            *self._of_application(),
            *self._of_permissions(),
            *self._of_credential(),
            *self._of_settings(),
        ]

    def _of_application(self) -> list[Change]:
        app = self.directory.application
        if app is None:
            return [
                Change("+", f"application {self.name}", "single tenant"),
                Change("+", "service principal"),
            ]
        return [
            Change("=", f"application {app.name}", app.client_id),
            Change("+" if self.directory.principal_id is None else "=", "service principal"),
        ]

    def _of_permissions(self) -> list[Change]:
        lines = []
        for each in self.permissions:
            sign: Literal["+", "="] = "+" if each in self.to_request else "="
            lines.append(Change(sign, f"permission {each.name}", f"{each.api.name}, application"))
        for each in self.permissions:
            granted = each not in self.to_consent
            lines.append(Change("=" if granted else "+", f"admin consent to {each.name}"))
        return lines

    def _of_credential(self) -> list[Change]:
        plan = self.credential
        what = "certificate" if plan.kind is Kind.CERTIFICATE else "client secret"
        until = f"valid until {plan.expires:%Y-%m-%d}" if plan.expires else ""
        detail = {
            "keep": until,
            "create": f"{f'RSA {KEY_BITS}, ' if what == 'certificate' else ''}{until}",
            "register": f"the one in {self.where}, {until}",
            "finish": f"added by an earlier run, {until}",
        }[plan.action]
        lines = [Change("=" if plan.action == "keep" else "+", what, detail)]
        if plan.action == "create":
            kept = f"{self.where}, mode 600"
            if plan.kind is Kind.KEYRING:
                kept = self.where
            elif plan.kind is Kind.ENVIRONMENT:
                kept = f"shown once as {self.where}=…"
            lines.append(
                Change("+", f"{'private key' if what == 'certificate' else 'its value'}", kept)
            )
        when = "" if plan.action == "keep" else "once the new one has got a token"
        return lines + [Change("-", each.text(), when) for each in plan.remove]

    def _of_settings(self) -> list[Change]:
        return [
            Change("-" if value is None else "~", f"settings: tenant.{key}", value or "")
            for key, value in self.settings.items()
        ]


def plan_credential(
    keeper: Keeper,
    old: Material | None,
    registered: tuple[Registered, ...],
    *,
    rotate: bool,
    valid_for: timedelta,
    own_name: str,
    now: datetime,
) -> CredentialPlan:
    """Keep what works; otherwise go on where an earlier run was stopped, or make a new one.

    ``old`` is the credential of another kind that the settings lead to so far. ``own_name`` is what
    a secret that this machine has made is called.
    """
    current, waiting = keeper.read(), keeper.read(Slot.NEXT)
    held = current.among(registered) if current else None
    works = held is not None and held.expires > now
    remove = _left_over(keeper, registered) if held else ()
    replaced = [held] if held else []
    if rotate and old is not None and (former := old.among(registered)):
        replaced.append(former)
    if keeper.kind is Kind.ENVIRONMENT:
        # The collector's environment changes when somebody changes it, so it is needed till then.
        replaced = []
    gone = (*remove, *replaced)
    if waiting is not None and (known := waiting.among(registered)):
        return CredentialPlan("finish", keeper.kind, expires=known.expires, remove=gone)
    if works and held and not rotate:
        return CredentialPlan("keep", keeper.kind, Slot.CURRENT, held.expires, remove)
    if waiting is not None and waiting.expires is not None and waiting.expires > now:
        return CredentialPlan("register", keeper.kind, expires=waiting.expires, remove=gone)
    if current is not None and not held and not rotate:
        if current.expires is not None and current.expires > now:
            return CredentialPlan("register", keeper.kind, Slot.CURRENT, current.expires)
    elif current is None and old is None and keeper.kind is Kind.ENVIRONMENT and not rotate:
        _refuse_second(registered, own_name, now)
    return CredentialPlan("create", keeper.kind, expires=now + valid_for, remove=gone)


def _left_over(keeper: Keeper, registered: tuple[Registered, ...]) -> tuple[Registered, ...]:
    """What a rotation that was stopped has replaced and not removed yet."""
    previous = keeper.read(Slot.PREVIOUS)
    known = previous.among(registered) if previous else None
    return (known,) if known else ()


def _refuse_second(registered: tuple[Registered, ...], own_name: str, now: datetime) -> None:
    for each in registered:
        if each.name == own_name and not each.is_certificate and each.expires > now:
            raise ConfigurationError(
                f"The application has a secret that was made here ({each.text()}), and "
                "AQUILA_CLIENT_SECRET does not hold it. A secret is shown once only.",
                hint="Set AQUILA_CLIENT_SECRET to what was shown and run the command again, or "
                "make a new one with --rotate.",
            )


def remarks_on(directory: Directory, permissions: tuple[Permission, ...]) -> tuple[str, ...]:
    """What is unusual and not changed, since it may be somebody's intention."""
    app = directory.application
    if app is None:
        return ()
    found = []
    if not app.single_tenant:
        found.append(
            f"The application {app.name} is open to other tenants; this collector does not need "
            "that."
        )
    held = directory.requested | directory.granted
    more = sorted(each.name for each in held - set(permissions))
    if more:
        found.append(f"The application also has {', '.join(more)}, which no enabled stream needs.")
    return tuple(found)


def remarks_on_credential(plan: CredentialPlan, now: datetime | None = None) -> tuple[str, ...]:
    """What somebody has to think of."""
    soon = (now or datetime.now(UTC)) + SOON
    if plan.action == "keep" and plan.expires is not None and plan.expires < soon:
        return (f"The credential ends on {plan.expires:%Y-%m-%d}: --rotate makes a new one.",)
    if plan.action == "create" and plan.kind is Kind.ENVIRONMENT:
        return (
            "A secret that was in use before stays valid until the collector has the new one in "
            "its environment; then remove it in Entra.",
        )
    return ()

"""``aquila-mde onboard``: registers the application in Entra and writes the settings for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aquila_mde.cli._options import (
    STOPPED,
    JsonOption,
    LogLevel,
    LogLevelOption,
    read_duration,
    start_logging,
)
from aquila_mde.cli._output import complain, print_json, say
from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.onboard.keeping import Kind
from aquila_mde.settings import load_onboarding_settings
from aquila_mde.streams.tree import PackageTree

if TYPE_CHECKING:
    from aquila_mde.defender.device_code import DeviceCode
    from aquila_mde.onboard.plan import Plan
    from aquila_mde.onboard.run import Outcome


def onboard(
    config: Annotated[
        Path,
        typer.Option(
            "--config",
            "-c",
            envvar="AQUILA_CONFIG",
            metavar="FILE",
            help="Settings file (YAML) to write, or to change: only keys of the tenant.",
        ),
    ] = Path("aquila.yml"),
    tenant: Annotated[
        str | None,
        typer.Option(
            help="GUID or domain of the tenant; by default that of whoever signs in.",
            show_default=False,
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(help="Use this application, and make none.", show_default=False),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the application that is used or made.")
    ] = "Aquila MDE collector",
    credential: Annotated[
        Kind | None,
        typer.Option(
            help="Certificate with its key in a file, or a secret: in a file, in the keyring of "
            "this system, or shown once for the environment. [default: what is there, otherwise "
            "certificate]",
            show_default=False,
        ),
    ] = None,
    valid_for: Annotated[
        str, typer.Option(metavar="DURATION", help="How long a new credential is good.")
    ] = "365d",
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="New credential, proven by a token; then remove the old."),
    ] = False,
    no_consent: Annotated[
        bool,
        typer.Option(
            "--no-consent",
            help="Sign in without the right to consent; somebody else does it by a link.",
        ),
    ] = False,
    wait: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait for that consent.")
    ] = "15m",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask on a terminal before it is done.")
    ] = False,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
) -> None:
    """Register the application in Entra, have it consented to, and write the settings.

    Running it again changes nothing; a run that was stopped goes on where it was.
    """
    from aquila_mde.onboard.permissions import needed_permissions
    from aquila_mde.onboard.run import Wish
    from aquila_mde.onboard.run import onboard as act

    start_logging(log_level, LogLevel.WARNING)
    settings = load_onboarding_settings(config)
    wish = Wish(
        settings=settings,
        file=config,
        permissions=needed_permissions(settings, PackageTree.default()),
        tenant=tenant,
        client_id=client_id,
        name=name,
        kind=credential,
        valid_for=read_duration(valid_for, "--valid-for"),
        rotate=rotate,
        consents=not no_consent,
        dry_run=dry_run,
        wait=read_duration(wait, "--wait"),
    )
    shown = _Shown(complain if as_json else say, ask=not (yes or dry_run))
    try:
        outcome = asyncio.run(act(wish, shown))
    except KeyboardInterrupt:
        complain("Stopped. The same command goes on where this one was.")
        raise typer.Exit(STOPPED) from None
    if as_json:
        print_json(_as_dict(outcome, config))
    elif outcome.applied:
        _show(outcome, config)
    if outcome.applied and outcome.missing:
        raise _incomplete(outcome)


class _Shown:
    """Tells whoever sits in front of it."""

    def __init__(self, say: Callable[[str], None], *, ask: bool) -> None:
        self._say, self._ask = say, ask

    def sign_in(self, code: DeviceCode) -> None:
        self._say(
            f"Sign in at {code.page} with the code {code.code} (good for {code.minutes} minutes)."
        )

    def plan(self, operator: str, plan: Plan) -> bool:
        self._say(f"Signed in as {operator}, tenant {plan.directory.tenant_id}")
        for change in plan.changes():
            detail = f"  ({change.detail})" if change.detail else ""
            self._say(f"  {change.sign} {change.what}{detail}")
        for remark in plan.remarks:
            self._say(f"  ! {remark}")
        if plan.changes_nothing:
            self._say("Nothing has to be changed.")
        elif self._ask and sys.stdin.isatty() and sys.stdout.isatty():
            return typer.confirm("Do this?", default=True)
        return True

    def step(self, text: str) -> None:
        self._say(f"{text} …")

    def consent(self, link: str, wait: timedelta) -> None:
        self._say(
            "Somebody who may consent (Privileged Role Administrator, Global Administrator) has to "
            f"open this link:\n  {link}\n"
            "A complaint about a missing reply address afterwards (AADSTS500113) is of no "
            f"importance. Waiting for it, {wait.total_seconds() / 60:.0f} minutes at most …"
        )

    def secret(self, variable: str, value: str) -> None:
        # Past every filter for secrets, since this is where it is handed over.
        stream = sys.stderr if self._say is complain else sys.stdout
        stream.write(f"Set this for the collector; it is shown only once:\n{variable}={value}\n")
        stream.flush()


def _show(outcome: Outcome, config: Path) -> None:
    for each in outcome.plan.permissions:
        say(f"  {'✓' if each in outcome.held else '✗'} {each.name}")
    until = outcome.plan.credential.expires
    say(
        f"Application {outcome.client_id}, settings in {config}"
        + (f", credential valid until {until:%Y-%m-%d}" if until else "")
    )
    if not outcome.missing:
        say(f"Next: aquila-mde install --config {config}")


def _incomplete(outcome: Outcome) -> PermissionDeniedError:
    missing = [each.name for each in outcome.missing]
    how = f"It is given by {outcome.consent_link}" if outcome.consent_link else ""
    return PermissionDeniedError(
        f"A token of the application does not hold {', '.join(missing)} yet.",
        code="Forbidden",
        hint=f"{how or 'Admin consent takes effect with a delay'}; run the command again then: it "
        "changes nothing that is done.",
    )


def _as_dict(outcome: Outcome, config: Path) -> dict[str, Any]:
    plan = outcome.plan
    until = plan.credential.expires
    return {
        "tenant_id": outcome.tenant_id,
        "client_id": outcome.client_id,
        "settings": str(config),
        "applied": outcome.applied,
        "plan": [
            {"sign": each.sign, "what": each.what, "detail": each.detail} for each in plan.changes()
        ],
        "remarks": list(plan.remarks),
        "credential": {"kind": plan.credential.kind, "expires": until and until.isoformat()},
        "consent_link": outcome.consent_link or None,
        "permissions": {each.name: each in outcome.held for each in plan.permissions},
    }

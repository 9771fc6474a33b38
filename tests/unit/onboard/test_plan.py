"""The plan: what is there, what is wanted, and the difference. Nobody is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from aquila_mde.errors import ConfigurationError
from aquila_mde.onboard.directory import Application, Directory, Offer
from aquila_mde.onboard.keeping import EnvironmentKeeper, FileKeeper, Kind, Slot
from aquila_mde.onboard.material import Material, Registered, new_certificate
from aquila_mde.onboard.permissions import (
    DEFENDER,
    MICROSOFT_GRAPH,
    Api,
    Permission,
    needed_permissions,
)
from aquila_mde.onboard.plan import (
    CredentialPlan,
    Plan,
    plan_credential,
    remarks_on,
    remarks_on_credential,
)
from aquila_mde.settings import OnboardingSettings, UnfinishedTenant
from aquila_mde.streams.tree import PackageTree

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=300)
OFFERS = {
    DEFENDER: Offer(
        DEFENDER, "defender", {"Alert.Read.All": "a", "Machine.Read.All": "m", "Other": "o"}
    ),
    MICROSOFT_GRAPH: Offer(MICROSOFT_GRAPH, "graph", {"ThreatHunting.Read.All": "t"}),
}
NEEDED = tuple(Permission(DEFENDER, name) for name in ("Alert.Read.All", "Machine.Read.All"))
HUNTING = Permission(MICROSOFT_GRAPH, "ThreatHunting.Read.All")


def asks(api: Api, role_ids: str, kind: str = "Role") -> dict[str, Any]:
    roles = [{"id": role_id, "type": kind} for role_id in role_ids]
    return {"resourceAppId": api.app_id, "resourceAccess": roles}


APP = Application("object", "client", "Aquila", True, (), (asks(DEFENDER, "am"),))
KEEP = CredentialPlan("keep", Kind.CERTIFICATE, Slot.CURRENT, LATER)


def plan_of(
    directory: Directory,
    credential: CredentialPlan = KEEP,
    permissions: tuple[Permission, ...] = NEEDED,
    **settings: str,
) -> Plan:
    return Plan(directory, "Aquila", permissions, credential, "aquila.pem", dict(settings))


def signs(plan: Plan) -> list[str]:
    return [f"{change.sign} {change.what}" for change in plan.changes()]


def test_of_an_empty_tenant_everything_is_made() -> None:
    create = CredentialPlan("create", Kind.CERTIFICATE, expires=LATER)
    assert signs(plan_of(Directory("t", OFFERS), create, id="t")) == [
        "+ application Aquila",
        "+ service principal",
        "+ permission Alert.Read.All",
        "+ permission Machine.Read.All",
        "+ admin consent to Alert.Read.All",
        "+ admin consent to Machine.Read.All",
        "+ certificate",
        "+ private key",
        "~ settings: tenant.id",
    ]


def test_where_all_is_as_it_should_be_nothing_changes() -> None:
    plan = plan_of(Directory("t", OFFERS, APP, "principal", frozenset(NEEDED)))
    assert plan.changes_nothing
    assert {line[0] for line in signs(plan)} == {"="}


def test_only_what_is_missing_is_added() -> None:
    app = replace(APP, access=(asks(DEFENDER, "a"),))
    plan = plan_of(Directory("t", OFFERS, app, None, frozenset(NEEDED[:1])))
    assert [line for line in signs(plan) if line[0] != "="] == [
        "+ service principal",
        "+ permission Machine.Read.All",
        "+ admin consent to Machine.Read.All",
    ]
    assert plan.to_request == plan.to_consent == NEEDED[1:]


def test_a_permission_counts_for_its_own_api_and_its_own_kind_only() -> None:
    # The same ids: one of another API, one that only a signed-in user would have.
    access = (asks(DEFENDER, "amt"), asks(MICROSOFT_GRAPH, "t", "Scope"))
    directory = Directory("t", OFFERS, replace(APP, access=access), "principal", frozenset(NEEDED))
    plan = plan_of(directory, permissions=(*NEEDED, HUNTING))
    assert plan.to_request == plan.to_consent == (HUNTING,)
    (asked,) = [change for change in plan.changes() if change.what.startswith("permission T")]
    assert (asked.sign, asked.detail) == ("+", "Microsoft Graph, application")


@pytest.mark.parametrize(
    ("api", "enabled", "more"),
    [
        ("defender", False, []),
        ("graph", False, []),
        ("defender", True, [Permission(DEFENDER, "AdvancedQuery.Read.All")]),
        ("graph", True, [HUNTING]),
    ],
)
def test_hunting_needs_the_permission_of_its_api_once_it_is_on(
    api: str, enabled: bool, more: list[Permission]
) -> None:
    settings = OnboardingSettings.model_validate(
        {"streams": {"hunting": {"enabled": enabled}}, "hunting": {"api": api}}
    )
    without = needed_permissions(OnboardingSettings(), PackageTree.default())
    needed = needed_permissions(settings, PackageTree.default())
    assert set(needed) == {*without, *more}
    assert [each.api for each in needed] == sorted(
        (each.api for each in needed), key=[DEFENDER, MICROSOFT_GRAPH].index
    )


def test_what_is_unusual_is_said_and_left_alone() -> None:
    app = replace(APP, single_tenant=False)
    granted = {*NEEDED, *(Permission(DEFENDER, name) for name in ("Other", "x"))}
    directory = Directory("t", OFFERS, app, "principal", frozenset(granted))
    assert "open to other tenants" in remarks_on(directory, NEEDED)[0]
    assert "also has Other, x, which no enabled stream needs" in remarks_on(directory, NEEDED)[1]
    assert remarks_on(Directory("t", OFFERS), NEEDED) == ()


def test_a_credential_that_ends_soon_is_spoken_of() -> None:
    assert remarks_on_credential(KEEP, NOW) == ()
    assert "--rotate" in remarks_on_credential(KEEP, LATER - timedelta(days=29))[0]


def registered(material: Material, key_id: str, expires: datetime = LATER) -> Registered:
    if material.is_certificate:
        der = material.certificate.public_bytes(Encoding.DER)
        return Registered(key_id, True, "", expires, der=der)
    return Registered(key_id, False, "me", expires, hint=material.text.get_secret_value()[:3])


def decide(
    keeper: FileKeeper | EnvironmentKeeper,
    *known: Registered,
    rotate: bool = False,
    old: Material | None = None,
) -> CredentialPlan:
    return plan_credential(
        keeper, old, known, rotate=rotate, valid_for=timedelta(days=9), own_name="me", now=NOW
    )


@pytest.fixture(scope="module")
def pair() -> tuple[Material, Material]:
    # Their validity counts from the real time, as that of all certificates that are made here.
    return new_certificate("one", timedelta(days=900)), new_certificate("two", timedelta(days=900))


@pytest.fixture
def keeper(tmp_path: Path) -> FileKeeper:
    return FileKeeper(tmp_path / "aquila.pem", Kind.CERTIFICATE)


Pair = tuple[Material, Material]


def test_a_certificate_that_works_is_kept(keeper: FileKeeper, pair: Pair) -> None:
    keeper.write(Slot.CURRENT, pair[0])
    found = decide(keeper, registered(pair[1], "2"), registered(pair[0], "1"))
    assert found == CredentialPlan("keep", Kind.CERTIFICATE, Slot.CURRENT, LATER)


def test_a_rotation_replaces_it(keeper: FileKeeper, pair: Pair) -> None:
    keeper.write(Slot.CURRENT, pair[0])
    found = decide(keeper, registered(pair[0], "1"), rotate=True)
    assert (found.action, [each.key_id for each in found.remove]) == ("create", ["1"])


def test_one_that_is_over_is_replaced(keeper: FileKeeper, pair: Pair) -> None:
    keeper.write(Slot.CURRENT, pair[0])
    found = decide(keeper, registered(pair[0], "1", NOW))
    assert (found.action, [each.key_id for each in found.remove]) == ("create", ["1"])


def test_a_key_that_lies_there_is_registered(keeper: FileKeeper, pair: Pair) -> None:
    keeper.write(Slot.CURRENT, pair[0])
    assert decide(keeper) == CredentialPlan(
        "register", Kind.CERTIFICATE, Slot.CURRENT, pair[0].expires
    )


def test_a_rotation_that_was_stopped_is_finished(keeper: FileKeeper, pair: Pair) -> None:
    keeper.write(Slot.CURRENT, pair[0])
    keeper.write(Slot.NEXT, pair[1])
    known = registered(pair[0], "1")
    # Not registered yet: without --rotate the old one goes on, with it the new one is taken.
    assert decide(keeper, known).action == "keep"
    assert decide(keeper, known, rotate=True).action == "register"
    found = decide(keeper, known, registered(pair[1], "2"))
    assert (found.action, [each.key_id for each in found.remove]) == ("finish", ["1"])
    keeper.promote()
    found = decide(keeper, known, registered(pair[1], "2"))
    assert (found.action, [each.key_id for each in found.remove]) == ("keep", ["1"])


def test_another_kind_takes_the_place_of_the_one_in_use(keeper: FileKeeper, pair: Pair) -> None:
    secret = Material.secret("abc~the-old-one")
    known = registered(secret, "s")
    assert decide(keeper, known, old=secret).remove == ()
    assert decide(keeper, known, old=secret, rotate=True).remove == (known,)


def test_a_secret_is_told_by_how_it_begins(tmp_path: Path) -> None:
    keeper = FileKeeper(tmp_path / "aquila.secret", Kind.FILE)
    keeper.write(Slot.CURRENT, Material.secret("abc~secret"))
    known = registered(Material.secret("abc~secret"), "s")
    assert decide(keeper, known).action == "keep"
    assert decide(keeper, replace(known, hint="xyz")).action == "create"
    assert decide(keeper, replace(known, hint="")).action == "create"
    with pytest.raises(ConfigurationError, match=r"s, t is ours cannot be told"):
        decide(keeper, known, replace(known, key_id="t"))


def test_a_secret_that_was_shown_is_not_made_again() -> None:
    keeper = EnvironmentKeeper(UnfinishedTenant())
    known = registered(Material.secret("abc~secret"), "s")
    with pytest.raises(ConfigurationError, match="AQUILA_CLIENT_SECRET does not hold it"):
        decide(keeper, known)
    assert decide(keeper, replace(known, name="another")).action == "create"
    assert decide(keeper, known, rotate=True).action == "create"


def test_a_secret_in_the_environment_is_not_removed_under_a_running_collector() -> None:
    keeper = EnvironmentKeeper(UnfinishedTenant(client_secret="abc~secret"))
    found = decide(keeper, registered(Material.secret("abc~secret"), "s"), rotate=True)
    assert (found.action, found.remove) == ("create", ())
    assert "stays valid" in remarks_on_credential(found, NOW)[0]


def test_a_thumbprint_tells_a_certificate_whose_key_is_not_told(pair: Pair) -> None:
    digest = pair[0].certificate.fingerprint(hashes.SHA1())
    told = Registered("1", True, "", LATER, thumbprint=digest.hex().upper())
    assert pair[0].among((told,)) is told
    assert pair[1].among((told,)) is None

"""The simulated directory refuses and delays as Microsoft's does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.plugins.simulator import StartSimulator

from aquila_mde.simulator.graph_apis import DEFENDER
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.server import SimulatorServer

from .conftest import Caller

GRAPH = "https://graph.microsoft.com"
ALL = ("Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All")
SLOW = Quirks(directory_delay=timedelta(minutes=1), credential_delay=timedelta(minutes=1))
TINY: dict[str, Any] = {"machines": 1, "alerts": 1, "actions": 0, "vulnerabilities": 0}


class Operator:
    """Somebody with a browser and a token for Graph."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server = server
        self.caller = Caller(server)
        self.http = self.caller.http
        self.token = ""

    def ask_code(self, *scopes: str, tenant: str = "organizations") -> httpx.Response:
        scope = " ".join(f"{GRAPH}/{each}" for each in scopes)
        return self.http.post(
            f"/{tenant}/oauth2/v2.0/devicecode", data={"client_id": "tool", "scope": scope}
        )

    def redeem(self, code: dict[str, Any]) -> httpx.Response:
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        form = {"grant_type": grant, "client_id": "tool", "device_code": code["device_code"]}
        return self.http.post("/organizations/oauth2/v2.0/token", data=form)

    def sign_in(self, name: str = "admin", scopes: tuple[str, ...] = ALL) -> Operator:
        self.server.control.expect_operator(name)
        code = self.ask_code(*scopes).raise_for_status().json()
        self.token = self.redeem(code).raise_for_status().json()["access_token"]
        return self

    def ask(self, method: str, path: str, body: Any = None, **params: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        query = {f"${name}": value for name, value in params.items()}
        return self.http.request(method, f"/v1.0{path}", json=body, params=query, headers=headers)


Open = Callable[..., Operator]


@pytest.fixture
def operator(simulator: StartSimulator) -> Iterator[Open]:
    opened: list[Operator] = []

    def start(**options: Any) -> Operator:
        opened.append(Operator(simulator(**TINY, registered=False, **options)))
        return opened[-1]

    yield start
    for each in opened:
        each.http.close()


def error_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"])


def test_a_code_is_pending_then_good_for_one_token(operator: Open) -> None:
    me = operator()
    code = me.ask_code(*ALL).json()
    assert (code["interval"], code["expires_in"]) == (5, 900)
    waiting = me.redeem(code)
    assert (waiting.status_code, error_of(waiting)) == (400, "authorization_pending")
    assert error_of(me.redeem(code)) == "slow_down"
    me.server.control.advance(timedelta(seconds=5))
    assert error_of(me.redeem(code)) == "authorization_pending"
    me.server.control.approve_sign_in(code["user_code"])
    assert me.redeem(code).json()["scope"] == " ".join(f"{GRAPH}/{s}" for s in sorted(ALL))
    assert error_of(me.redeem(code)) == "bad_verification_code"


def test_a_code_can_be_declined_and_grows_old(operator: Open) -> None:
    me = operator()
    old, declined = me.ask_code(*ALL).json(), me.ask_code(*ALL).json()
    me.server.control.decline_sign_in(declined["user_code"])
    assert error_of(me.redeem(declined)) == "authorization_declined"
    me.server.control.advance(timedelta(minutes=15))
    assert error_of(me.redeem(old)) == "expired_token"
    assert error_of(me.ask_code()) == "invalid_request"
    assert me.ask_code(*ALL, tenant="fabrikam.com").json()["error_codes"] == [90002]


def test_the_page_where_codes_are_typed(operator: Open) -> None:
    me = operator()
    code = me.ask_code(*ALL).json()
    assert "registrar" in me.http.get("/devicelogin").text
    form = {"code": code["user_code"], "operator": "reader", "answer": "yes"}
    assert me.http.post("/devicelogin", data=form | {"code": "x"}).status_code == 400
    assert me.http.post("/devicelogin", data=form | {"operator": "x"}).status_code == 400
    assert me.http.post("/devicelogin", data=form).status_code == 200
    assert me.redeem(code).status_code == 200
    other = me.ask_code(*ALL).json()
    me.http.post("/devicelogin", data={"code": other["user_code"], "answer": "no"})
    assert error_of(me.redeem(other)) == "authorization_declined"


@pytest.mark.parametrize(
    ("name", "scopes", "path", "status"),
    [
        ("admin", ALL, "/applications", 201),
        ("registrar", ALL, "/applications", 201),
        ("reader", ALL, "/applications", 403),
        ("admin", ("Application.Read.All",), "/applications", 403),
        ("registrar", ALL, "/servicePrincipals/x/appRoleAssignments", 403),
        ("admin", ALL[:1], "/servicePrincipals/x/appRoleAssignments", 403),
        ("admin", ALL, "/servicePrincipals/x/appRoleAssignments", 404),
    ],
)
def test_who_may_what(
    operator: Open, name: str, scopes: tuple[str, ...], path: str, status: int
) -> None:
    me = operator().sign_in(name, scopes)
    assert me.ask("POST", path, {"displayName": "x"}).status_code == status


def test_graph_and_defender_take_no_token_of_the_other(operator: Open) -> None:
    me = operator().sign_in()
    headers = {"Authorization": f"Bearer {me.token}"}
    assert me.http.get("/api/alerts", headers=headers).status_code == 401
    me.token = "x"
    assert me.ask("GET", "/applications", filter="appId eq 'x'").status_code == 401


def test_what_was_made_is_visible_after_a_while(operator: Open) -> None:
    me = operator(quirks=SLOW).sign_in()
    control = me.server.control
    app = me.ask("POST", "/applications", {"displayName": "O'Brien"}).json()
    named = {"filter": "displayName eq 'O''Brien'"}
    assert me.ask("GET", "/applications", **named).json()["value"] == []
    assert me.ask("GET", f"/applications/{app['id']}").status_code == 404
    principal = {"appId": app["appId"]}
    assert me.ask("POST", "/servicePrincipals", principal).status_code == 400
    control.advance(timedelta(minutes=1))
    assert len(me.ask("GET", "/applications", **named).json()["value"]) == 1
    made = me.ask("POST", "/servicePrincipals", principal).json()
    assert me.ask("POST", "/servicePrincipals", principal).status_code == 409
    path = f"/servicePrincipals/{made['id']}/appRoleAssignments"
    assert me.ask("GET", path).status_code == 404
    control.advance(timedelta(minutes=1))
    (defender,) = me.ask("GET", "/servicePrincipals", filter=f"appId eq '{DEFENDER}'").json()[
        "value"
    ]
    role = next(r["id"] for r in defender["appRoles"] if r["value"] == "Alert.Read.All")
    wanted = {"principalId": made["id"], "resourceId": defender["id"], "appRoleId": role}
    assert me.ask("POST", path, wanted).status_code == 201
    assert "already exists" in me.ask("POST", path, wanted).text
    assert "was not found" in me.ask("POST", path, wanted | {"appRoleId": "x"}).text
    assert me.ask("POST", path, wanted | {"resourceId": "x"}).status_code == 404
    assert len(me.ask("GET", path).json()["value"]) == 1


def test_a_secret_is_told_once_and_good_after_a_while(operator: Open) -> None:
    me = operator(quirks=SLOW).sign_in()
    control = me.server.control
    app = me.ask("POST", "/applications", {"displayName": "x"}).json()
    control.advance(timedelta(minutes=1))
    path = f"/applications/{app['id']}"
    wanted = {"passwordCredential": {"displayName": "s", "endDateTime": "2027-01-01T00:00:00Z"}}
    told = me.ask("POST", f"{path}/addPassword", wanted).json()

    def token() -> Any:
        answer = me.caller.ask_token(client_id=app["appId"], client_secret=told["secretText"])
        return answer.json().get("error_codes")

    assert token() == [700016]
    me.ask("POST", "/servicePrincipals", {"appId": app["appId"]}).raise_for_status()
    assert token() == [7000215]
    control.advance(timedelta(minutes=1))
    assert token() is None
    (listed,) = me.ask("GET", path).json()["passwordCredentials"]
    assert listed["secretText"] is None
    assert (listed["hint"], listed["keyId"]) == (told["secretText"][:3], told["keyId"])
    assert told["secretText"] not in str(control.directory())
    gone = {"keyId": told["keyId"]}
    assert me.ask("POST", f"{path}/removePassword", gone).status_code == 204
    assert me.ask("POST", f"{path}/removePassword", gone).status_code == 400
    assert token() == [7000215]


def test_certificates_are_replaced_as_a_whole(operator: Open) -> None:
    me = operator().sign_in()
    app = me.ask("POST", "/applications", {"displayName": "x"}).json()
    me.server.control.advance(timedelta(minutes=1))
    me.server.certificate_file()
    path = f"/applications/{app['id']}"
    assert me.ask("GET", path).json()["keyCredentials"][0]["key"] is None
    held = me.ask("GET", path, select="keyCredentials").json()["keyCredentials"]
    assert re.fullmatch(r"[0-9A-F]{40}", held[0]["customKeyIdentifier"])
    assert me.ask("PATCH", path, {"keyCredentials": held}).status_code == 204
    bad = [{"key": None}]
    assert me.ask("PATCH", path, {"keyCredentials": bad}).status_code == 400
    assert len(me.ask("GET", path).json()["keyCredentials"]) == 1
    me.ask("PATCH", path, {"keyCredentials": []})
    assert me.ask("GET", path).json()["keyCredentials"] == []


def test_what_cannot_be_asked_is_refused(operator: Open) -> None:
    me = operator().sign_in()
    assert me.ask("GET", "/applications", filter="startswith(appId,'x')").status_code == 400
    assert me.ask("GET", "/servicePrincipals", filter="id eq 'x'").status_code == 400
    assert me.ask("POST", "/applications", {}).status_code == 400
    headers = {"Authorization": f"Bearer {me.token}"}
    assert me.http.post("/v1.0/applications", content=b"{", headers=headers).status_code == 400


def test_a_tenant_without_defender(operator: Open) -> None:
    me = operator(licensed=False).sign_in()
    found = me.ask("GET", "/servicePrincipals", filter=f"appId eq '{DEFENDER}'")
    assert found.json()["value"] == []
    assert me.caller.ask_token().json()["error_codes"] == [500011]


def test_a_registered_application_is_told_with_what_control_does(
    simulator: StartSimulator,
) -> None:
    server = simulator(**TINY)
    control = server.control
    control.remove_role("Alert.Read.All")
    told = control.directory()
    (app,) = told["applications"]
    assert app["appId"] == server.client_id
    apis = [each["resourceDisplayName"] for each in told["appRoleAssignments"]]
    assert apis == ["WindowsDefenderATP"] * 3 + ["Microsoft Graph"]
    control.give_consent()
    assert len(control.directory()["appRoleAssignments"]) == 5
    with pytest.raises(KeyError):
        control.give_consent("unknown")
    with Operator(server).http as browser:
        link = f"/{server.tenant_id}/adminconsent?client_id="
        assert browser.get(link + server.client_id).status_code == 200
        assert browser.post(link + "unknown").status_code == 400

"""People who sign in to the tenant by a device code, and what each of them may do in Graph."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

from aquila_mde.simulator.clock import Clock
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of
from aquila_mde.simulator.sign_in import SignIn, SignInRefused

GRAPH = "https://graph.microsoft.com"
"""The audience of tokens for Microsoft Graph."""
OPERATORS: dict[str, frozenset[str]] = {
    "admin": frozenset({"register", "consent"}),
    "registrar": frozenset({"register"}),
    "reader": frozenset(),
}
"""Who there is: a Global Administrator, a Cloud Application Administrator, somebody else."""
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_LIFETIME = 900
_TOLERANCE = 1.0


@dataclass
class Code:
    """One device code and what has become of it."""

    device_code: str
    user_code: str
    client_id: str
    scopes: frozenset[str]
    expires: float
    asked: float | None = None
    state: Literal["pending", "approved", "declined"] = "pending"
    operator: str = ""


class Operators:
    """The device code flow. Safe for use from several threads."""

    def __init__(self, sign_in: SignIn, clock: Clock, quirks: Any, seed: int) -> None:
        self._sign_in, self._clock = sign_in, clock
        self._quirks = quirks
        self._rng = random_of(seed, "identity", 3)
        self._lock = threading.Lock()
        self._codes: list[Code] = []
        self.expected: str | None = None
        """Who types every code at once, without being asked."""
        sign_in.grants[GRANT] = self._redeem

    def begin(self, base: str, form: dict[str, str]) -> dict[str, Any]:
        """The answer to a request for a device code."""
        quirks: Quirks = self._quirks()
        scopes = {
            scope.removeprefix(f"{GRAPH}/")
            for scope in form.get("scope", "").split()
            if scope.startswith(f"{GRAPH}/")
        }
        if not scopes or not form.get("client_id"):
            raise SignInRefused(
                400, "invalid_request", 900144, "The request body must contain 'scope'."
            )
        with self._lock:
            code = Code(
                hex_of(self._rng, 40),
                hex_of(self._rng, 9).upper(),
                form["client_id"],
                frozenset(scopes),
                self._clock.elapsed() + _LIFETIME,
            )
            self._codes.append(code)
        if self.expected is not None:
            self.approve(code.user_code, self.expected)
        page = f"{base}/devicelogin"
        return {
            "user_code": code.user_code,
            "device_code": code.device_code,
            "verification_uri": page,
            "expires_in": _LIFETIME,
            "interval": quirks.sign_in_interval,
            "message": f"To sign in, open the page {page} and enter the code {code.user_code}.",
        }

    def approve(self, user_code: str, operator: str = "admin") -> None:
        """Let ``operator`` sign in by the code."""
        if operator not in OPERATORS:
            raise ValueError(f"there is no {operator}: {', '.join(OPERATORS)}")
        code = self._by_user_code(user_code)
        code.operator, code.state = operator, "approved"

    def decline(self, user_code: str) -> None:
        """Let whoever typed the code say no."""
        self._by_user_code(user_code).state = "declined"

    def _by_user_code(self, user_code: str) -> Code:
        with self._lock:
            found = next((c for c in self._codes if c.user_code == user_code.strip().upper()), None)
        if found is None:
            raise KeyError(f"no code {user_code}")
        return found

    def _redeem(self, base: str, form: dict[str, str]) -> dict[str, Any]:
        with self._lock:
            code = next((c for c in self._codes if c.device_code == form.get("device_code")), None)
        if code is None or code.client_id != form.get("client_id"):
            raise SignInRefused(
                400, "bad_verification_code", 70018, "The verification code is not valid."
            )
        now, before = self._clock.elapsed(), code.asked
        code.asked = now
        if now >= code.expires:
            raise SignInRefused(
                400, "expired_token", 70020, "The provided device code has expired."
            )
        if code.state == "declined":
            raise SignInRefused(
                400, "authorization_declined", 65004, "User declined to consent to the app."
            )
        if code.state == "pending":
            interval = self._quirks().sign_in_interval - _TOLERANCE
            if before is not None and now - before < interval:
                raise SignInRefused(400, "slow_down", 70016, "The client asks too often.")
            raise SignInRefused(
                400,
                "authorization_pending",
                70016,
                "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
            )
        with self._lock:
            self._codes.remove(code)
        return self._token(base, code)

    def _token(self, base: str, code: Code) -> dict[str, Any]:
        claims = self._sign_in.person(GRAPH, code.client_id, code.operator, code.scopes)
        # The one who reads it has the real clock, whatever the tenant's says.
        now = int(time.time())
        identity = {
            "aud": code.client_id,
            "iss": f"{base}/{self._sign_in.tenant_id}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + _LIFETIME,
            "oid": guid_of(random_of(0, "identity", len(code.operator))),
            "sub": code.operator,
            "tid": self._sign_in.tenant_id,
            "preferred_username": f"{code.operator}@contoso.onmicrosoft.com",
        }
        return {
            **self._sign_in.issue(base, claims),
            "scope": " ".join(f"{GRAPH}/{scope}" for scope in sorted(code.scopes)),
            "id_token": self._sign_in.signed(identity),
        }

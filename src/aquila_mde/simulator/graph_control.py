"""The strings behind the directory: who signs in, who consents, and all that is there."""

from __future__ import annotations

from typing import Any

from aquila_mde.simulator.graph_directory import Directory
from aquila_mde.simulator.graph_operators import Operators
from aquila_mde.simulator.sign_in import SignIn, read_certificate


class GraphControl:
    """What may be done to directory, operators and sign-in; a part of the tenant's control."""

    def __init__(self, directory: Directory, operators: Operators, sign_in: SignIn) -> None:
        self._directory = directory
        self._operators = operators
        self._sign_in = sign_in

    def directory(self) -> dict[str, Any]:
        """Every object that onboarding makes, as Graph tells it, visible yet or not."""
        return self._directory.everything()

    def approve_sign_in(self, user_code: str, operator: str = "admin") -> None:
        """Type a device code, as ``admin``, ``registrar`` (may not consent) or ``reader``."""
        self._operators.approve(user_code, operator)

    def decline_sign_in(self, user_code: str) -> None:
        """Type a device code and say no."""
        self._operators.decline(user_code)

    def expect_operator(self, operator: str | None) -> None:
        """Have ``operator`` type every code at once from now on; None: nobody does."""
        self._operators.expected = operator

    def give_consent(self, client_id: str | None = None) -> None:
        """Let an administrator consent to all that the application asks for."""
        self._directory.consent_to_all(client_id)

    def remove_secrets(self) -> None:
        """Take every client secret away."""
        self._sign_in.application.secrets = {}

    def register_certificate(self, pem: bytes) -> None:
        """Register a certificate that the application may sign in with."""
        self._sign_in.application.certificates.append(read_certificate(pem))

    def revoke_tokens(self) -> None:
        """Make every token that was given invalid."""
        self._sign_in.revoke()

    def remove_role(self, role: str) -> None:
        """Take a permission away; tokens that were given keep it."""
        self._sign_in.application.roles.discard(role)

    def grant_role(self, role: str) -> None:
        """Grant a permission; it is in the next token."""
        self._sign_in.application.roles.add(role)

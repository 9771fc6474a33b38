"""The strings behind the directory: who signs in, who consents, and all that is there."""

from __future__ import annotations

from typing import Any

from aquila_mde.simulator.graph_directory import Directory
from aquila_mde.simulator.graph_operators import Operators


class GraphControl:
    """What may be done to directory and operators; a part of the tenant's control."""

    def __init__(self, directory: Directory, operators: Operators) -> None:
        self._directory = directory
        self._operators = operators

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

"""Proves by tokens: that a credential signs in, and that the token holds every permission."""

from __future__ import annotations

from pathlib import Path

from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.clouds import Cloud
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.onboard.keeping import FileKeeper, Keeper, Kind, Slot
from aquila_mde.onboard.patience import tries

_NOT_YET = {7000215, 700027, 700016}
"""What Entra says of a credential or an application that it does not see everywhere yet."""
_SIGNS_IN_WITHIN = 180.0


def credential_of(keeper: Keeper, slot: Slot, tenant_id: str, client_id: str) -> Credential:
    """What lies in a slot, as the collector would use it."""
    if keeper.kind is Kind.CERTIFICATE and isinstance(keeper, FileKeeper):
        return Credential(tenant_id, client_id, certificate=keeper.path(slot))
    material = keeper.read(slot)
    return Credential(tenant_id, client_id, secret=material.text if material else None)


class Proof:
    """Tokens of the application itself, each asked for anew."""

    def __init__(self, credential: Credential, cloud: Cloud, ca_file: Path | None) -> None:
        self._tokens = TokenSource(credential, cloud, ca_file=ca_file)

    async def signs_in(self, *, seconds: float = _SIGNS_IN_WITHIN) -> frozenset[str]:
        """The permissions in a token, as soon as there is one.

        A new credential needs up to a minute. Raises :class:`SignInError` when it is refused for
        another reason, or for longer.
        """
        async for last in tries(seconds):
            try:
                return await self._roles()
            except SignInError as error:
                if error.code not in _NOT_YET or last:
                    raise
            except DefenderUnavailableError:
                if last:
                    raise
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    async def holds(self, needed: frozenset[str], *, seconds: float) -> frozenset[str]:
        """Wait until a token holds every one of ``needed``, so long at most. What it then holds."""
        roles: frozenset[str] = frozenset()
        async for last in tries(seconds):
            try:
                roles = await self._roles()
            except DefenderUnavailableError:
                if last:
                    raise
            if needed <= roles:
                break
        return roles

    async def _roles(self) -> frozenset[str]:
        token = await self._tokens.token()
        self._tokens.invalidate(token)
        return token.roles

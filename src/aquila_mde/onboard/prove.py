"""Proves by tokens: that a credential signs in, and that the token holds every permission."""

from __future__ import annotations

from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.clouds import cloud_of
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.onboard.keeping import FileKeeper, Keeper, Kind, Slot
from aquila_mde.onboard.patience import tries
from aquila_mde.onboard.permissions import DEFENDER, MICROSOFT_GRAPH, Api, Permission
from aquila_mde.settings import UnfinishedTenant

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
    """Tokens of the application itself, one for each API, each asked for anew."""

    def __init__(self, credential: Credential, tenant: UnfinishedTenant) -> None:
        self._tokens = {
            api: TokenSource(
                credential, cloud_of(tenant, graph=api is MICROSOFT_GRAPH), ca_file=tenant.ca_file
            )
            for api in (DEFENDER, MICROSOFT_GRAPH)
        }

    async def signs_in(self, *, seconds: float = _SIGNS_IN_WITHIN) -> None:
        """Wait until there is a token.

        A new credential needs up to a minute. Raises :class:`SignInError` when it is refused for
        another reason, or for longer.
        """
        async for last in tries(seconds):
            try:
                await self._roles(DEFENDER)
            except SignInError as error:
                if error.code not in _NOT_YET or last:
                    raise
            except DefenderUnavailableError:
                if last:
                    raise
            else:
                return
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    async def holds(
        self, needed: frozenset[Permission], *, seconds: float
    ) -> frozenset[Permission]:
        """Wait until tokens hold every one of ``needed``, so long at most. What they then hold."""
        apis = {each.api for each in needed}
        held: frozenset[Permission] = frozenset()
        async for last in tries(seconds):
            try:
                held = frozenset().union(*[await self._roles(api) for api in apis])
            except DefenderUnavailableError:
                if last:
                    raise
            if needed <= held:
                break
        return held

    async def _roles(self, api: Api) -> frozenset[Permission]:
        tokens = self._tokens[api]
        token = await tokens.token()
        tokens.invalidate(token)
        return frozenset(Permission(api, role) for role in token.roles)

"""The tenant's side: credential, sign-in, clock, and for each stream permission, answer, quota."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aquila_mde.check.finding import Findings
from aquila_mde.collect.sides import defender_client, hunting_api
from aquila_mde.defender.auth import Token, TokenSource
from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.clouds import Cloud, cloud_of
from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.errors import AquilaError, ExitCode
from aquila_mde.settings import Settings, interval_of
from aquila_mde.streams.collect_spec import Endpoint
from aquila_mde.streams.cost import costs
from aquila_mde.streams.stream import Stream

_EXPIRES_SOON = timedelta(days=30)
_SKEW = 60.0
"""Seconds between the clocks. Entra refuses an assertion that is five minutes off."""
_DAY = timedelta(days=1)
_AT_ONCE = RetryPolicy(attempts=1, total_seconds=60)
"""Whoever asks whether all is well wants to know it now."""
_SMALL_QUERY = "DeviceInfo | take 1"


async def check_tenant(
    settings: Settings, streams: Sequence[Stream], findings: Findings, *, now: datetime
) -> None:
    """Look at the tenant of ``settings`` and at each of ``streams``. ``now`` is the time here."""
    try:
        client = defender_client(settings, retry=_AT_ONCE)
        expires = client.tokens.credential.expires()
    except AquilaError as error:
        findings.error("tenant", "credential", error)
        for what in ("sign-in", "streams"):
            findings.skipped("tenant", what, "there is no credential")
        return
    _expiry(expires, findings, now)
    token = await _sign_in(client.tokens, cloud_of(settings.tenant), findings)
    for stream in streams:
        if token is None:
            findings.skipped(stream.name, "permission", "there is no token")
        elif stream.collect.strategy == "hunting" and settings.hunting.api == "graph":
            graph = defender_client(settings, retry=_AT_ONCE, graph=True)
            await _StreamCheck(stream, settings, graph, findings, now).look_by_graph()
            await graph.aclose()
        else:
            await _StreamCheck(stream, settings, client, findings, now).look(token)
        _quota(stream, interval_of(stream, settings.streams), findings)
    await client.aclose()


def _expiry(expires: datetime | None, findings: Findings, now: datetime) -> None:
    if expires is None:
        said = "a secret; when it expires is told to who administers the application only"
        findings.ok("tenant", "credential", said)
        return
    left, day = expires - now, f"{expires:%Y-%m-%d}"
    hint = "Run aquila-mde onboard --rotate, or upload a new certificate in Entra and name it here."
    if left <= timedelta(0):
        said = f"the certificate has expired on {day}"
        findings.failed("tenant", "credential", said, hint, ExitCode.SIGN_IN)
    elif left < _EXPIRES_SOON:
        said = f"the certificate expires on {day}, in {math.ceil(left / _DAY)} days"
        findings.warning("tenant", "credential", said, hint)
    else:
        findings.ok("tenant", "credential", f"a certificate, good until {day}")


async def _sign_in(tokens: TokenSource, cloud: Cloud, findings: Findings) -> Token | None:
    token = None
    try:
        token = await tokens.token()
    except AquilaError as error:
        findings.error("tenant", "sign-in", error)
    if tokens.ahead is None:
        findings.skipped("tenant", "clock", "the sign-in host has not said what time it is")
    elif abs(tokens.ahead) > _SKEW:
        by, way = (
            timedelta(seconds=round(abs(tokens.ahead))),
            "slow" if tokens.ahead > 0 else "fast",
        )
        findings.failed(
            "tenant",
            "clock",
            f"the clock of this machine is {by} {way}",
            "Set it, and let it be kept right by NTP (timedatectl set-ntp true).",
            ExitCode.ENVIRONMENT,
        )
    else:
        findings.ok("tenant", "clock", f"right to {abs(tokens.ahead):.0f} s")
    if token is None:
        return None
    findings.ok(
        "tenant", "sign-in", f"token with {_listed(sorted(token.roles)) or 'no permission'}"
    )
    # The audience is an address, or the number of Microsoft's own application.
    if token.audience.startswith("https://") and token.audience.rstrip("/") != cloud.resource:
        findings.failed(
            "tenant",
            "audience",
            f"the token is for {token.audience}, and the API wants {cloud.resource}",
            "Check tenant.cloud (AQUILA_CLOUD) and leave tenant.resource out.",
            ExitCode.SIGN_IN,
        )
    else:
        findings.ok("tenant", "audience", f"{cloud.name}: {token.audience or 'not told'}")
    return token


@dataclass(frozen=True)
class _StreamCheck:
    """Looks at the endpoints of one stream."""

    stream: Stream
    settings: Settings
    client: DefenderClient
    findings: Findings
    now: datetime

    async def look_by_graph(self) -> None:
        """The same where Microsoft Graph is asked, for which there are tokens of their own."""
        try:
            token = await self.client.tokens.token()
        except AquilaError as error:
            self.findings.error(self.stream.name, "sign-in", error)
            return
        graph = self.stream.collect.graph
        await self._look(token, [graph] if graph else [], "Microsoft Graph")

    async def look(self, token: Token) -> None:
        """Whether ``token`` has the permissions, and what each endpoint answers."""
        await self._look(token, list(self.stream.collect.endpoints()), "WindowsDefenderATP")

    async def _look(self, token: Token, endpoints: Sequence[Endpoint], api: str) -> None:
        stream, findings = self.stream, self.findings
        needed = sorted({each.permission for each in endpoints})
        missing = [each for each in needed if not token.roles & {each, _writing(each)}]
        if missing:
            findings.failed(
                stream.name,
                "permission",
                f"the token lacks {_listed(missing)}",
                "Run aquila-mde onboard; or in Entra admin centre → App registrations → the "
                f"application → API permissions add it ({api}, application permissions), and "
                "grant admin consent.",
                ExitCode.PERMISSION,
            )
            findings.skipped(stream.name, "answer", "there is no permission")
        else:
            findings.ok(stream.name, "permission", _listed(needed))
            for endpoint in endpoints:
                if not await self._ask(endpoint):
                    break

    async def _ask(self, endpoint: Endpoint) -> bool:
        """One real call, as small as the endpoint allows. Whether it was answered."""
        stream, findings = self.stream, self.findings
        spec = stream.collect
        if spec.delta is not None and endpoint is spec.delta.endpoint:
            since = self.now - spec.delta.period - spec.delta.overlap
            asked = {"sinceTime": f"{since:%Y-%m-%dT%H:%M:%SZ}", "pageSize": "1"}
        elif spec.strategy == "export" and endpoint is spec.endpoint:
            asked = {}
        else:
            asked = {"$top": "1"}
        retires = None
        try:
            if spec.strategy == "hunting":
                api = hunting_api(stream, self.settings, self.client)
                await api.run(_SMALL_QUERY, stream=stream.name)
            else:
                answer = await self.client.get(
                    endpoint.path, asked, stream=stream.name, empty_on=endpoint.empty_on
                )
                retires = answer.retires
        except AquilaError as error:
            if isinstance(error, PermissionDeniedError):
                error.hint = f"The call needs {endpoint.permission}. {error.hint}"
            findings.error(stream.name, "answer", error)
            return False
        if retires is not None:
            findings.warning(
                stream.name,
                "answer",
                f"{endpoint.path} answers, and is retired: {retires}",
                f"Update aquila-mde before that day. {endpoint.reference}",
            )
        else:
            findings.ok(stream.name, "answer", endpoint.path)
        return True


def _quota(stream: Stream, interval: timedelta, findings: Findings) -> None:
    """Whether the calls of every ``interval`` fit into what Microsoft allows."""
    found = costs(stream.collect, interval)
    for cost in found:
        allowed = cost.endpoint.quota.per_hour
        if cost.an_hour > allowed:
            least = math.ceil(3_600 / allowed)
            findings.failed(
                stream.name,
                "quota",
                f"{cost.an_hour:,.0f} calls an hour at least, and Microsoft allows "
                f"{allowed:,} to {cost.path}",
                f"Set streams.{stream.name}.interval to {least}s or more.",
                ExitCode.SETTINGS,
            )
            return
    # A full export is due now and then only; the others are what a pass asks first.
    cost = next(cost for cost in found if cost.kind != "full export")
    allowed = cost.endpoint.quota.per_hour
    said = f"{allowed:,} calls an hour are allowed: {allowed / cost.an_hour:,.0f} for each pass"
    findings.ok(stream.name, "quota", said)


def _writing(permission: str) -> str:
    """The permission that includes a reading one."""
    return permission.replace(".Read.", ".ReadWrite.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)

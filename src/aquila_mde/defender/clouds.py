"""Where the Microsoft clouds are: sign-in, API, Graph and portal of each.

Source: https://learn.microsoft.com/en-us/defender-endpoint/gov and
https://learn.microsoft.com/en-us/defender-endpoint/api/exposed-apis-list
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import UnfinishedTenant

_API_DOMAINS = {
    # api.security.microsoft.com has regional hosts below it; the older name is still in links.
    "commercial": ("api.security.microsoft.com", "securitycenter.microsoft.com"),
    "gcc": ("securitycenter.microsoft.us",),
    "gcc_high": ("securitycenter.microsoft.us",),
    "dod": ("securitycenter.microsoft.us",),
}


@dataclass(frozen=True)
class Cloud:
    """The hosts of one cloud, as https URLs without a slash at the end."""

    name: str
    sign_in: str
    api: str
    resource: str
    """The audience of a token for the Defender API."""
    graph: str
    graph_resource: str
    """The audience of a token for Microsoft Graph."""
    portal: str

    def owns(self, url: str) -> bool:
        """Whether ``url`` is on the Defender API of this cloud, so that it may see a token.

        That is the configured host, a host below it and, where the configured host is one of
        Microsoft's, the other hosts of the same API: paging links may name a regional one.
        """
        try:
            asked, own = urlsplit(url), urlsplit(self.api)
            same_port = asked.port == own.port
        except ValueError:
            return False
        host, api_host = (asked.hostname or "").lower(), (own.hostname or "").lower()
        if asked.scheme != "https" or asked.username is not None or not same_port:
            return False
        domains = [api_host]
        for domain in _API_DOMAINS.get(self.name, ()):
            if _inside(api_host, domain):
                domains.extend(_API_DOMAINS[self.name])
                break
        return any(_inside(host, domain) for domain in domains)


def _inside(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


_CLOUDS = {
    cloud.name: cloud
    for cloud in (
        Cloud(
            name="commercial",
            sign_in="https://login.microsoftonline.com",
            api="https://api.security.microsoft.com",
            # The new host accepts tokens for the old name only.
            resource="https://api.securitycenter.microsoft.com",
            graph="https://graph.microsoft.com",
            graph_resource="https://graph.microsoft.com",
            portal="https://security.microsoft.com",
        ),
        Cloud(
            name="gcc",
            sign_in="https://login.microsoftonline.com",
            api="https://api-gcc.securitycenter.microsoft.us",
            resource="https://api-gcc.securitycenter.microsoft.us",
            graph="https://graph.microsoft.com",
            graph_resource="https://graph.microsoft.com",
            portal="https://security.microsoft.com",
        ),
        Cloud(
            name="gcc_high",
            sign_in="https://login.microsoftonline.us",
            api="https://api-gov.securitycenter.microsoft.us",
            resource="https://api-gov.securitycenter.microsoft.us",
            graph="https://graph.microsoft.us",
            graph_resource="https://graph.microsoft.us",
            portal="https://security.microsoft.us",
        ),
        Cloud(
            name="dod",
            sign_in="https://login.microsoftonline.us",
            api="https://api-gov.securitycenter.microsoft.us",
            resource="https://api-gov.securitycenter.microsoft.us",
            graph="https://dod-graph.microsoft.us",
            graph_resource="https://dod-graph.microsoft.us",
            portal="https://security.apps.mil",
        ),
    )
}


def resolve_cloud(
    name: str,
    *,
    sign_in: str | None = None,
    api: str | None = None,
    resource: str | None = None,
    graph: str | None = None,
    portal: str | None = None,
) -> Cloud:
    """The cloud ``name`` with the hosts that are given instead of its own.

    Raises :class:`ConfigurationError` for a name that is not in the table.
    """
    cloud = _CLOUDS.get(name)
    if cloud is None:
        raise ConfigurationError(
            f"There is no cloud named {name!r}.", hint=f"Use one of {', '.join(_CLOUDS)}."
        )
    given = {
        "sign_in": sign_in,
        "api": api,
        "resource": resource,
        "graph": graph,
        "portal": portal,
    }
    return replace(cloud, **{key: url.rstrip("/") for key, url in given.items() if url})


def cloud_of(tenant: UnfinishedTenant, *, graph: bool = False) -> Cloud:
    """Where ``tenant`` is by its settings; with ``graph``, Microsoft Graph in place of the API."""
    cloud = resolve_cloud(
        tenant.cloud,
        sign_in=tenant.sign_in_url,
        api=tenant.api_url,
        resource=tenant.resource,
        graph=tenant.graph_url,
        portal=tenant.portal_url,
    )
    return replace(cloud, api=cloud.graph, resource=cloud.graph_resource) if graph else cloud

"""Which application permissions the enabled streams need, and of which of Microsoft's APIs."""

from __future__ import annotations

from dataclasses import dataclass

from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import OnboardingSettings, is_enabled
from aquila_mde.streams.stream import Stream, load_streams
from aquila_mde.streams.tree import PackageTree


@dataclass(frozen=True)
class Api:
    """One of Microsoft's own applications: its id, the same in every tenant, and its name."""

    app_id: str
    name: str


DEFENDER = Api("fc780465-2017-40d4-a0c5-307022471b92", "WindowsDefenderATP")
MICROSOFT_GRAPH = Api("00000003-0000-0000-c000-000000000000", "Microsoft Graph")


@dataclass(frozen=True)
class Permission:
    """An application permission of an API."""

    api: Api
    name: str


def needed_permissions(settings: OnboardingSettings, tree: PackageTree) -> tuple[Permission, ...]:
    """The permissions of the streams that are not turned off, those of Defender first.

    Cloud Application Administrators may consent to the permissions of every API but Graph, so
    what they may comes first.
    """
    found = {
        permission
        for stream in load_streams(tree)
        if is_enabled(stream, settings.streams)
        for permission in _of_stream(stream, settings)
    }
    if not found:
        raise ConfigurationError("Every stream is turned off, so no permission is needed.")
    return tuple(sorted(found, key=lambda each: (each.api is MICROSOFT_GRAPH, each.name)))


def _of_stream(stream: Stream, settings: OnboardingSettings) -> set[Permission]:
    graph = stream.collect.graph
    if graph is not None and settings.hunting.api == "graph":
        # Read from Graph alone, so nothing of Defender is needed.
        return {Permission(MICROSOFT_GRAPH, graph.permission)}
    return {Permission(DEFENDER, endpoint.permission) for endpoint in stream.collect.endpoints()}

"""Both sides of one tenant, opened together, and the passes that go between them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from weakref import WeakSet

from aquila_mde.collect.dead_letter import DATASET as DEAD_LETTERS
from aquila_mde.collect.delivery import Delivery
from aquila_mde.collect.hunts import hunts_of
from aquila_mde.collect.identity import IdentityReader, PassContext
from aquila_mde.collect.joins import Join, Joins
from aquila_mde.collect.outlet import Outlet
from aquila_mde.collect.state import StreamStore
from aquila_mde.collect.status import enabled_streams
from aquila_mde.collect.stream_pass import Counts, Owner, Progress, StreamPass
from aquila_mde.collect.telemetry import Readings
from aquila_mde.collect.unknown import PropertyWatch
from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.client import DefenderClient, RetryPolicy, Room
from aquila_mde.defender.clouds import cloud_of
from aquila_mde.defender.errors import PermissionDeniedError
from aquila_mde.defender.hunting import HuntingApi
from aquila_mde.errors import AquilaError, ConfigurationError
from aquila_mde.settings import Settings
from aquila_mde.streams.hunts import NamedHunt
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.tree import PackageTree


class Sides:
    """A tenant's API and the engine. Made by :meth:`open`; an async context manager."""

    def __init__(
        self,
        settings: Settings,
        streams: list[Stream],
        *,
        client: DefenderClient,
        graph: DefenderClient | None,
        hunts: list[NamedHunt],
        outlet: Outlet,
        own_outlet: bool,
        portal: str,
    ) -> None:
        self.settings = settings
        self.streams = streams
        self.client = client
        self.hunts = hunts
        """The hunting queries that are run."""
        self._graph = graph
        self._outlet, self._own_outlet = outlet, own_outlet
        self.engine = outlet.engine
        self.sink = outlet.sink
        self._deliveries: WeakSet[Delivery] = WeakSet()
        self._watches = {stream.name: PropertyWatch(stream) for stream in streams}
        tenant = settings.tenant
        told = {**tenant.organization, "portal": portal}
        self._owner = Owner(tenant.id, tenant.namespace, told)

    @classmethod
    async def open(
        cls,
        settings: Settings,
        tree: PackageTree,
        *,
        retry_wait: bool = True,
        quota_share: int = 1,
        outlet: Outlet | None = None,
    ) -> Self:
        """Check the declarative files and connect to the engine.

        ``outlet`` is the engine's side of a process that collects other tenants too; without it
        one is opened and closed with the rest. ``retry_wait`` off turns every wait between tries
        off. ``quota_share`` 2 uses half of what Microsoft allows, so that a collector beside it has
        the other half. Raises an :class:`AquilaError` of the part that is not ready.
        """
        streams = enabled_streams(settings, tree)
        hunting = next((each for each in streams if each.collect.strategy == "hunting"), None)
        hunts = hunts_of(hunting, settings) if hunting else []
        cloud = cloud_of(settings.tenant)
        clients: list[DefenderClient] = []
        retry = RetryPolicy(wait=retry_wait)
        used = outlet or await Outlet.open(settings.elasticsearch, retry_wait=retry_wait)
        room = used.room(settings.tenant.id)
        try:
            clients.append(defender_client(settings, retry=retry, room=room))
            if hunting is not None and settings.hunting.api == "graph":
                clients.append(defender_client(settings, retry=retry, graph=True, room=room))
        except BaseException:
            for client in clients:
                await client.aclose()
            if outlet is None:
                await used.aclose()
            raise
        for stream in streams:
            graph = stream.collect.graph
            for endpoint in (*stream.collect.endpoints(), *([graph] if graph else [])):
                quota = endpoint.quota
                for client in clients:
                    client.budget(
                        endpoint.path,
                        max(1, quota.per_minute // quota_share),
                        max(1, quota.per_hour // quota_share),
                    )
        return cls(
            settings,
            streams,
            client=clients[0],
            graph=clients[1] if len(clients) > 1 else None,
            hunts=hunts,
            outlet=used,
            own_outlet=outlet is None,
            portal=cloud.portal,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of both sides."""
        await self.client.aclose()
        if self._graph is not None:
            await self._graph.aclose()
        if self._own_outlet:
            await self._outlet.aclose()

    def calls(self, stream: str) -> int:
        """Requests sent to Microsoft for ``stream`` so far."""
        clients = [self.client, *([self._graph] if self._graph else [])]
        return sum(client.calls(stream) for client in clients)

    def retries(self, stream: str) -> int:
        """How many of them were repeated ones."""
        clients = [self.client, *([self._graph] if self._graph else [])]
        return sum(client.retries(stream) for client in clients)

    def delivery(self, index: str, **options: int) -> Delivery:
        """What takes documents for ``index`` to the engine."""
        made = Delivery(self.sink, index, queue=self._outlet.queue, owner=self.tenant_id, **options)
        self._deliveries.add(made)
        return made

    def readings(self) -> Readings:
        """What telemetry asks for when somebody looks."""
        expires = self.client.tokens.credential.expires()
        return Readings(
            queue_bytes=lambda: sum(each.waiting_bytes for each in list(self._deliveries)),
            quota_left=self.client.quota_left,
            credential_expires=None if expires is None else expires.timestamp(),
            unknown_properties=lambda: {
                name: len(watch.names) for name, watch in self._watches.items()
            },
        )

    def hunting(self, stream: Stream) -> HuntingApi:
        """What answers the queries of ``stream``, by the settings."""
        return hunting_api(stream, self.settings, self._graph or self.client)

    @property
    def tenant_id(self) -> str:
        """The id of the tenant."""
        return self.settings.tenant.id

    @property
    def namespace(self) -> str:
        """The namespace of the tenant's data streams."""
        return self.settings.tenant.namespace

    @property
    def dead_letters(self) -> str:
        """The data stream of what the engine refused."""
        return f"logs-{DEAD_LETTERS}-{self.namespace}"

    def index(self, stream: Stream) -> str:
        """The data stream of ``stream``."""
        return stream.index(self.namespace)

    def named(self, name: str) -> Stream:
        """The enabled stream ``name``."""
        return named(self.streams, name)

    def reader(self, stream: Stream, field: str | None) -> IdentityReader:
        """What tells the versions of ``stream``, read by the time in ``field``."""
        return IdentityReader(stream.collect, self.tenant_id, time_field=field)

    def work(
        self,
        stream: Stream,
        store: StreamStore,
        counts: Counts,
        delivery: Delivery,
        context: PassContext,
        *,
        field: str | None,
        joins: Joins,
        careful: bool,
        feeds: Sequence[Join] = (),
        open_values: frozenset[str] | None = None,
        again: bool = False,
        progress: Progress | None = None,
    ) -> StreamPass:
        """A pass over ``stream`` that notes in ``store`` what was delivered."""
        return StreamPass(
            stream,
            self._owner,
            store=store,
            sink=self.sink,
            delivery=delivery,
            context=context,
            time_field=field,
            counts=counts,
            joins=joins,
            careful=careful,
            feeds=feeds,
            open_values=open_values,
            again=again,
            progress=progress,
            watch=self._watches.get(stream.name),
        )


def defender_client(
    settings: Settings,
    *,
    retry: RetryPolicy | None = None,
    graph: bool = False,
    room: Room | None = None,
) -> DefenderClient:
    """What calls the Defender API of the tenant; with ``graph``, Microsoft Graph."""
    tenant = settings.tenant
    cloud = cloud_of(tenant, graph=graph)
    return DefenderClient(
        TokenSource(Credential.from_settings(tenant), cloud, ca_file=tenant.ca_file),
        cloud,
        tenant_label=tenant.label,
        ca_file=tenant.ca_file,
        retry=retry,
        room=room,
    )


def hunting_api(stream: Stream, settings: Settings, client: DefenderClient) -> HuntingApi:
    """The endpoint that the settings choose for the queries of ``stream``."""
    graph = settings.hunting.api == "graph"
    endpoint = stream.collect.graph if graph else stream.collect.endpoint
    if endpoint is None:
        raise ConfigurationError(
            "Microsoft Graph answers no queries of this stream.",
            hint="Set hunting.api to defender.",
            stream=stream.name,
        )
    return HuntingApi(
        client,
        endpoint.path,
        endpoint.permission,
        settings.hunting.row_limit or endpoint.page_size,
        graph,
    )


def named(streams: Sequence[Stream], name: str) -> Stream:
    """The one of ``streams`` that is called ``name``."""
    for stream in streams:
        if stream.name == name:
            return stream
    known = ", ".join(stream.name for stream in streams)
    raise ConfigurationError(
        f"There is no enabled stream {name!r}.", hint=f"The enabled streams are: {known}."
    )


def for_stream(error: AquilaError, stream: Stream) -> AquilaError:
    """``error`` with what is known of ``stream``: its name, and the permission that it needs."""
    error.stream = error.stream or stream.name
    if isinstance(error, PermissionDeniedError) and error.needed is None:
        error.needed = stream.collect.endpoint.permission
        error.hint = f"The stream needs the application permission {error.needed}. {error.hint}"
    return error

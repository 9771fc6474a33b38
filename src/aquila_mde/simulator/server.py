"""The tenant as a server on loopback: in a thread of this process, or in the foreground."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import msgspec
import trustme
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from aquila_mde.simulator.api import Api
from aquila_mde.simulator.clock import Clock
from aquila_mde.simulator.control import Control
from aquila_mde.simulator.control_http import control_routes
from aquila_mde.simulator.endpoints import endpoints
from aquila_mde.simulator.faults import Fault, FaultPlan, FaultPlayer
from aquila_mde.simulator.frontend import Frontend, RequestLog
from aquila_mde.simulator.graph_directory import Directory
from aquila_mde.simulator.graph_http import GraphHttp
from aquila_mde.simulator.graph_operators import GRAPH, Operators
from aquila_mde.simulator.hunting_http import HuntingHttp
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.quotas import Quotas
from aquila_mde.simulator.sign_in import RESOURCE, SignIn
from aquila_mde.simulator.tenant import Tenant
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree

_ADDRESS = "127.0.0.1"
_NO_QUIRKS = Quirks()
_NO_FAULTS = FaultPlan()


class SimulatorServer:
    """A Defender tenant that answers from construction until :meth:`close`.

    Sizes are numbers of records at the start. ``activity`` scales how much happens while time
    passes (0: nothing by itself). ``now`` and ``running`` are those of
    :class:`~aquila_mde.simulator.clock.Clock`. ``quota_scale`` multiplies the quotas, None takes
    them away. ``roles`` are the permissions that were consented to, by default those that the
    streams of ``tree`` need; ``extra`` are objects for the paths of further streams of that tree.
    With ``registered`` off there is no application yet and nothing that was consented to; with
    ``licensed`` off the tenant has no Defender.
    """

    def __init__(
        self,
        *,
        machines: int = 2_000,
        alerts: int = 5_000,
        actions: int = 1_000,
        vulnerabilities: int = 100_000,
        seed: int = 1,
        quirks: Quirks = _NO_QUIRKS,
        faults: FaultPlan | Iterable[Fault] = _NO_FAULTS,
        now: datetime | None = None,
        running: bool = False,
        activity: float = 1.0,
        quota_scale: float | None = 1.0,
        rows_per_file: int = 20_000,
        roles: Iterable[str] | None = None,
        tree: PackageTree | None = None,
        extra: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        registered: bool = True,
        licensed: bool = True,
        port: int = 0,
    ) -> None:
        streams = load_streams(tree or PackageTree.default())
        clock = Clock(now, running=running)
        with ExitStack() as opened:
            folder = Path(opened.enter_context(TemporaryDirectory(prefix="aquila-simulator-")))
            tenant = Tenant(
                machines=machines,
                alerts=alerts,
                actions=actions,
                vulnerabilities=vulnerabilities,
                seed=seed,
                activity=activity,
                rows_per_file=rows_per_file,
                clock=clock,
                quirks=quirks,
                folder=folder,
            )
            served = endpoints(streams, extra or {}, tenant, folder)
            hunts = next(
                (one.collect for one in streams if one.collect.strategy == "hunting"), None
            )
            needed = {endpoint.permission for endpoint in served.values()}
            if hunts is not None:
                needed.add(hunts.endpoint.permission)
            of_graph = {hunts.graph.permission} if hunts is not None and hunts.graph else set()
            granted = set(roles) if roles is not None else needed | of_graph
            sign_in = SignIn(
                tenant.tenant_id, tenant.client_id, seed, clock, granted, registered=registered
            )
            operators = Operators(sign_in, clock, lambda: tenant.quirks, seed)
            directory = Directory(
                sign_in,
                clock,
                lambda: tenant.quirks,
                seed=seed,
                permissions=(needed | granted) - of_graph,
                graph_permissions=of_graph,
                registered=registered,
                licensed=licensed,
            )
            quotas = Quotas(clock.elapsed, quota_scale)
            hunting = HuntingHttp(
                tenant,
                sign_in,
                quotas,
                hunts.endpoint if hunts else None,
                hunts.graph if hunts else None,
            )
            listening = opened.enter_context(socket.create_server((_ADDRESS, port)))
            # asyncio sets it only where the protocol of the socket is named. Without it the second
            # piece of an answer waits 40 ms for the receipt of the first.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = listening.getsockname()[1]
            self._opened = opened.pop_all()

        self.url = f"https://{_ADDRESS}:{port}"
        """The sign-in service and the API."""
        sign_in.resources = {RESOURCE, self.url} if licensed else set()
        sign_in.graph_resources, sign_in.graph_roles = {GRAPH}, of_graph
        # Export files lie on another host, as they do at Microsoft.
        api = Api(tenant, sign_in, quotas, served, f"https://localhost:{port}")
        player, requests = FaultPlayer(FaultPlan.of(faults)), RequestLog()
        self.control = Control(
            tenant=tenant,
            sign_in=sign_in,
            quotas=quotas,
            endpoints=served,
            api=api,
            faults=player,
            requests=requests,
            directory=directory,
            operators=operators,
            hunting=hunting,
        )
        """Moves the clock, changes records, breaks things, tells the truth."""
        self.tenant_id, self.client_id = tenant.tenant_id, tenant.client_id
        self.client_secret, self.secret_id = sign_in.secret, sign_in.secret_id
        self._folder, self._registered = folder, registered
        self.ca_file = folder / "ca.pem"
        """The certificate to trust."""
        graph = GraphHttp(directory, operators, sign_in)
        routes = [
            *control_routes(self.control),
            *hunting.routes(),
            *api.routes(),
            *graph.routes(),
        ]
        frontend = Frontend(Starlette(routes=routes), clock, player, requests)
        self._server = _Server(_config(frontend, folder, self.ca_file))
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="simulator", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()

    def settings(self) -> dict[str, Any]:
        """The part of a settings file that points the collector at this tenant.

        Without an application it is what ``aquila-mde onboard`` needs to register one.
        """
        application = {
            "id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        hosts = {
            "name": "simulated",
            "sign_in_url": self.url,
            "api_url": self.url,
            "resource": RESOURCE,
            "graph_url": self.url,
            "ca_file": str(self.ca_file),
        }
        return {"tenant": (application if self._registered else {}) | hosts}

    def certificate_file(self, *, valid_for: timedelta = timedelta(days=30)) -> Path:
        """A new PEM file with key and certificate that the application may sign in with.

        Its validity counts in real time, as the one who signs with it does; a negative one is over.
        """
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _self_signed(key, datetime.now(UTC) + valid_for)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.control.register_certificate(pem)
        file = self._folder / f"certificate-{certificate.serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file.write_bytes(private + pem)
        return file

    def close(self) -> None:
        """Stop answering and remove what was written."""
        self._server.stop()
        self._thread.join()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class SimulateOptions:
    """What ``aquila-mde simulate`` is told."""

    machines: int = 2_000
    alerts: int = 5_000
    actions: int = 1_000
    vulnerabilities: int = 100_000
    seed: int = 1
    port: int = 0
    now: datetime | None = None
    """None: the real time."""
    running: bool = True
    """Whether the clock runs, or stands still until it is advanced."""
    quota_scale: float | None = 1.0
    activity: float = 1.0
    quirks: Quirks = field(default_factory=Quirks)
    faults: FaultPlan = field(default_factory=FaultPlan)


def serve(options: SimulateOptions) -> None:
    """Run a tenant in the foreground until SIGTERM or SIGINT.

    When it answers, one line of JSON on standard output says where, and how to sign in.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    given = {name: getattr(options, name) for name in options.__dataclass_fields__}
    with SimulatorServer(**given) as server:
        line = msgspec.json.encode(
            {
                "url": server.url,
                "ca_file": str(server.ca_file),
                "tenant_id": server.tenant_id,
                "client_id": server.client_id,
                "settings": server.settings(),
            }
        )
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
        stop.wait()


class _Server(uvicorn.Server):
    """Stops when it is told to, and not at the next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    def stop(self) -> None:
        """May be called from any thread, once ``ready`` is set."""
        self._loop.call_soon_threadsafe(self._told.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Clients that keep a connection open are not waited for.
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """Lets a fault get at the connection it breaks."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def _config(app: Frontend, folder: Path, ca_file: Path) -> uvicorn.Config:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    certificate = authority.issue_cert(_ADDRESS, "localhost")
    chain = folder / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(chain))
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        ssl_certfile=str(chain),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )


def _self_signed(key: rsa.RSAPrivateKey, until: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aquila")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=365))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )

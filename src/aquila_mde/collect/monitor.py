"""The port on which a process shows how it is: ``/metrics``, ``/healthz``, ``/readyz``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import make_wsgi_app

from aquila_mde.collect.telemetry import Telemetry
from aquila_mde.errors import ConfigurationError, ExitCode

_Start = Callable[[str, list[tuple[str, str]]], Any]


class Monitor:
    """Serves the telemetry of a process in a thread. A context manager.

    ``port`` 0 takes any that is free. Raises :class:`PortTakenError` where it is not.
    """

    def __init__(self, telemetry: Telemetry, address: str, port: int) -> None:
        self._telemetry = telemetry
        self._metrics = make_wsgi_app(telemetry.registry)
        try:
            self._server = make_server(address, port, self._answer, _Server, _Quiet)
        except OSError as error:
            raise PortTakenError(
                f"Nothing can be served at {address}:{port}: {error.strerror}",
                hint="Choose another monitoring.port (AQUILA_MONITORING__PORT), or leave it out.",
            ) from None
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="monitor", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                answer: Iterable[bytes] = self._metrics(environ, start)
                return answer
            case "/healthz":
                stuck = self._telemetry.stuck()
                return _json(start, not stuck, {"status": stuck or "ok"})
            case "/readyz":
                unready = self._telemetry.unready()
                status = "not ready" if unready else "ok"
                return _json(start, not unready, {"status": status, "tenants": unready})
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"There are /metrics, /healthz and /readyz.\n"]


class PortTakenError(ConfigurationError):
    """The port of the monitor is not free, or may not be used."""

    exit_code = ExitCode.ENVIRONMENT


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Whoever asks every few seconds is not worth a line."""


def _json(start: _Start, well: bool, body: dict[str, Any]) -> list[bytes]:
    status = "200 OK" if well else "503 Service Unavailable"
    start(status, [("Content-Type", "application/json")])
    return [msgspec.json.encode(body)]

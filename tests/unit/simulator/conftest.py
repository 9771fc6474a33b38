"""A client that signs in to a simulated tenant, as plainly as can be."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.simulator.sign_in import RESOURCE


class Caller:
    """Calls one tenant over TLS."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server = server
        trust = ssl.create_default_context(cafile=str(server.ca_file))
        self.http = httpx.Client(base_url=server.url, verify=trust, trust_env=False, timeout=30)
        self.token = ""

    def ask_token(self, **changes: str | None) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.server.client_id,
            "client_secret": self.server.client_secret,
            "scope": f"{RESOURCE}/.default",
        }
        tenant = changes.pop("tenant", None) or self.server.tenant_id
        sent = {name: value for name, value in {**form, **changes}.items() if value is not None}
        return self.http.post(f"/{tenant}/oauth2/v2.0/token", data=sent)

    def sign_in(self) -> Caller:
        self.token = self.ask_token().raise_for_status().json()["access_token"]
        return self

    def get(self, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
        return self.http.get(path, params=params, headers={"Authorization": f"Bearer {self.token}"})

    def values(self, path: str, **options: Any) -> list[dict[str, Any]]:
        """The records of one answer; options without their dollar sign."""
        params = {f"${name}": str(value) for name, value in options.items()}
        found: list[dict[str, Any]] = self.get(path, params).raise_for_status().json()["value"]
        return found

    def export(self, hours: int = 1) -> dict[str, Any]:
        answer = self.get("/api/machines/SoftwareVulnerabilitiesExport", {"sasValidHours": hours})
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def file(self, link: str) -> httpx.Response:
        return self.http.get(link)

    def rows(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for link in self.export()["exportFiles"]
            for line in gzip.decompress(self.file(link).raise_for_status().content).splitlines()
        ]


@pytest.fixture
def call() -> Iterator[Callable[[SimulatorServer], Caller]]:
    """Signs in to a tenant."""
    with ExitStack() as opened:

        def signed_in(server: SimulatorServer) -> Caller:
            caller = Caller(server)
            opened.enter_context(caller.http)
            return caller.sign_in()

        yield signed_in

"""A tenant that serves what was rendered before: no look-up costs more than cutting out bytes.

The records come from the product's own simulated tenant. Export files may be served several times
under different names, so that ten million rows need no ten gigabytes of disk.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import trustme

from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.paging import Collection, read_since
from aquila_mde.defender.times import parse_ticks
from aquila_mde.settings import TenantSettings
from aquila_mde.simulator.server import SimulatorServer
from tests.bench.http_server import Request, Response, serve

TENANT = "11111111-1111-1111-1111-111111111111"
_EXPORT = "/api/machines/SoftwareVulnerabilitiesExport"
_CHANGES = "/api/machines/SoftwareVulnerabilityChangesByMachine"
_TIMES = {
    "/api/machines": "lastSeen",
    "/api/alerts": "lastUpdateTime",
    "/api/vulnerabilities": "updatedOn",
    "/api/machineactions": "lastUpdateDateTimeUtc",
}
_MOST = 10_000
_CONDITION = re.compile(r"(\w+) (ge|lt) (\S+)")


# --- rendering ---


def render(folder: Path, *, machines: int, alerts: int, rows: int, rows_per_file: int) -> None:
    """Write the records of a simulated tenant of this size into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    with SimulatorServer(
        machines=machines,
        alerts=alerts,
        actions=500,
        vulnerabilities=rows,
        rows_per_file=rows_per_file,
        quota_scale=None,
        activity=0,
        now=datetime.now(UTC),
    ) as server:
        asyncio.run(_copy(server, folder, rows_per_file))


async def _copy(server: SimulatorServer, folder: Path, rows_per_file: int) -> None:
    settings = TenantSettings.model_validate(server.settings()["tenant"])
    cloud = resolve_cloud(
        settings.cloud,
        sign_in=settings.sign_in_url,
        api=settings.api_url,
        resource=settings.resource,
    )
    client = DefenderClient(
        TokenSource(Credential.from_settings(settings), cloud, ca_file=settings.ca_file),
        cloud,
        tenant_label="bench",
        ca_file=settings.ca_file,
        retry=RetryPolicy(wait=False),
    )
    for path, time_field in _TIMES.items():
        expand = ("evidence",) if path == "/api/alerts" else ()
        collection = Collection(path, 2_000, "id", time_field, expand, empty_on=(404,))
        records: dict[bytes, int] = {}
        async for page in read_since(client, collection, 0, None, stream="bench"):
            for record in page.records:
                time = msgspec.json.decode(record)[time_field]
                records[bytes(record)] = parse_ticks(time)
        lines = sorted(records, key=lambda record: records[record])
        name = path.rpartition("/")[2]
        (folder / f"{name}.ndjson").write_bytes(b"\n".join(lines))
        times = [records[line] for line in lines]
        (folder / f"{name}.times").write_bytes(msgspec.json.encode(times))
    (folder / "rows_a_file").write_text(str(rows_per_file), encoding="ascii")
    async for number, content in _files(client):
        (folder / f"export-{number:04}.gz").write_bytes(content)
    await client.aclose()


async def _files(client: DefenderClient) -> AsyncIterator[tuple[int, bytes]]:
    answer = await client.get(_EXPORT, {"sasValidHours": "6"}, stream="bench")
    for number, link in enumerate(sorted(msgspec.json.decode(answer.body)["exportFiles"])):
        async with client.open_file(link) as content:
            yield number, b"".join([part async for part in content])


# --- serving ---


class _Records:
    """One collection, in order of time, as one buffer that pages are cut out of."""

    def __init__(self, folder: Path, path: str, most: int) -> None:
        self._path = path
        name = path.rpartition("/")[2]
        lines = (folder / f"{name}.ndjson").read_bytes().split(b"\n")
        lines = [line for line in lines if line][: most or None]
        times: list[int] = msgspec.json.decode((folder / f"{name}.times").read_bytes())
        self._times = times[: len(lines)]
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._buffer = b",".join(lines)

    def page(self, base: str, query: dict[str, list[str]]) -> bytes:
        """The answer to a request with this query to the service at ``base``."""
        first, last = 0, len(self._times)
        for _, operator, value in _CONDITION.findall(query.get("$filter", [""])[0]):
            place = bisect_left(self._times, parse_ticks(value))
            if operator == "ge":
                first = max(first, place)
            else:
                last = min(last, place)
        skipped = int(query.get("$skip", ["0"])[0])
        first += skipped
        end = min(last, first + min(_MOST, int(query.get("$top", [str(_MOST)])[0])))
        if first >= end:
            return b'{"value":[]}'
        found = self._buffer[self._starts[first] : self._starts[end] - 1]
        if end == last or "$top" in query:
            return b'{"value":[%b]}' % found
        asked = {name: values[0] for name, values in query.items()}
        behind = urlencode(asked | {"$skip": str(skipped + end - first)})
        link = msgspec.json.encode(f"{base}{self._path}?{behind}")
        return b'{"@odata.nextLink":%b,"value":[%b]}' % (link, found)


class PreRendered:
    """Signs everybody in and serves the rendered records.

    The export is served ``times`` over, up to the file with which it has ``most`` rows, and of
    the alerts the ``alerts`` that are oldest (0: all).
    """

    def __init__(self, folder: Path, times: int, most: int, alerts: int) -> None:
        self._records = {
            path: _Records(folder, path, alerts if path == "/api/alerts" else 0) for path in _TIMES
        }
        # Recent, or the changes since then would lie further back than the service keeps them.
        self._generated = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        files = [file.read_bytes() for file in sorted(folder.glob("export-*.gz"))]
        self._files = {
            f"/files/part-{number:05}.json.gz": files[number % len(files)]
            for number in range(min(times * len(files), most // _rows_a_file(folder) or 1 << 30))
        }
        self.requests = 0
        self._cpu = time.process_time()

    def __call__(self, request: Request) -> Response:
        """The answer to ``request``."""
        self.requests += 1
        parts = urlsplit(request.target)
        if parts.path == "/_told":
            cpu = time.process_time()
            told = {"requests": self.requests - 1, "cpu_s": cpu - self._cpu}
            self.requests, self._cpu = 0, cpu
            return Response(msgspec.json.encode(told))
        date = f"date: {format_datetime(datetime.now(UTC), usegmt=True)}\r\n"
        if parts.path in self._files:
            return Response(self._files[parts.path], kind="application/gzip", headers=date)
        body = self._json(parts.path, f"https://{request.headers['host']}", parts.query)
        return Response(body, headers=date) if body else Response(b"{}", 404, headers=date)

    def _json(self, path: str, base: str, query: str) -> bytes | None:
        if path in self._records:
            return self._records[path].page(base, parse_qs(query))
        if path == _CHANGES:
            return b'{"value":[]}'
        if path == _EXPORT:
            links = [base + name for name in self._files]
            return msgspec.json.encode({"exportFiles": links, "generatedTime": self._generated})
        if path.endswith("/openid-configuration"):
            authority = f"{base}/{TENANT}"
            return msgspec.json.encode(
                {
                    "issuer": f"{authority}/v2.0",
                    "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{authority}/oauth2/v2.0/token",
                }
            )
        if path.endswith("/token"):
            return b'{"token_type":"Bearer","expires_in":86399,"access_token":"a.e30.c"}'
        return None


def _rows_a_file(folder: Path) -> int:
    return int((folder / "rows_a_file").read_text(encoding="ascii"))


def _tls(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def _main() -> None:
    served = PreRendered(Path(sys.argv[1]), *(int(number) for number in sys.argv[2:5]))
    # A certificate of its own, since several tenants may serve the same folder.
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as folder:
        context = _tls(Path(folder))
        serve(served, {"ca_file": str(Path(folder) / "ca.pem")}, context)


if __name__ == "__main__":
    _main()

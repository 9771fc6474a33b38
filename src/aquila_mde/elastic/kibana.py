"""The way through Kibana: Fleet takes the package as a zip and installs everything in it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import structlog

from aquila_mde import __version__
from aquila_mde.elastic.kibana_errors import (
    KibanaAccessError,
    KibanaUnavailableError,
    KibanaVersionError,
    from_answer,
    unreachable,
)
from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import KibanaSettings

_UPLOAD = "/api/fleet/epm/packages"
_PARAMETERS = {"ignoreMappingUpdateErrors": "false", "skipDataStreamRollover": "false"}
_HEADERS = {
    "user-agent": f"aquila-mde/{__version__}",
    "kbn-xsrf": "true",
    "elastic-api-version": "2023-10-31",
}
_CONNECT_SECONDS = 10.0
# Fleet answers when pipelines, templates and dashboards are all there.
_READ_SECONDS = 300.0
_PAUSE_SECONDS = 10.0
"""Fleet takes one upload in this time, of any package, and answers 429 to the next."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class UploadReport:
    """What Fleet has made of the package."""

    kibana: str
    """The version of Kibana."""
    name: str
    version: str
    installed: dict[str, int]
    """How many objects of each type, by Fleet's name for the type."""


class Kibana:
    """One space of one Kibana; an async context manager."""

    def __init__(self, settings: KibanaSettings, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
        """``pause_seconds`` is the wait after a 429; tests make it zero."""
        self.host = urlsplit(settings.url).netloc
        self._space = settings.space
        self._pause = pause_seconds
        base = settings.url.rstrip("/")
        self._base = f"{base}/s/{quote(settings.space, safe='')}" if settings.space else base
        self._http = httpx.AsyncClient(
            headers=_HEADERS | _login(settings),
            verify=_trusted(settings),
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=False,
        )

    async def version(self) -> str:
        """The version of Kibana. Raises what :mod:`aquila_mde.elastic.kibana_errors` names."""
        answer = await self._request("GET", "/api/status")
        number = (answer.get("version") or {}).get("number")
        if not isinstance(number, str):
            # Without a login that it accepts Kibana keeps its version to itself.
            raise KibanaAccessError(
                f"{self.host} does not say which version of Kibana it is",
                hint="Give it an API key (KIBANA_API_KEY, or ES_API_KEY) that Kibana accepts.",
            )
        return number

    async def install(
        self, archive: bytes, *, name: str, version: str, made_for: str
    ) -> UploadReport:
        """Have Fleet install the zip ``archive``, also over an older or the same version of it.

        ``made_for`` are the versions of Kibana that the package wants, ``^8.19.0 || ^9.1.0``;
        another Kibana raises :class:`KibanaVersionError` before anything is sent.
        """
        running = await self.version()
        if not is_within(running, made_for):
            raise KibanaVersionError(
                f"Kibana at {self.host} has version {running}, and the package is made for "
                f"{made_for}",
                hint="Update the Elastic stack, or install without Fleet: leave out --kibana.",
            )
        sent: dict[str, Any] = {"content": archive, "headers": {"content-type": "application/zip"}}
        try:
            answer = await self._request("POST", _UPLOAD, params=_PARAMETERS, **sent)
        except KibanaUnavailableError as error:
            if not error.too_soon:
                raise
            _log.info("Fleet takes one upload in ten seconds; waiting", seconds=self._pause)
            await asyncio.sleep(self._pause)
            answer = await self._request("POST", _UPLOAD, params=_PARAMETERS, **sent)
        items = answer.get("items")
        types = [str(item.get("type")) for item in items or [] if isinstance(item, dict)]
        return UploadReport(running, name, version, dict(sorted(Counter(types).items())))

    async def installed_version(self, name: str) -> str | None:
        """The version of the package ``name`` that Fleet has installed; ``None`` if it has none."""
        answer = await self._request("GET", f"{_UPLOAD}/{name}", unknown=name)
        item = answer.get("item")
        item = item if isinstance(item, dict) else {}
        told = item.get("installationInfo")
        version = told.get("version") if isinstance(told, dict) else None
        return str(version or item.get("version")) if item.get("status") == "installed" else None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _request(
        self, method: str, path: str, *, unknown: str = "", **sent: Any
    ) -> dict[str, Any]:
        """What Kibana answers; nothing where it has never heard of the package ``unknown``."""
        try:
            response = await self._http.request(method, f"{self._base}{path}", **sent)
        except httpx.HTTPError as error:
            raise unreachable(error, self.host, uploading=method == "POST") from None
        if response.status_code == httpx.codes.OK:
            try:
                answer = response.json()
            except ValueError:
                answer = None
            if isinstance(answer, dict):
                return answer
        if unknown and response.status_code == httpx.codes.NOT_FOUND and unknown in response.text:
            return {}
        raise from_answer(response, self.host, space=self._space, method=method)


def is_within(version: str, made_for: str) -> bool:
    """Whether ``version`` is one of ``^8.19.0 || ^9.1.0``; true where nothing is asked for.

    A caret allows what is not older within the same major version. A pre-release such as
    ``9.2.0-SNAPSHOT`` counts as its release.
    """
    running = _numbers(version)
    ranges = [one.strip() for one in made_for.split("||") if one.strip()]
    oldest = [_numbers(one.removeprefix("^")) for one in ranges]
    return not oldest or any(one[0] == running[0] and running >= one for one in oldest)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.partition("-")[0].split(".")
    if not all(part.isdigit() for part in parts):
        raise ConfigurationError(f"{version} is no version, such as 9.1.0")
    return tuple(int(part) for part in parts)


def _login(settings: KibanaSettings) -> dict[str, str]:
    if settings.api_key is not None:
        key = settings.api_key.get_secret_value()
        if ":" in key:
            key = base64.b64encode(key.encode()).decode()
        return {"authorization": f"ApiKey {key}"}
    if settings.username is not None and settings.password is not None:
        pair = f"{settings.username}:{settings.password.get_secret_value()}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _trusted(settings: KibanaSettings) -> ssl.SSLContext:
    """The system's certificates, Mozilla's list and those in ``ca_file``."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:  # ssl.SSLError is one
            problem = error.strerror if not isinstance(error, ssl.SSLError) else ""
            raise ConfigurationError(
                f"kibana.ca_file (KIBANA_CA_FILE) {settings.ca_file} cannot be used: "
                f"{problem or 'it holds no certificate in PEM form'}",
                hint="Give the certificate of the authority that signed Kibana's certificate.",
            ) from None
    return context

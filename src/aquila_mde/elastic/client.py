"""The connection to one engine: who it is, JSON requests, raw bulk requests, named errors."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import structlog
from elastic_transport import HttpHeaders, TransportError
from elastic_transport import SerializationError as NotJsonError
from elastic_transport.client_utils import basic_auth_to_header, url_to_node_config
from elasticsearch import ApiError, AsyncElasticsearch

from aquila_mde.elastic.compression import Mode, packed
from aquila_mde.elastic.dialect import Flavour, PlainNode
from aquila_mde.elastic.errors import (
    EngineAccessError,
    EngineRefusedError,
    EngineUnavailableError,
    Place,
    error_of,
    from_answer,
    from_transport,
)
from aquila_mde.elastic.retry import RetryPolicy
from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import ElasticsearchSettings

_REQUEST_SECONDS = 60.0
_BULK_SECONDS = 120.0
_CONNECTIONS = 10
_JSON = {"accept": "application/json", "content-type": "application/json"}
_PACKED = {"content-encoding": "gzip"}
_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}
_OLDEST: dict[Flavour, tuple[int, int]] = {"elasticsearch": (8, 19), "opensearch": (3, 0)}
_log = structlog.get_logger()


@dataclass(frozen=True)
class EngineInfo:
    """What the engine says of itself; ``plugins`` are asked for on OpenSearch only."""

    flavour: Flavour
    version: str
    name: str
    plugins: frozenset[str]


class Engine:
    """One engine. :meth:`connect` makes it; it is an async context manager.

    ``client`` is elasticsearch-py, for whatever :meth:`request` is too small for; ``retry`` is how
    often a request is tried, ``compression`` what the settings say of the bodies of bulk requests.
    """

    def __init__(
        self,
        client: AsyncElasticsearch,
        place: Place,
        login: dict[str, str],
        retry: RetryPolicy,
        compression: Mode,
    ) -> None:
        self.client = client
        self.place = place
        self.info = EngineInfo("elasticsearch", "", "", frozenset())
        self.retry = retry
        self._node = cast("PlainNode", client.transport.node_pool.get())
        self._bulk_headers = HttpHeaders({**login, **_NDJSON}).freeze()
        self._gzip_headers = HttpHeaders({**self._bulk_headers, **_PACKED}).freeze()
        self.compression = compression

    @classmethod
    async def connect(
        cls, settings: ElasticsearchSettings, *, retry: RetryPolicy | None = None
    ) -> Engine:
        """The engine at ``settings.url``, once it has said who it is.

        Raises :class:`~aquila_mde.elastic.errors.EngineUnavailableError` after the attempts of
        ``retry``, and :class:`~aquila_mde.elastic.errors.EngineAccessError` at once.
        """
        engine = _unconnected(settings, retry or RetryPolicy())
        try:
            engine.info = await engine._introduction()
        except BaseException:
            await engine.aclose()
            raise
        return engine

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: dict[str, Any] | None = None,
        ok: tuple[int, ...] = (200, 201),
        missing_ok: bool = False,
        repeat: bool = True,
    ) -> Any:
        """The decoded answer to one JSON request; ``path`` without a leading slash.

        ``missing_ok`` makes a 404 None. ``repeat=False`` is for what must not be done twice when
        the answer of the first time is lost. Other statuses than ``ok`` raise what
        :func:`~aquila_mde.elastic.errors.from_answer` makes of them.
        """
        retry = self.retry if repeat else RetryPolicy(attempts=1)
        async for attempt in retry.attempted():
            with attempt:
                answer = await self._once(
                    method, path, ok=ok, missing_ok=missing_ok, body=body, params=params
                )
        return answer

    async def bulk(
        self,
        index: str,
        body: bytes | list[bytes],
        *,
        params: dict[str, str] | None = None,
        gzip: bool = False,
    ) -> bytes:
        """The undecoded answer to one bulk request of NDJSON, in pieces or not; tried once.

        ``gzip`` packs the body. Goes to the node directly, past the decoding and the bookkeeping
        of the transport.
        """
        path = f"{quote(index, safe='')}/_bulk"
        target = f"/{path}?{urlencode(params, safe='*,')}" if params else f"/{path}"
        pieces = [body] if isinstance(body, bytes) else body
        try:
            meta, answer = await self._node.perform_request(
                "POST",
                target,
                [packed(pieces)] if gzip else pieces,
                self._gzip_headers if gzip else self._bulk_headers,
                _BULK_SECONDS,
            )
        except TransportError as error:
            raise from_transport(error, self.place) from None
        if meta.status != 200:
            after = meta.headers.get("retry-after")
            raise from_answer(meta.status, answer, self.place, f"POST /{path}", after)
        return answer

    async def aclose(self) -> None:
        """Close every connection."""
        await self.client.close()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _once(
        self, method: str, path: str, *, ok: tuple[int, ...], missing_ok: bool, **sent: Any
    ) -> Any:
        try:
            answer = await self.client.perform_request(method, f"/{path}", headers=_JSON, **sent)
        except ApiError as error:
            status = error.meta.status
            if status in ok:
                return error.body
            if status == 404 and missing_ok:
                return None
            after = error.meta.headers.get("retry-after")
            raise from_answer(status, error.body, self.place, f"{method} /{path}", after) from None
        except NotJsonError:
            if self.info.version:
                # It was an engine when we met; an answer was cut, or something came in between.
                raise EngineUnavailableError(
                    f"{self.place.host} sent something that is not JSON for {method} /{path}",
                    hint="Check what is between this machine and the engine.",
                ) from None
            raise _no_engine(self.place, "sends something that is not JSON") from None
        except TransportError as error:
            raise from_transport(error, self.place) from None
        return answer.body

    async def _introduction(self) -> EngineInfo:
        try:
            answer = await self.request("GET", "")
        except EngineRefusedError as error:
            raise _no_engine(self.place, f"answers {error.status}") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("version"), dict):
            raise _no_engine(self.place, f"answers: {error_of(answer)[1][:80]}")
        version = answer["version"]
        opensearch = (
            version.get("distribution") == "opensearch"
            or "opensearch" in str(answer.get("tagline", "")).lower()
        )
        info = EngineInfo(
            flavour="opensearch" if opensearch else "elasticsearch",
            version=str(version.get("number", "")),
            name=str(answer.get("cluster_name", "")),
            plugins=await self._plugins() if opensearch else frozenset(),
        )
        oldest = oldest_tested(info)
        if oldest is not None:
            _log.warning(
                "The engine is older than what is tested",
                flavour=info.flavour,
                version=info.version,
                oldest=oldest,
            )
        return info

    async def _plugins(self) -> frozenset[str]:
        try:
            rows = await self.request("GET", "_cat/plugins", params={"format": "json"})
        except EngineAccessError as error:
            _log.warning("The plugins of the engine are not known", reason=error.message)
            return frozenset()
        return frozenset(row["component"] for row in rows)


def oldest_tested(info: EngineInfo) -> str | None:
    """The oldest version that is tested, if that of ``info`` is older; else ``None``."""
    oldest = _OLDEST[info.flavour]
    return ".".join(map(str, oldest)) if _numbers(info.version) < oldest else None


def _unconnected(settings: ElasticsearchSettings, retry: RetryPolicy) -> Engine:
    parts = urlsplit(settings.url)
    options: dict[str, Any] = {}
    if settings.ca_file is not None:
        if parts.scheme != "https":
            raise ConfigurationError(
                "elasticsearch.ca_file (ES_CA_FILE) is set, but the URL begins with http://",
                hint="Make the URL begin with https://, or leave ca_file out.",
            )
        _check_certificates(settings)
        options["ca_certs"] = str(settings.ca_file)
    login, kind = _login(settings)
    client = AsyncElasticsearch(
        [url_to_node_config(settings.url, use_default_ports_for_scheme=True)],
        headers=login,
        node_class=PlainNode,
        connections_per_node=_CONNECTIONS,
        request_timeout=_REQUEST_SECONDS,
        max_retries=0,
        meta_header=False,
        **options,
    )
    place = Place(host=parts.netloc, https=parts.scheme == "https", login=kind)
    return Engine(client, place, login, retry, settings.compression)


def _login(settings: ElasticsearchSettings) -> tuple[dict[str, str], Any]:
    if settings.api_key is not None:
        key = settings.api_key.get_secret_value()
        if ":" in key:
            key = base64.b64encode(key.encode()).decode()
        return {"authorization": f"ApiKey {key}"}, "api_key"
    if settings.username is not None and settings.password is not None:
        pair = (settings.username, settings.password.get_secret_value())
        return {"authorization": basic_auth_to_header(pair)}, "password"
    return {}, "none"


def _check_certificates(settings: ElasticsearchSettings) -> None:
    try:
        ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        problem = error.strerror if error.filename or not isinstance(error, ssl.SSLError) else ""
        raise ConfigurationError(
            f"elasticsearch.ca_file (ES_CA_FILE) {settings.ca_file} cannot be used: "
            f"{problem or 'it holds no certificate in PEM form'}",
            hint="Give the certificate of the authority that signed the engine's certificate.",
        ) from None


def _no_engine(place: Place, finding: str) -> EngineAccessError:
    return EngineAccessError(
        f"{place.host} is neither Elasticsearch nor OpenSearch: it {finding}",
        hint="Check the URL (elasticsearch.url, ES_URL): it must be the engine's own address, "
        "not that of Kibana or of a proxy's login page.",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())

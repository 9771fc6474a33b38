"""The few differences between Elasticsearch and OpenSearch. Nothing else knows of them.

The objects are written once, in the words of Elasticsearch; the functions here say how OpenSearch
(3.x, tried with 3.8) wants the same thing.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import structlog
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from elastic_transport import AiohttpHttpNode, ApiResponseMeta, HttpHeaders
from elastic_transport.client_utils import DEFAULT, DefaultType

Flavour = Literal["elasticsearch", "opensearch"]
Json = dict[str, Any]

ISM_PLUGIN = "opensearch-index-management"
ISM_POLICIES = "_plugins/_ism/policies"

_VENDOR_TYPE = re.compile(
    r"application/vnd\.elasticsearch\+(json|x-ndjson)(?:;\s*compatible-with=\d+)?"
)
_PIECE = 256 << 10
"""Written to the connection at once: what it takes without another copy."""
_log = structlog.get_logger()


class PlainNode(AiohttpHttpNode):
    """An HTTP node that every flavour and version understands.

    elasticsearch-py 9 asks for ``application/vnd.elasticsearch+json; compatible-with=9``, which
    Elasticsearch 8 and OpenSearch refuse, and insists on a product header that OpenSearch does not
    send. Plain JSON is understood by all of them.
    """

    async def perform_request(  # type: ignore[override]  # the base class is not typed alike
        self,
        method: str,
        target: str,
        body: bytes | list[bytes] | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> tuple[ApiResponseMeta, bytes]:
        """Send one request with plain media types."""
        sent: Any = body
        if isinstance(body, list):
            sent = _LargeBody(body)
        elif body is not None and len(body) > _PIECE:
            sent = _LargeBody([body])
        answer = await super().perform_request(
            method, target, sent, _plain(headers or HttpHeaders()), request_timeout
        )
        _adopt(answer.meta)
        return answer

    def _log_request(self, *_: Any, **__: Any) -> None:
        """Bodies are customers' records: they are never logged."""


class _LargeBody(Payload):
    """A body that is written in pieces, so that others have their turn, and never copied."""

    _value: list[bytes]

    def __init__(self, body: list[bytes]) -> None:
        super().__init__(body)
        self._size = sum(map(len, body))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it to the connection."""
        for piece in self._value:
            each = memoryview(piece)
            for start in range(0, len(each), _PIECE):
                await writer.write(each[start : start + _PIECE])


def _plain(headers: HttpHeaders) -> HttpHeaders:
    return HttpHeaders(
        [
            (name, _VENDOR_TYPE.sub(r"application/\1", value))
            if name.lower() in ("accept", "content-type")
            else (name, value)
            for name, value in headers.items()
        ]
    )


def _adopt(meta: ApiResponseMeta) -> None:
    meta.headers["x-elastic-product"] = "Elasticsearch"
    if "warning" in meta.headers:
        _log.debug("The engine warned", warning=meta.headers["warning"])
        del meta.headers["warning"]


def mappings(original: Json, flavour: Flavour) -> Json:
    """``original`` mappings with the field types that ``flavour`` has."""
    if flavour == "elasticsearch":
        return original
    converted: Json = _fields_for_opensearch(original)
    return converted


def _fields_for_opensearch(node: Any) -> Any:
    if isinstance(node, list):
        return [_fields_for_opensearch(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind == "flattened":
        # flat_object takes none of the parameters of flattened.
        return {"type": "flat_object"}
    if kind == "constant_keyword" and "value" not in node:
        # OpenSearch wants the value in the mapping; Elasticsearch takes the first document's.
        return {"type": "keyword", "ignore_above": 1024}
    return {key: _fields_for_opensearch(value) for key, value in node.items()}


def lifecycle_path(name: str, flavour: Flavour) -> str:
    """Where the lifecycle policy ``name`` is kept."""
    return f"_ilm/policy/{name}" if flavour == "elasticsearch" else f"{ISM_POLICIES}/{name}"


def ism_policy(ilm: Json, index_pattern: str, priority: int, description: str) -> Json:
    """The ISM policy that does what the ILM policy ``ilm`` does.

    Known are what our policies use: rollover in the hot phase and deletion. Both count the age
    of an index that was rolled over from that moment.
    """
    phases = ilm["policy"]["phases"]
    rollover = phases.get("hot", {}).get("actions", {}).get("rollover", {})
    conditions = {
        ism: rollover[ilm_name]
        for ilm_name, ism in (
            ("max_age", "min_index_age"),
            ("max_primary_shard_size", "min_primary_shard_size"),
            ("max_size", "min_size"),
            ("max_docs", "min_doc_count"),
        )
        if ilm_name in rollover
    }
    hot: Json = {
        "name": "hot",
        "actions": [{"rollover": conditions}] if conditions else [],
        "transitions": [],
    }
    states = [hot]
    if "delete" in phases:
        age = phases["delete"].get("min_age", "0ms")
        measure = "min_rollover_age" if conditions else "min_index_age"
        hot["transitions"] = [{"state_name": "delete", "conditions": {measure: age}}]
        states.append({"name": "delete", "actions": [{"delete": {}}], "transitions": []})
    return {
        "policy": {
            "description": description,
            "default_state": "hot",
            "states": states,
            "ism_template": [{"index_patterns": [index_pattern], "priority": priority}],
        }
    }


def has_transforms(flavour: Flavour) -> bool:
    """Whether the engine keeps the newest versions itself.

    The transforms of OpenSearch's index management group and count; they have no ``latest``, and
    the minimal distribution has none at all.
    """
    return flavour == "elasticsearch"


def stack_settings(flavour: Flavour) -> Json:
    """What ``logs@settings`` gives to every log on Elasticsearch, for engines without it."""
    if flavour == "elasticsearch":
        return {}
    return {"codec": "best_compression", "mapping": {"ignore_malformed": True}}


def final_pipeline_is_a_setting(flavour: Flavour) -> bool:
    """Is ``index.final_pipeline`` used, or is the final pipeline called by the entry pipeline?

    OpenSearch reads and writes the whole document once more for a final pipeline of its own, which
    cost 10 to 25 % of the documents a second when it was measured; Elasticsearch does not.
    """
    return flavour == "elasticsearch"


def stack_components(flavour: Flavour) -> tuple[list[str], list[str]]:
    """The stack's own component templates, before and after the package's."""
    if flavour == "elasticsearch":
        return ["logs@mappings", "logs@settings"], ["ecs@mappings"]
    return [], []

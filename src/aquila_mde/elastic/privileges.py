"""What a collector has to be allowed on Elasticsearch: the role, a key, and what a login lacks.

Source: https://www.elastic.co/docs/reference/elasticsearch/security-privileges
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aquila_mde.elastic import dialect
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.dialect import Flavour
from aquila_mde.elastic.errors import EngineAccessError, EngineRefusedError
from aquila_mde.elastic.package import progress_index
from aquila_mde.elastic.state_index import state_index
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.streams.latest import latest_alias

_PACKAGE = "aquila_mde"
_CLUSTER = ("monitor",)
"""Who the engine is, what it is still writing, how full its disks are."""
_STREAMS = (
    "auto_configure",
    "create_doc",
    # Completes a document whose partner came later.
    "index",
    "read",
    "view_index_metadata",
    # Makes what was written searchable before it is compared.
    "maintenance",
)
_DEAD_LETTERS = ("delete",)
_STATE = ("create_index", "index", "read", "delete")
_LATEST = ("read", "index", "delete", "view_index_metadata", "maintenance")
"""Where no transform of the engine keeps the newest versions, the collector does."""
_LATEST_PROGRESS = ("read", "index")


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. ``encoded`` is a secret."""

    id: str
    name: str
    encoded: str


def role_of(places: Mapping[str, bool], *, flavour: Flavour = "elasticsearch") -> dict[str, Any]:
    """The role descriptor for collecting, replaying and comparing in the namespaces ``places``.

    The value of each says whether the state of its tenant lies in the engine.
    """
    indices = [
        {
            "names": [f"logs-{_PACKAGE}.*-{namespace}" for namespace in places],
            "privileges": list(_STREAMS),
        },
        {
            "names": [f"logs-{_PACKAGE}.dead_letter-{namespace}" for namespace in places],
            "privileges": list(_DEAD_LETTERS),
        },
    ]
    states = [state_index(_PACKAGE, namespace) for namespace, kept in places.items() if kept]
    if states:
        indices.append({"names": states, "privileges": list(_STATE)})
    if not dialect.has_transforms(flavour):
        names = [latest_alias(f"{_PACKAGE}.*") + "-v*"]
        indices.append({"names": names, "privileges": list(_LATEST)})
        indices.append({"names": [progress_index(_PACKAGE)], "privileges": list(_LATEST_PROGRESS)})
    return {"cluster": list(_CLUSTER), "indices": indices}


async def create_key(
    engine: Engine, name: str, places: Mapping[str, bool], *, expires: str | None
) -> Key:
    """A new API key with that role and nothing else; ``expires`` is Elasticsearch's ``365d``.

    Raises :class:`ConfigurationError` on OpenSearch, which has no API keys.
    """
    if engine.info.flavour != "elasticsearch":
        raise ApiKeyError(
            f"{engine.place.host} is {engine.info.flavour}, which has no API keys.",
            hint="Make a role with the privileges of aquila-mde install --show-role --flavour "
            "opensearch, and a user.",
        )
    body: dict[str, Any] = {
        "name": name,
        "role_descriptors": {_PACKAGE: role_of(places)},
        "metadata": {"application": _PACKAGE},
    }
    if expires is not None:
        body["expiration"] = expires
    # A second one is not made when the answer to the first request is lost.
    answer = await engine.request("POST", "_security/api_key", body, repeat=False)
    return Key(answer["id"], answer["name"], answer["encoded"])


class ApiKeyError(ConfigurationError):
    """The engine cannot make a key."""

    exit_code = ExitCode.ENGINE_ACCESS


async def missing_privileges(engine: Engine, places: Mapping[str, bool]) -> list[str] | None:
    """The privileges of the role for ``places`` that the login lacks.

    ``None`` where the engine does not say: it has no security, or is OpenSearch.
    """
    if engine.info.flavour != "elasticsearch":
        return None
    role = role_of(places)
    asked = {"cluster": role["cluster"], "index": role["indices"]}
    try:
        answer = await engine.request("POST", "_security/user/_has_privileges", asked)
    except (EngineRefusedError, EngineAccessError):
        return None
    lacking = [
        f"the cluster privilege {name}"
        for name, held in (answer.get("cluster") or {}).items()
        if not held
    ]
    for pattern, held in (answer.get("index") or {}).items():
        lacking += [
            f"the index privilege {name} on {pattern}" for name, has in held.items() if not has
        ]
    return lacking

"""What a collector has to be allowed on Elasticsearch, and what of it a login lacks.

Source: https://www.elastic.co/docs/reference/elasticsearch/security-privileges
"""

from __future__ import annotations

from typing import Any

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError, EngineRefusedError

_CLUSTER = ("monitor",)
_STREAMS = ("auto_configure", "create_doc", "index", "read", "view_index_metadata")
"""``index`` completes a document whose partner came later; the rest writes, and looks up ids."""


async def missing_privileges(engine: Engine, namespace: str) -> list[str] | None:
    """The privileges that the login lacks for the data streams of ``namespace``.

    ``None`` where the engine does not say: it has no security, or is OpenSearch.
    """
    if engine.info.flavour != "elasticsearch":
        return None
    names = f"logs-aquila_mde.*-{namespace}"
    asked: dict[str, Any] = {
        "cluster": list(_CLUSTER),
        "index": [{"names": [names], "privileges": list(_STREAMS)}],
    }
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

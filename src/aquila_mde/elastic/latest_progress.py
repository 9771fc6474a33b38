"""How far the newest versions of one tenant were read, noted in an index of the engine.

It is kept where the newest versions are, and not in the state of the collector, so that whoever
reads on finds it: the collector, or a command beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import AssetsMissingError, EngineRefusedError, EngineUnavailableError
from aquila_mde.elastic.package import Transform

_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Mark:
    """How far was read; ``seq_no`` and ``primary_term`` are of the note itself, if there is one."""

    read_to: str | None
    """The ``event.ingested`` up to which nothing has to be read again; ``None``: nothing was."""
    seq_no: int | None = None
    primary_term: int | None = None


class Progress:
    """The note for one transform, one tenant and one namespace."""

    def __init__(
        self, engine: Engine, notes: str, transform: Transform, *, tenant: str, namespace: str
    ) -> None:
        """``notes`` is the index that holds the notes of all of them."""
        self._engine = engine
        self._transform = transform
        self._path = f"{notes}/_doc/{transform.folder.name}.{namespace}.{tenant}"
        self._said = {
            "transform": transform.folder.name,
            "tenant": tenant,
            "namespace": namespace,
        }
        self._index = ""

    async def read(self) -> Mark:
        """What was noted last.

        A note is worth nothing for an index that was made anew since. Raises
        :class:`AssetsMissingError` when there is no index.
        """
        self._index = await self._identity()
        answer = await self._engine.request("GET", self._path, missing_ok=True)
        if not answer or not answer.get("found"):
            return Mark(None)
        note: dict[str, Any] = answer["_source"]
        read_to = note.get("read_to") if note.get("index") == self._index else None
        return Mark(read_to, answer["_seq_no"], answer["_primary_term"])

    async def write(self, mark: Mark, read_to: str | None) -> Mark:
        """Note ``read_to`` in the place of ``mark``.

        Raises :class:`EngineUnavailableError` when somebody else has noted something meanwhile.
        """
        params: dict[str, Any] = {"op_type": "create"}
        if mark.seq_no is not None:
            params = {"if_seq_no": mark.seq_no, "if_primary_term": mark.primary_term}
        body = {**self._said, "index": self._index}
        body |= {} if read_to is None else {"read_to": read_to}
        try:
            # Written twice, the second time would take the first one for somebody else's.
            answer = await self._engine.request(
                "PUT", self._path, body, params=params, repeat=False
            )
        except EngineRefusedError as error:
            if error.status != _CONFLICT:
                raise
            raise EngineUnavailableError(
                f"Somebody else reads the newest versions for {self._transform.alias} at the same "
                "time",
                hint="Nothing is lost: the next run goes on. One process is enough for a tenant.",
            ) from None
        return replace(
            mark, read_to=read_to, seq_no=answer["_seq_no"], primary_term=answer["_primary_term"]
        )

    async def forget(self) -> Mark:
        """Note that nothing was read, whatever anybody else has noted."""
        body = {**self._said, "index": self._index}
        answer = await self._engine.request("PUT", self._path, body)
        return Mark(None, answer["_seq_no"], answer["_primary_term"])

    async def _identity(self) -> str:
        """What tells the index from one of the same name that was there before."""
        index = self._transform.index
        path = f"{index}/_settings/index.uuid"
        answer = await self._engine.request("GET", path, missing_ok=True)
        if not answer:
            raise AssetsMissingError(
                f"The index {index} for the newest versions is not there",
                hint="Run: aquila-mde install.",
            )
        return str(answer[index]["settings"]["index"]["uuid"])

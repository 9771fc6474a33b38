"""The indices of the newest versions, kept up to date beside the passes of one tenant.

Elasticsearch does it itself, by the transforms that were installed. On OpenSearch the collector
does it, as the same transforms say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from aquila_mde.collect.stopping import every
from aquila_mde.elastic import dialect
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.latest import LatestIndex, LatestReport
from aquila_mde.elastic.package import read_package
from aquila_mde.errors import AquilaError, ConfigurationError
from aquila_mde.settings import TenantSettings
from aquila_mde.streams.latest import transform_name
from aquila_mde.streams.tree import PackageTree

_log = structlog.get_logger(__name__)


class LatestVersions:
    """Those of all streams of one tenant that have versions."""

    def __init__(self, engine: Engine, tree: PackageTree, tenant: TenantSettings) -> None:
        package = read_package(tree)
        self.by_the_engine = dialect.has_transforms(engine.info.flavour)
        """Whether there is nothing to do here."""
        self._indices = {
            transform.folder.name: LatestIndex(
                engine,
                transform,
                package.latest_progress,
                tenant=tenant.id,
                namespace=tenant.namespace,
            )
            for transform in package.transforms
            if not self.by_the_engine
        }

    async def update(
        self, streams: Sequence[str] | None = None, *, rebuild: bool = False
    ) -> list[LatestReport]:
        """Read what is new, of all streams or of ``streams``; ``rebuild`` reads everything.

        Raises an :class:`AquilaError` when the engine does not do its part.
        """
        return [
            await (each.rebuild() if rebuild else each.update()) for each in self._wanted(streams)
        ]

    async def try_update(self) -> None:
        """Read what is new; what goes wrong is logged, for the collection does not depend on it."""
        for each in self._indices.values():
            await _try(each)

    async def keep(self, stop: asyncio.Event, streams: Sequence[str] | None = None) -> None:
        """Update them, each as often as its transform says, until ``stop``.

        What goes wrong is logged, and tried again the next time.
        """
        await asyncio.gather(
            *(every(each.frequency, partial(_try, each), stop) for each in self._wanted(streams))
        )

    def _wanted(self, streams: Sequence[str] | None) -> list[LatestIndex]:
        if streams:
            return [self._named(name) for name in streams]
        return list(self._indices.values())

    def _named(self, stream: str) -> LatestIndex:
        found = self._indices.get(transform_name(stream))
        if found is None:
            known = ", ".join(name.removeprefix(transform_name("")) for name in self._indices)
            raise ConfigurationError(
                f"The stream {stream} has no newest versions.", hint=f"These have: {known}."
            )
        return found


async def _try(index: LatestIndex) -> None:
    try:
        await index.update()
    except AquilaError as error:
        _log.warning(
            "Newest versions could not be brought up to date", index=index.index, error=str(error)
        )

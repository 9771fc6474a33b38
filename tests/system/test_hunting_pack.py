"""The KQL questions of the hunting pack, asked of what was collected from a simulated tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aquila_mde.collect.latest import LatestVersions
from aquila_mde.dashboards.query import conditions
from aquila_mde.hunting_pack.load import PackQuery, load_pack
from aquila_mde.streams.tree import PackageTree
from tests.system.conftest import Job
from tests.system.test_preview import SIZES, hunting

Json = dict[str, Any]
PACK = [one for one in load_pack(PackageTree.default()) if one.spec.language == "kql"]


def found(work: Job, one: PackQuery) -> list[Json]:
    """The records that Discover would show, with the values of its columns."""
    query = conditions(str(one.spec.stream), one.spec.query, one.spec.last)
    mine = {"term": {"organization.id": work.settings().tenant.id}}
    body = {
        "size": 1_000,
        "query": {"bool": {"filter": [*query, mine]}},
        "fields": list(one.spec.columns),
        "_source": False,
    }
    answer = work.ask("POST", f"/{one.index}/_search", body)
    return [hit["fields"] for hit in answer["hits"]["hits"]]


async def test_every_question_finds_something_but_not_everything(
    job: Callable[..., Job],
) -> None:
    work = hunting(job(now=datetime.now(UTC), **SIZES | {"machines": 120}))
    await work.collect()
    async with await work.engine() as engine:
        await LatestVersions(engine, work.tree, work.settings().tenant).update()
    work.ask("POST", "/security_solution-aquila_mde.*/_refresh")
    every = {one.spec.stream: len(work.documents(str(one.spec.stream))) for one in PACK}
    for one in PACK:
        records = found(work, one)
        assert records, one.name
        assert len(records) < every[one.spec.stream], one.name
        shown = {name for record in records for name in record}
        assert shown == set(one.spec.columns), (one.name, set(one.spec.columns) - shown)

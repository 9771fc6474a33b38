"""Asks the engine what every panel shows: for all tenants, and for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aquila_mde.dashboards import query
from aquila_mde.dashboards.load import PACKAGE, Dashboard, load_dashboards, searched
from aquila_mde.dashboards.spec import Panel, Subject
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.scan import LENIENT, refresh
from aquila_mde.streams.latest import TENANT_FIELD, latest_alias
from aquila_mde.streams.tree import PackageTree

Json = dict[str, Any]
_NAME_FIELD = "organization.name"
_AT_ONCE = 4
_MOST_TENANTS = 20
_SUBJECTS = 5
EVERYTHING = ""
"""Instead of a tenant or of a subject: all of them."""


@dataclass(frozen=True)
class Tenant:
    """One tenant whose records are in the engine."""

    id: str
    label: str


@dataclass(frozen=True)
class Choice:
    """What the reader has chosen: a tenant, and the one thing that a dashboard is about."""

    tenant: str = EVERYTHING
    subject: str = EVERYTHING


@dataclass
class Answers:
    """What the panels of one dashboard show, by choice and by title."""

    dashboard: Dashboard
    subjects: dict[str, list[str]] = field(default_factory=dict)
    """By tenant: what there is to choose, the one with the most records first."""
    rows: dict[Choice, dict[str, list[query.Row]]] = field(default_factory=dict)


@dataclass
class Preview:
    """Everything that is shown."""

    engine: str
    tenants: list[Tenant]
    dashboards: list[Answers]

    def empty(self) -> list[str]:
        """The panels that show nothing for all tenants, though it is not said what that means."""
        return [
            f"{answers.dashboard.spec.title}: {panel.title}"
            for answers in self.dashboards
            for panel in asked(answers.dashboard)
            if panel.empty is None
            and not has_values(answers.rows[self.first(answers)][panel.title])
        ]

    def first(self, answers: Answers) -> Choice:
        """What a dashboard shows when it is opened."""
        return Choice(subject=(answers.subjects.get(EVERYTHING) or [EVERYTHING])[0])


def asked(dashboard: Dashboard) -> Iterator[Panel]:
    """The panels that show something of the engine."""
    return (panel for panel in dashboard.spec.panels if panel.stream is not None)


def has_values(rows: list[query.Row]) -> bool:
    """Whether a panel with these rows shows anything."""
    return any(value is not None for row in rows for value in row.values)


async def ask(engine: Engine, tree: PackageTree) -> Preview:
    """Run the queries of every panel of ``tree``. Raises what the engine refuses."""
    dashboards = load_dashboards(tree)
    await refresh(engine, f"logs-{PACKAGE}.*,{latest_alias(f'{PACKAGE}.*')}")
    asker = _Asker(engine)
    tenants = await asker.tenants()
    found = await asyncio.gather(*(asker.dashboard(one, tenants) for one in dashboards))
    name = "OpenSearch" if engine.info.flavour == "opensearch" else "Elasticsearch"
    return Preview(f"{name} {engine.info.version}", tenants, list(found))


class _Asker:
    """Sends a few searches at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def tenants(self) -> list[Tenant]:
        named = {"terms": {"field": _NAME_FIELD, "size": 1}}
        ids = {"terms": {"field": TENANT_FIELD, "size": _MOST_TENANTS}, "aggs": {"name": named}}
        answer = await self._search(f"logs-{PACKAGE}.*", {"size": 0, "aggs": {"tenant": ids}})
        return [
            Tenant(
                bucket["key"],
                next((name["key"] for name in bucket["name"]["buckets"]), bucket["key"]),
            )
            for bucket in (answer.get("aggregations") or {"tenant": {"buckets": []}})["tenant"][
                "buckets"
            ]
        ]

    async def dashboard(self, dashboard: Dashboard, tenants: list[Tenant]) -> Answers:
        found = Answers(dashboard)
        choices: list[Choice] = []
        for tenant in (EVERYTHING, *(one.id for one in tenants)):
            subject = dashboard.spec.subject
            if subject is None:
                choices.append(Choice(tenant))
            else:
                subjects = await self._subjects(subject, dashboard.spec.last, tenant)
                found.subjects[tenant] = subjects
                choices += [Choice(tenant, one) for one in subjects] or [Choice(tenant)]
        answers = await asyncio.gather(*(self._panels(dashboard, one) for one in choices))
        found.rows = dict(zip(choices, answers, strict=True))
        return found

    async def _panels(self, dashboard: Dashboard, choice: Choice) -> dict[str, list[query.Row]]:
        only = _of(choice.tenant)
        if dashboard.spec.subject is not None and choice.subject != EVERYTHING:
            only = (*only, {"term": {dashboard.spec.subject.field: choice.subject}})
        panels = list(asked(dashboard))
        answers = await asyncio.gather(
            *(
                self._search(query.index_of(one), query.search(one, dashboard.spec.last, only))
                for one in panels
            )
        )
        pairs = zip(panels, answers, strict=True)
        return {panel.title: query.rows(panel, answer) for panel, answer in pairs}

    async def _subjects(self, subject: Subject, last: str, tenant: str) -> list[str]:
        within = [*query.conditions(subject.stream, subject.filter, last), *_of(tenant)]
        body = {
            "size": 0,
            "query": {"bool": {"filter": within}},
            "aggs": {"subject": {"terms": {"field": subject.field, "size": _SUBJECTS}}},
        }
        answer = await self._search(searched(subject.stream), body)
        if not answer.get("aggregations"):
            return []
        return [str(bucket["key"]) for bucket in answer["aggregations"]["subject"]["buckets"]]

    async def _search(self, index: str, body: Json) -> Json:
        async with self._turns:
            path = f"{index}/_search"
            found: Json = await self._engine.request("POST", path, body, params=LENIENT)
        return found


def _of(tenant: str) -> tuple[Json, ...]:
    return () if tenant == EVERYTHING else ({"term": {TENANT_FIELD: tenant}},)

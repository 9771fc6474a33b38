"""A key with the documented role is enough for everything, and has nothing that is not needed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from aquila_mde.collect.latest import LatestVersions
from aquila_mde.collect.reconcile import reconcile
from aquila_mde.collect.replay import replay
from aquila_mde.collect.runner import Collector
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.errors import EngineAccessError
from aquila_mde.elastic.privileges import role_of
from aquila_mde.settings import Settings
from tests.system.conftest import IN_BOTH, Job
from tests.system.key_guard import KeyGuard
from tests.system.test_replay import nested_limit

KEY = "aWQ6c2VjcmV0LW9mLWEta2V5"
SIZES = {"machines": 30, "alerts": 40, "actions": 10, "vulnerabilities": 100}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def through(work: Job, guard: KeyGuard, authority: trustme.CA) -> Settings:
    """The settings of ``work``, with the key, by way of the guard."""
    ca_file = work.folder / "engine-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    section = {"url": guard.url, "api_key": KEY, "ca_file": str(ca_file)}
    values: dict[str, Any] = {**work.values(), "elasticsearch": section}
    return Settings.model_validate(values)


async def collect(settings: Settings, work: Job, *names: str) -> None:
    async with await Collector.open(settings, work.tree, retry_wait=False) as collector:
        for report in await collector.collect(names or None):
            if report.error is not None:
                raise report.error


@IN_BOTH
async def test_everything_that_a_collector_does_is_within_the_role(
    job: Callable[..., Job], tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    work = job(**SIZES)
    role = role_of({work.namespace: work.stateless}, flavour="opensearch")
    async with KeyGuard(work.engine_url, tls, KEY, role) as guard:
        settings = through(work, guard, authority)
        # Some alerts are refused at first, and all come before their machines: they are replayed,
        # and completed where they lie.
        work.ask("PUT", f"/_data_stream/{work.index('alert')}")
        nested_limit(work, 1)
        await collect(settings, work, "alert")
        nested_limit(work, None)
        (report,) = await replay(settings, work.tree)
        assert report.created > 0
        await collect(settings, work)
        await collect(settings, work)
        # A document is lost and repaired, and so is the state.
        lose_one(work, "machine_action")
        for each in await reconcile(settings, work.tree, repair=True, retry_wait=False):
            assert each.error is None
        work.lose_state()
        await collect(settings, work)
        async with await Engine.connect(settings.elasticsearch) as engine:
            versions = LatestVersions(engine, work.tree, settings.tenant)
            assert sum(each.written for each in await versions.update()) > 100
            assert sum(each.written for each in await versions.update(rebuild=True)) > 100
    for stream in ("alert", "machine_action", "vulnerability"):
        assert (await work.compare(stream)).perfect
    # A key that may not manage templates cannot look at them; the collector does without.
    assert {what.split("/")[1] for what in guard.forbidden} <= {"_index_template"}
    granted = {("cluster", name) for name in role["cluster"]} | {
        (pattern, name)
        for part in role["indices"]
        for pattern in part["names"]
        for name in part["privileges"]
    }
    assert granted == guard.used


def test_an_engine_with_transforms_needs_no_right_to_the_newest_versions() -> None:
    role = role_of({"default": True})
    names = [name for part in role["indices"] for name in part["names"]]
    assert not [name for name in names if "latest" in name]


async def test_another_key_is_told_so(
    job: Callable[..., Job], tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    work = job(**SIZES)
    role = role_of({"another-namespace": False})
    async with KeyGuard(work.engine_url, tls, KEY, role) as guard:
        settings = through(work, guard, authority)
        with pytest.raises(EngineAccessError) as raised:
            await collect(settings, work, "alert")
        assert KEY not in str(raised.value)
        assert raised.value.hint


def lose_one(work: Job, stream: str) -> None:
    index = work.index(stream)
    work.ask("POST", f"/{index}/_refresh")
    (hit,) = work.ask("POST", f"/{index}/_search", {"size": 1})["hits"]["hits"]
    work.ask("DELETE", f"/{hit['_index']}/_doc/{hit['_id']}?refresh=true")

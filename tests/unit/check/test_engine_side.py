"""An Elasticsearch and a Kibana, which cannot run here: stand-ins that answer as they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from tests.unit.elastic.fleet import Fleet
from tests.unit.elastic.scripted import Seen, json, refusal
from tests.unit.elastic.stateful import StatefulEngine

from aquila_mde.build.package import make_archive
from aquila_mde.check.engine import check_engine
from aquila_mde.check.finding import Finding, Findings, Status
from aquila_mde.check.kibana import check_kibana
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.kibana import Kibana
from aquila_mde.settings import AllSettings, Settings
from aquila_mde.streams.tree import PackageTree

TREE = PackageTree.default()
TENANT = {
    "id": "11111111-1111-1111-1111-111111111111",
    "client_id": "c",
    "client_secret": "s",
    "namespace": "ours",
}
Answers = dict[str, Callable[[Seen], web.Response]]


class Node(StatefulEngine):
    """An engine with a disk, a licence and a login, each of which can be changed."""

    def __init__(self, flavour: str = "elasticsearch") -> None:
        super().__init__(flavour)
        self.used = 50
        self.watermarks = {"low": "85%", "high": "90%", "flood_stage": "95%"}
        self.licence = {"type": "basic", "status": "active"}
        self.lacking: set[str] = set()
        self.others: Answers = {}

    async def answer(self, seen: Seen) -> web.Response | None:
        if seen.path in self.others:
            return self.others[seen.path](seen)
        if seen.path == "_license":
            return json({"license": self.licence})
        if seen.path == "_security/user/_has_privileges":
            return json(self._privileges(seen.json))
        if seen.path == "_cat/allocation":
            full = {"node": "one", "disk.used": str(self.used), "disk.total": "100"}
            empty = {"node": "two", "disk.used": "1", "disk.total": "100"}
            return json([empty, full, {"node": "UNASSIGNED"}])
        if seen.path == "_cluster/settings":
            name = "cluster.routing.allocation.disk.watermark."
            defaults = {name + level: value for level, value in self.watermarks.items()}
            return json({"persistent": {}, "transient": {}, "defaults": defaults})
        return await super().answer(seen)

    def _privileges(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "cluster": {name: name not in self.lacking for name in asked["cluster"]},
            "index": {
                pattern: {name: name not in self.lacking for name in each["privileges"]}
                for each in asked["index"]
                for pattern in each["names"]
            },
        }


async def look(node: Node, *, installed: bool = True) -> dict[str, list[Finding]]:
    """What is found, by what was looked at."""
    findings = Findings()
    async with node:
        settings = Settings.model_validate({"tenant": TENANT, "elasticsearch": {"url": node.url}})
        if installed:
            async with await Engine.connect(settings.elasticsearch) as engine:
                await install(engine, TREE)
        await check_engine(AllSettings((settings,)), TREE, findings)
    found: dict[str, list[Finding]] = {}
    for each in findings.all:
        found.setdefault(each.what, []).append(each)
    return found


async def test_an_engine_on_which_all_is_well() -> None:
    found = await look(Node())
    assert {each.status for every in found.values() for each in every} == {Status.OK}
    assert {"connection", "version", "licence", "privileges", "package", "disk"} == set(found)


@pytest.mark.parametrize(
    ("used", "watermarks", "status", "said"),
    [
        (86, {}, Status.WARNING, "low watermark (85%)"),
        (91, {}, Status.FAILED, "high watermark (90%)"),
        (96, {}, Status.FAILED, "flood-stage watermark (95%)"),
        (96, {"flood_stage": "0.97"}, Status.FAILED, "high watermark (90%)"),
        (96, {"low": "1b", "high": "1b", "flood_stage": "1b"}, Status.OK, "96 %"),
        (50, {"low": "60b"}, Status.WARNING, "low watermark (60b)"),
        (50, {"low": "1kb", "high": "1kb"}, Status.FAILED, "high watermark (1kb)"),
    ],
)
async def test_a_disk_that_is_full(
    used: int, watermarks: dict[str, str], status: Status, said: str
) -> None:
    node = Node()
    node.used = used
    node.watermarks |= watermarks
    (disk,) = (await look(node))["disk"]
    assert disk.status is status
    assert said in disk.said
    assert "one" in disk.said
    assert bool(disk.hint) == (status is not Status.OK)


async def test_a_privilege_that_is_missing_is_named_with_its_indices() -> None:
    node = Node()
    node.lacking = {"create_doc"}
    (found,) = (await look(node))["privileges"]
    assert found.status is Status.FAILED
    assert "the index privilege create_doc on logs-aquila_mde.*-ours" in found.hint


async def test_an_engine_without_security_or_a_login_that_may_not_look_is_no_failure() -> None:
    node = Node()
    no_handler = refusal(400, "invalid_request", "no handler found")
    forbidden = refusal(403, "security_exception", "action is unauthorized")
    node.others = {
        "_security/user/_has_privileges": lambda _: no_handler,
        "_license": lambda _: forbidden,
        "_cat/allocation": lambda _: forbidden,
    }
    found = await look(node)
    for what in ("privileges", "licence", "disk"):
        assert [each.status for each in found[what]] == [Status.SKIPPED]


async def test_a_licence_that_has_expired() -> None:
    node = Node()
    node.licence = {"type": "platinum", "status": "expired"}
    (found,) = (await look(node))["licence"]
    assert (found.status, found.said) == (Status.FAILED, "platinum, expired")


async def test_what_is_missing_and_what_somebody_has_changed() -> None:
    (found,) = (await look(Node(), installed=False))["package"]
    assert found.status is Status.FAILED
    assert "missing" in found.said
    assert "aquila-mde install" in found.hint
    node = Node()
    async with node:
        settings = Settings.model_validate({"tenant": TENANT, "elasticsearch": {"url": node.url}})
        async with await Engine.connect(settings.elasticsearch) as engine:
            await install(engine, TREE)
        node.objects["_index_template/logs-aquila_mde.alert"]["priority"] = 1
        findings = Findings()
        await check_engine(AllSettings((settings,)), TREE, findings)
    (found,) = [each for each in findings.all if each.what == "package"]
    assert found.said == "other content: index template logs-aquila_mde.alert"


async def test_objects_of_fleet_are_fine_in_this_version_only() -> None:
    node = Node()
    async with node:
        settings = Settings.model_validate({"tenant": TENANT, "elasticsearch": {"url": node.url}})
        async with await Engine.connect(settings.elasticsearch) as engine:
            await install(engine, TREE)
        for body in node.objects.values():
            holder = body.get("policy", body)
            holder["_meta"] = {"managed_by": "fleet", "package": {"name": "aquila_mde"}}
        findings = Findings()
        await check_engine(AllSettings((settings,)), TREE, findings)
        (found,) = [each for each in findings.all if each.what == "package"]
        assert found.status is Status.OK
        assert "fleet" in found.said
        for name in [name for name in node.objects if name.startswith("_ingest/pipeline/")]:
            del node.objects[name]
        findings = Findings()
        await check_engine(AllSettings((settings,)), TREE, findings)
    (found,) = [each for each in findings.all if each.what == "package"]
    assert found.status is Status.FAILED
    assert "Integrations" in found.hint


async def test_kibana_is_looked_at_only_where_the_settings_name_one() -> None:
    findings = Findings()
    await check_kibana(None, TREE, findings)
    assert [each.status for each in findings.all] == [Status.SKIPPED]


async def test_the_package_in_kibana() -> None:
    archive = make_archive(TREE)
    async with Fleet() as fleet:
        before = Findings()
        await check_kibana(fleet.settings_of(), TREE, before)
        assert [each.what for each in before.all if each.status is Status.FAILED] == ["package"]
        async with Kibana(fleet.settings_of(), pause_seconds=0) as kibana:
            await kibana.install(
                archive.zip(), name=archive.name, version=archive.version, made_for=archive.kibana
            )
        after = Findings()
        await check_kibana(fleet.settings_of(), TREE, after)
        assert {each.status for each in after.all} == {Status.OK}


async def test_a_kibana_that_is_too_old_or_refuses_the_key_or_is_away() -> None:
    async with Fleet(version="8.15.0") as fleet:
        found = Findings()
        await check_kibana(fleet.settings_of(), TREE, found)
        failed = {each.what: each for each in found.all if each.status is Status.FAILED}
        assert "8.15.0" in failed["version"].said
        found = Findings()
        await check_kibana(fleet.settings_of(api_key="another"), TREE, found)
        assert found.all[0].status is Status.FAILED
        assert "KIBANA_API_KEY" in found.all[0].hint
        settings = fleet.settings_of()
    found = Findings()
    await check_kibana(settings, TREE, found)
    assert (found.all[0].what, found.all[0].status) == ("connection", Status.FAILED)

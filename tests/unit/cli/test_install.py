from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import httpx
import pytest
from aiohttp import web
from tests.unit.cli.conftest import Call
from tests.unit.elastic.scripted import Seen
from tests.unit.elastic.scripted import json as json_answer
from tests.unit.elastic.stateful import StatefulEngine

from aquila_mde.elastic.assets import InstallReport, plan_install
from aquila_mde.elastic.privileges import role_of
from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree


@pytest.mark.parametrize("flavour", ["elasticsearch", "opensearch"])
def test_a_dry_run_prints_every_request_without_an_engine(call: Call, flavour: str) -> None:
    answer = call("install", "--dry-run", "--flavour", flavour, "--json")
    assert (answer.code, answer.err) == (0, "")
    expected = [asdict(each) for each in plan_install(PackageTree.default(), flavour)]  # type: ignore[arg-type]
    assert json.loads(answer.out) == expected
    started = [request["path"] for request in expected if request["method"] == "POST"]
    assert len(started) == (4 if flavour == "elasticsearch" else 0)
    assert all(path.endswith("/_start") for path in started)


def test_a_dry_run_for_people_lists_the_objects_for_elasticsearch(call: Call) -> None:
    answer = call("install", "--dry-run")
    assert answer.code == 0
    assert "PUT _ilm/policy/logs-aquila_mde.alert-default_policy\n" in answer.out
    assert "PUT _index_template/logs-aquila_mde.alert\n" in answer.out
    assert answer.out.rstrip().endswith("--json prints their bodies too.")


def test_the_flavour_of_an_engine_that_is_there_is_not_said(call: Call) -> None:
    answer = call("install", "--flavour", "opensearch")
    assert answer.code == ExitCode.SETTINGS
    assert "--dry-run" in answer.err


def test_an_installation_needs_no_tenant_and_is_repeatable(
    call: Call, tree: PackageTree, engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_URL", engine_url)
    first = call("install")
    assert first.code == 0, first.err
    assert "created: index template logs-aquila_cli.alert\n" in first.out
    assert first.out.rstrip().endswith("0 updated, 0 unchanged")
    again = json.loads(call("install", "--json").out)
    assert again["engine"].keys() == {"flavour", "version"}
    assert (again["created"], again["updated"]) == ([], [])
    assert "index template logs-aquila_cli.alert" in again["unchanged"]
    with httpx.Client(base_url=engine_url, trust_env=False) as client:
        there = "/_index_template/logs-aquila_cli.alert"
        assert client.get(there).status_code == 200
        gone = call("uninstall")
        assert gone.code == 0, gone.err
        assert "removed: _index_template/logs-aquila_cli.alert\n" in gone.out
        assert client.get(there).status_code == 404
    nothing = json.loads(call("uninstall", "--json").out)
    assert nothing == {"removed": [], "kept": {}}


def test_a_data_stream_with_data_stays_unless_it_is_to_go(
    call: Call, tree: PackageTree, engine_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_URL", engine_url)
    call("install")
    stream = f"logs-aquila_cli.alert-{namespace}"
    with httpx.Client(base_url=engine_url, trust_env=False) as client:
        client.put(
            f"/{stream}/_create/1",
            json={"@timestamp": "2026-01-01T00:00:00Z"},
            params={"pipeline": "_none"},
        ).raise_for_status()
        kept = call("uninstall")
        assert f"kept: data stream {stream} (it holds data)\n" in kept.out
        assert client.get(f"/_data_stream/{stream}").status_code == 200
        report = json.loads(call("uninstall", "--delete-data", "--json").out)
        assert f"data stream {stream}" in report["removed"]
        assert report["kept"] == {}
        assert client.get(f"/_data_stream/{stream}").status_code == 404


def test_everything_a_report_holds_is_told(
    call: Call, tree: PackageTree, engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def install(*_: object) -> InstallReport:
        return InstallReport(["a"], ["b"], ["c"], ["d"], ["No lifecycle."])

    monkeypatch.setenv("ES_URL", engine_url)
    monkeypatch.setattr("aquila_mde.elastic.assets.install", install)
    *lines, total = call("install").out.splitlines()
    assert lines == ["created: a", "updated: b", "rolled over: d", "No lifecycle."]
    assert total.endswith("1 created, 1 updated, 1 unchanged")


class KeyMaker(StatefulEngine):
    """Makes API keys as Elasticsearch does."""

    async def answer(self, seen: Seen) -> web.Response | None:
        if seen.method == "POST" and seen.path == "_security/api_key":
            made = {"id": "k1", "name": seen.json["name"], "api_key": "s", "encoded": "azE6cw=="}
            return json_answer(made)
        return await super().answer(seen)


async def _made(flavour: str, *options: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> Any:
    async with KeyMaker(flavour) as engine:
        monkeypatch.setenv("ES_URL", engine.url)
        monkeypatch.setenv("AQUILA_NAMESPACE", "ours")
        answer = await asyncio.to_thread(call, "install", *options)
        return answer, [each.json for each in engine.asked("POST", "_security/api_key")]


async def test_a_key_that_may_only_collect_is_made_and_shown_once(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--create-api-key", "collector", "--key-valid-for", "365d")
    answer, asked = await _made("elasticsearch", *options, call=call, monkeypatch=monkeypatch)
    assert answer.code == 0, answer.err
    assert answer.err.rstrip().endswith("ES_API_KEY=azE6cw==")
    assert "azE6cw==" not in answer.out
    (body,) = asked
    assert (body["name"], body["expiration"]) == ("collector", "365d")
    role = role_of({"ours": False})
    assert body["role_descriptors"] == {"aquila_mde": role}
    assert json.loads(call("install", "--show-role").out) == role


async def test_an_engine_without_keys_says_what_to_do(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = await _made(
        "opensearch", "--create-api-key", "x", call=call, monkeypatch=monkeypatch
    )
    assert answer.code == ExitCode.ENGINE_ACCESS
    assert "--show-role" in answer.err
    assert asked == []


def test_how_long_a_key_is_good_is_said_of_one_that_is_made(call: Call) -> None:
    assert call("install", "--key-valid-for", "1d").code == ExitCode.SETTINGS
    assert call("install", "--create-api-key", "x", "--key-valid-for", "soon").code == 2

"""Questions of the hunting pack as Kibana's Discover opens them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aquila_mde.build.kibana import saved_search
from aquila_mde.hunting_pack.load import PackQuery, load_pack
from aquila_mde.streams.tree import PackageTree

Json = dict[str, Any]
PACK = {one.name: one for one in load_pack(PackageTree.default())}
TIMED = [name for name, one in PACK.items() if one.spec.columns and one.spec.last]


def parts(query: PackQuery) -> tuple[Json, Json]:
    saved: Json = json.loads(saved_search(query))
    return saved, json.loads(saved["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])


@pytest.mark.parametrize("name", TIMED)
def test_kql_searches_its_data_stream_alone(name: str) -> None:
    saved, source = parts(PACK[name])
    (only,) = source["filter"]
    assert only["query"] == {
        "match_phrase": {"data_stream.dataset": f"aquila_mde.{PACK[name].spec.stream}"}
    }
    references = {one["name"]: one["id"] for one in saved["references"]}
    assert references[source["indexRefName"]] == "logs-*"
    assert references[only["meta"]["indexRefName"]] == "logs-*"
    assert source["query"]["language"] == "kuery"
    assert "\n" not in source["query"]["query"]
    assert saved["attributes"]["columns"][0] == PACK[name].spec.columns[0]


@pytest.mark.parametrize("name", [one.name for one in PACK.values() if not one.spec.stream])
def test_esql_names_what_it_reads(name: str) -> None:
    saved, source = parts(PACK[name])
    assert saved["attributes"]["isTextBasedQuery"] is True
    assert source["query"] == {"esql": PACK[name].spec.query.strip()}
    assert source["index"]["title"] in source["query"]["esql"].replace(", ", ",")
    assert source["index"]["timeFieldName"] == "@timestamp"
    assert saved["references"] == []


@pytest.mark.parametrize("name", [one.name for one in PACK.values() if one.spec.latest])
def test_newest_versions_are_searched_whatever_their_time(name: str) -> None:
    saved, source = parts(PACK[name])
    view = source["index"]
    assert view["title"] == f"security_solution-aquila_mde.{PACK[name].spec.stream}_latest"
    assert "timeFieldName" not in view
    assert source["filter"] == saved["references"] == []
    assert saved["attributes"]["usesAdHocDataView"] is True
    assert saved["attributes"]["timeRestore"] is False
    assert "timeRange" not in saved["attributes"]


def test_each_opens_with_its_own_time() -> None:
    saved, _ = parts(PACK["failed_actions"])
    assert saved["attributes"]["timeRestore"] is True
    assert saved["attributes"]["timeRange"] == {"from": "now-30d", "to": "now"}
    assert saved["id"] == "aquila_mde-failed-actions"

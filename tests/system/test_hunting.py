"""Advanced hunting from a simulated tenant to a real engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from aquila_mde.collect.backfill import backfill
from aquila_mde.collect.reconcile import reconcile
from aquila_mde.collect.status import read_status
from aquila_mde.defender.errors import (
    DefenderUnavailableError,
    HeavyQueryError,
    PermissionDeniedError,
    QueryError,
)
from aquila_mde.errors import ConfigurationError
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.hunts import load_hunts
from aquila_mde.streams.tree import PackageTree
from tests.system.conftest import Job
from tests.system.hunting import EVERYTHING, GRAPH, PATH, SIZES, Hunter, rows

MakeJob = Callable[..., Job]
SHIPPED = load_hunts([PackageTree.default().root / "data_stream/hunting/queries"])


@pytest.fixture
def hunter(job: MakeJob) -> Callable[..., Hunter]:
    def make(quirks: Quirks | None = None, **options: Any) -> Hunter:
        hunting = {key: options.pop(key) for key in ("api", "row_limit") if key in options}
        made = job(**SIZES | {"quirks": quirks or Quirks(late_share=0)} | options)
        return Hunter(made, **hunting)

    return make


async def test_every_query_of_the_package_finds_rows_and_maps_them(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter(api="graph")
    work.stream["look_back"] = "10d"
    report = await work.collect()
    assert report.error is None
    assert report.complete
    assert report.dead == 0
    found = Counter(each["mde"]["hunting"]["name"] for each in work.documents())
    assert set(found) == {each.name for each in SHIPPED}
    assert len(SHIPPED) >= 20
    for document in work.documents():
        assert document["event"]["kind"] in {"event", "alert"}
        assert "error" not in document
        assert document["rule"]["description"]
        assert document["event"]["category"]
    again = await work.collect()
    assert (again.error, again.created) == (None, 0)


async def test_defender_itself_is_asked_only_for_what_it_has(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter()
    report = await work.collect()
    assert report.error is None
    assert work.requests(GRAPH) == 0
    wanted = {each.name for each in SHIPPED if each.hunt.api is None}
    found = {each["mde"]["hunting"]["name"] for each in work.documents()}
    assert found <= wanted
    assert len(found) > 20


async def test_a_query_over_the_row_limit_brings_every_row_once(
    hunter: Callable[..., Hunter],
) -> None:
    limit = 2_000
    quirks = Quirks(hunting_row_limit=limit, hunting_rows_per_hour=400, late_share=0)
    work = hunter(quirks, row_limit=limit).write("everything", EVERYTHING)
    report = await work.collect()
    there = rows(work)
    assert report.error is None
    assert there > 4 * limit
    assert report.created == report.records == there == work.count()
    ids = Counter(each["event"]["id"] for each in work.documents())
    assert set(ids.values()) == {1}
    again = await work.collect()
    assert again.created == 0
    assert work.count() == there


@pytest.mark.parametrize(
    "quirk", ["hunting_times_out_above", "hunting_refused_above", "hunting_size_limit"]
)
async def test_a_query_that_is_too_much_is_asked_in_halves(
    hunter: Callable[..., Hunter], quirk: str
) -> None:
    most = 250_000 if quirk == "hunting_size_limit" else 100
    quirks = replace(Quirks(hunting_rows_per_hour=40, late_share=0), **{quirk: most})
    work = hunter(quirks).write("everything", EVERYTHING)
    report = await work.collect()
    assert report.error is None
    assert report.created == rows(work) == work.count()
    assert 10 < report.requests < 60


async def test_what_is_too_much_at_any_length_is_an_error_of_its_query_alone(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter(Quirks(late_share=0)).write("everything", EVERYTHING)
    work.write("values", EVERYTHING.replace("DeviceFileEvents", "DeviceRegistryEvents"))
    work.write("a_mistake", EVERYTHING.replace("| where", "| filtre"))
    report = await work.collect()
    assert isinstance(report.error, QueryError)
    assert "a_mistake" in report.error.message
    assert "filtre" in report.error.message
    found = {each["mde"]["hunting"]["name"] for each in work.documents()}
    assert found == {"everything", "values"}
    work.control.set_quirks(hunting_refused_above=0)
    work.control.advance(timedelta(hours=1))
    report = await work.collect()
    assert isinstance(report.error, HeavyQueryError)
    assert "too many resources" in report.error.message
    work.control.set_quirks(hunting_refused_above=None)
    (work.folder / "a_mistake.yml").write_text(EVERYTHING)
    assert (await work.collect()).error is None


async def test_late_rows_come_once_and_none_is_lost(hunter: Callable[..., Hunter]) -> None:
    quirks = Quirks(hunting_rows_per_hour=30, late_share=0.4)
    work = hunter(quirks).write("everything", EVERYTHING)
    for _ in range(12):
        assert (await work.collect()).error is None
        work.control.advance(timedelta(minutes=17))
    work.control.advance(timedelta(hours=1))
    assert (await work.collect()).error is None
    # The first pass reached back a day from then.
    begin = "datetime(2026-03-01T09:30:00Z)"
    assert work.count() == rows(work, since=begin)


async def test_bins_are_read_once_when_they_are_over(hunter: Callable[..., Hunter]) -> None:
    quirks = Quirks(hunting_rows_per_hour=30, late_share=0.4)
    counting = """\
title: Files by hour
description: Counts files.
bin: 1h
ids: [Timestamp, DeviceId]
query: |
  DeviceFileEvents
  | where Timestamp >= WindowStart and Timestamp < WindowEnd
  | summarize Files = count() by bin(Timestamp, 1h), DeviceId, DeviceName
"""
    work = hunter(quirks).write("by_hour", counting)
    work.control.set_quirks(hunting_times_out_above=200)
    for _ in range(5):
        assert (await work.collect()).error is None
        work.control.advance(timedelta(minutes=31))
    found = work.documents()
    total = sum(int(each["mde"]["hunting"]["extra"]["files"]) for each in found)
    # At 11:34 the newest bin whose hour of waiting is over is that from 9 to 10.
    bound = (
        "Timestamp >= datetime(2026-03-01T09:00:00Z) and Timestamp < datetime(2026-03-02T10:00:00Z)"
    )
    assert total == len(work.control.hunt(f"DeviceFileEvents | where {bound}"))
    assert len(found) == len({(e["@timestamp"], e["host"]["id"]) for e in found})


async def test_a_pass_that_is_cut_off_goes_on_and_repeats_nothing(
    hunter: Callable[..., Hunter],
) -> None:
    quirks = Quirks(hunting_row_limit=300, hunting_rows_per_hour=60, late_share=0)
    work = hunter(quirks, row_limit=300).write("everything", EVERYTHING)
    work.control.set_faults([Fault(PATH, "status", when=9, times=6, status=503)])
    report = await work.collect()
    assert isinstance(report.error, DefenderUnavailableError)
    some = work.count()
    assert 0 < some < rows(work)
    work.work.rollover("hunting")
    work.control.set_faults([])
    assert (await work.collect()).error is None
    assert work.count() == rows(work)
    work.work.lose_state()
    work.work.rollover("hunting")
    again = await work.collect()
    assert (again.error, again.created) == (None, 0)
    assert work.count() == rows(work)


async def test_a_missing_permission_is_named_on_both_sides(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter()
    work.control.remove_role("AdvancedQuery.Read.All")
    work.control.remove_role("ThreatHunting.Read.All")
    report = await work.collect()
    assert isinstance(report.error, PermissionDeniedError)
    assert "AdvancedQuery.Read.All" in report.error.hint
    assert report.requests == 1
    work.hunting["api"] = "graph"
    report = await work.collect()
    assert isinstance(report.error, PermissionDeniedError)
    assert "ThreatHunting.Read.All" in report.error.hint
    assert "Microsoft Graph" in report.error.hint
    work.control.grant_role("ThreatHunting.Read.All")
    assert (await work.collect()).error is None


async def test_a_query_waits_for_its_interval(hunter: Callable[..., Hunter]) -> None:
    work = hunter().write("everything", EVERYTHING + "interval: 1h\n")
    assert (await work.collect()).requests == 1
    work.control.advance(timedelta(minutes=30))
    assert (await work.collect()).requests == 0
    work.control.advance(timedelta(minutes=30))
    assert (await work.collect()).requests == 1


async def test_columns_of_other_names_are_mapped_as_the_query_says(
    hunter: Callable[..., Hunter],
) -> None:
    text = EVERYTHING.replace("DeviceFileEvents", "DeviceLogonEvents").replace(
        "ids: [DeviceId, Timestamp, ReportId]", "mapping: {Attacker: RemoteIP, Weight: FileSize}"
    )
    text += "  | where isnotempty(RemoteIP)\n"
    text += "  | project Timestamp, DeviceId, Attacker = RemoteIP, Weight = 5, Mark = 'x'\n"
    work = hunter().write("renamed", text)
    assert (await work.collect()).error is None
    documents = work.documents(name="renamed")
    assert documents
    for document in documents:
        assert document["source"]["ip"]
        assert document["file"]["size"] == 5
        assert document["mde"]["hunting"]["extra"] == {"mark": "x"}
        assert document["mde"]["hunting"]["table"] == "DeviceLogonEvents"


async def test_hunting_is_off_until_the_settings_turn_it_on(job: MakeJob) -> None:
    work = job(**SIZES)
    async with await work.open() as collector:
        reports = await collector.collect()
    assert "hunting" not in {report.stream for report in reports}
    assert not [each for each in work.simulator.control.requests if each.path == PATH]


def test_the_folder_of_the_package_is_whole() -> None:
    folder = Path("data_stream/hunting/queries")
    for file in (PackageTree.default().root / folder).glob("*.yml"):
        assert yaml.safe_load(file.read_text())["description"].strip().endswith(".")


async def test_reconcile_finds_and_mends_what_the_index_lacks(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter(Quirks(hunting_rows_per_hour=5, late_share=0)).write("everything", EVERYTHING)
    assert (await work.collect()).error is None
    index, there = work.work.index("hunting"), work.count()
    gone = {"query": {"term": {"file.extension": "exe"}}}
    deleted = work.work.ask("POST", f"/{index}/_delete_by_query?refresh=true", gone)["deleted"]
    assert 0 < deleted < there
    tree = work.work.tree
    (found,) = await reconcile(work.settings(), tree, ["hunting"], retry_wait=False)
    assert (found.stream, found.error, found.missing) == ("hunting/everything", None, deleted)
    assert sum(window.indexed for window in found.windows) == there - deleted
    (mended,) = await reconcile(work.settings(), tree, ["hunting"], repair=True, retry_wait=False)
    assert (mended.error, mended.missing) == (None, 0)
    assert work.count() == there
    # An older time than the first pass has read.
    since = work.now() - 3 * 864_000_000_000
    (older,) = await reconcile(
        work.settings(), tree, ["hunting"], since=since, repair=True, retry_wait=False
    )
    assert older.error is None
    assert work.count() == rows(work, since="ago(3d)")


async def test_status_shows_every_query_and_backfill_says_what_to_use_instead(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter().write("everything", EVERYTHING).write("wrong", EVERYTHING + "  | filtre\n")
    await work.collect()
    told = {each.stream: each for each in await read_status(work.settings(), work.work.tree)}
    assert told["hunting/everything"].delivered == work.count()
    assert told["hunting/everything"].last_error is None
    assert "filtre" in str(told["hunting/wrong"].last_error)
    with pytest.raises(ConfigurationError) as caught:
        await backfill(work.settings(), work.work.tree, 0, work.now(), ["hunting"])
    assert "reconcile --stream hunting" in caught.value.hint


async def test_a_wrong_query_file_stops_every_command_with_its_place(
    hunter: Callable[..., Hunter],
) -> None:
    work = hunter().write("odd", EVERYTHING + "colour: red\n")
    with pytest.raises(FaultsFoundError, match=r"odd.yml:\d+: colour: is not a key"):
        await work.collect()

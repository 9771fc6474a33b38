"""What a plan adds up to, what it warns of, and which way it goes when there is more."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.planning.parts import (
    MEASURED,
    STREAMS,
    TREE,
    at_intervals,
    groups,
    kinds,
    only,
    plan,
    slower,
)

from aquila_mde.elastic.package import read_package
from aquila_mde.errors import ConfigurationError
from aquila_mde.planning.assumptions import Assumptions, option_of
from aquila_mde.planning.demand import calls_for
from aquila_mde.planning.measured import read_measured
from aquila_mde.planning.plan import Plan, Wanted
from aquila_mde.planning.room import read_latest, room_of
from aquila_mde.planning.told import as_dict
from aquila_mde.planning.warnings import PlanWarning, warnings_of
from aquila_mde.streams.cost import costs
from aquila_mde.streams.lifecycle import Lifecycle, read_lifecycle

DAY = timedelta(days=1)
GB = 1 << 30
TENANTS = st.integers(1, 2_000)
MACHINES = st.integers(1, 100_000)


def warning(made: Plan, kind: str) -> PlanWarning:
    return next(one for one in warnings_of(made) if one.kind == kind)


def reading(made: Plan, stream: str, kind: str) -> dict[str, float]:
    found = as_dict(made, [])["readings"]
    return next(one for one in found if (one["stream"], one["kind"]) == (stream, kind))


def test_a_small_tenant_costs_the_calls_that_the_page_of_each_stream_names() -> None:
    made = plan(groups(1, 10))
    told = {one["path"]: one["calls_a_day"] for one in as_dict(made, [])["endpoints"]}
    for stream in STREAMS:
        if stream.collect.strategy != "hunting":
            for cost in costs(stream.collect):
                assert told[cost.path] == pytest.approx(cost.a_day, rel=1e-4)


def test_rows_that_are_read_again_are_counted_each_time_and_documents_once() -> None:
    made = plan(groups(1, 1_000), alerts=30, alert_versions=2)
    one = reading(made, "alert", "pass")
    # 2,000 versions a day; two hours of overlap and the five minutes since the pass before.
    assert one["rows"] == pytest.approx(2_000 * 125 / 1_440, rel=1e-4)
    (alerts,) = [stream for stream in made.streams if stream.name == "alert"]
    assert alerts.documents == pytest.approx(2_000)
    assert alerts.rows > 20 * alerts.documents


def test_a_full_export_has_every_row_and_is_new_in_part() -> None:
    made = plan(groups(1, 1_000), vulnerabilities=100, renewed=0.2)
    one = reading(made, "vulnerability", "full export")
    assert one["rows"] == 100_000
    # Every row once in 30 days, and a fifth in another version.
    assert one["documents"] == pytest.approx(100_000 * (7 / 30 + 0.2), rel=1e-4)
    changes = reading(made, "vulnerability", "changes")
    assert changes["rows"] == pytest.approx(1_000 * 7 / 24, rel=1e-4)
    assert changes["documents"] == pytest.approx(1_000 / 24, rel=1e-4)


def test_full_pages_are_asked_for_more_than_once() -> None:
    assert calls_for(0, 1_000) == calls_for(999, 1_000) == 1
    assert calls_for(1_000, 1_000) == 4
    assert calls_for(10_000, 1_000) == pytest.approx(15 + 6, abs=1)


def test_hunting_asks_once_for_each_query_that_is_due() -> None:
    found = groups(1, 10, hunting=True)
    (queries,) = [one.queries for one in found[0].collected if one.stream.name == "hunting"]
    made = plan(found)
    (calls,) = [one.calls_a_day for one in made.endpoints if one.stream == "hunting"]
    assert calls == pytest.approx(sum(DAY / every for every in queries))
    assert "hunting" not in {one.name for one in plan(groups(1, 10)).streams}


def test_of_a_stream_that_is_not_known_the_calls_are_counted_and_that_is_said() -> None:
    (group,) = only(groups(1, 10), "alert")
    (one,) = group.collected
    other = replace(one, stream=replace(one.stream, name="other"))
    made = plan([replace(group, collected=(other,))])
    assert made.only_calls == ["other"]
    (stream,) = made.streams
    assert (round(stream.calls), stream.rows, stream.documents) == (288, 0, 0)
    assert plan(groups(1, 10)).only_calls == []


def test_the_room_of_a_stream_is_bounded_by_age_or_by_size() -> None:
    policy = Lifecycle(timedelta(days=30), 50 * GB, timedelta(days=90))
    small = room_of(GB, policy, None)
    assert (small.shards, small.stored, small.largest) == (4, 120 * GB, 30 * GB)
    large = room_of(10 * GB, policy, None)
    assert (large.shards, large.stored, large.largest) == (19, 950 * GB, 50 * GB)
    assert room_of(GB, policy, timedelta(days=365)).shards == 14
    assert room_of(0, policy, None).stored == 0


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_every_stream_of_the_package_has_a_policy_that_can_be_planned_with(stream: object) -> None:
    policy = read_lifecycle(stream.folder)  # type: ignore[attr-defined]
    assert policy.rollover_age == timedelta(days=30)
    assert policy.rollover_bytes == 50 * GB
    assert policy.delete_after >= timedelta(days=30)


def test_a_policy_without_a_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="says nothing that can be planned with: No such"):
        read_lifecycle(tmp_path)
    file = tmp_path / "elasticsearch" / "ilm" / "default_policy.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"policy": {"phases": {"hot": {"actions": {"rollover": {}}}}}}')
    with pytest.raises(ConfigurationError, match="max_primary_shard_size"):
        read_lifecycle(tmp_path)


def test_the_template_of_the_newest_versions_is_the_one_that_is_installed() -> None:
    installed = {each.template for each in read_package(TREE).transforms}
    latest = [read_latest(TREE, stream) for stream in STREAMS]
    assert {one.template for one in latest if one} == installed


def test_an_interval_below_the_quota_is_a_warning_that_says_how_long_it_must_be() -> None:
    made = plan(at_intervals(groups(1, 10), alert=timedelta(seconds=1)), answer_seconds=0.1)
    told = warning(made, "quota")
    assert "3,600 calls an hour to /api/alerts, and Microsoft allows 1,500" in told.said
    assert "2.4 times as long" in told.hint
    assert "quota" not in kinds(plan(at_intervals(groups(1, 10), alert=timedelta(seconds=3))))


def test_a_page_that_takes_longer_than_the_interval_is_a_warning() -> None:
    made = plan(at_intervals(groups(1, 10), machine=timedelta(seconds=30)), answer_seconds=40)
    assert "It waits for the service" in warning(made, "interval").hint


def test_a_large_export_keeps_the_engine_at_work_and_is_told() -> None:
    told = warning(plan(groups(1, 10, 200_000)), "interval")
    assert "tenant largest" in told.where
    assert "full export" in told.said
    assert "Give the engine more cores" in told.hint


def test_too_few_processes_and_cores_are_warnings_that_name_how_many_it_takes() -> None:
    made = plan(groups(200, 20_000), slower(100, engine=100), processes=1, engine_cores=1)
    assert {"collector", "engine", "exports"} <= kinds(made)
    assert f"Run {made.needed.processes}," in warning(made, "collector").hint
    assert f"Give it {made.needed.engine_cores}," in warning(made, "engine").hint
    enough = plan(groups(200, 20_000), slower(100, engine=100))
    assert not {"collector", "engine", "exports"} & kinds(enough)


def test_shards_of_the_newest_versions_that_get_too_large_are_told_with_how_many_it_takes() -> None:
    made = plan(groups(400, 2_000))
    told = warning(made, "shard size")
    assert "vulnerability" in told.where
    shards = int(re.findall(r"number_of_shards: (\d+)", told.hint)[0])
    (stream,) = [one for one in made.streams if one.name == "vulnerability"]
    assert stream.latest_bytes / shards < 50 * GB < stream.latest_bytes / (shards - 1)
    assert "shard size" not in kinds(plan(groups(20, 500)))


def test_too_many_shards_and_many_small_ones_are_told() -> None:
    assert "3 data nodes take 3,000" in warning(plan(groups(400, 10)), "shards").said
    assert "many small ones" in warning(plan(groups(400, 10), nodes=99), "shards").said
    assert "shards" not in kinds(plan(groups(5, 10)))


def test_what_is_assumed_is_on_the_page_with_its_default() -> None:
    page = (TREE.root / "docs" / "sizing.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(--[a-z-]+)` \| ([\d.]+) \| (.+) \|$", page, re.MULTILINE)
    assert [(option, float(value), about) for option, value, about in table] == [
        (option_of(name), value, about) for name, value, about in Assumptions().named()
    ]


def test_every_kind_of_warning_is_on_the_page() -> None:
    page = (TREE.root / "docs" / "sizing.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| ([a-z ]+) \|", page.split("## What it warns of")[1], re.MULTILINE)
    kind = next(one for one in fields(PlanWarning) if one.name == "kind")
    assert kind.type == "Kind"
    named = re.findall(
        r'"([a-z ]+)"',
        (Path(TREE.root) / "src/aquila_mde/planning/warnings.py")
        .read_text(encoding="utf-8")
        .split("Kind = Literal[")[1]
        .split("]")[0],
    )
    assert [one for one in explained if one != "warning"] == named


@pytest.mark.parametrize("name", [one.name for one in fields(Assumptions)])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_number_that_no_tenant_can_have_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option_of(name)} is "):
        Assumptions(**{name: value})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"processes": 0}, "--processes is 0 and must be 1 or more"),
        ({"replicas": -1}, "--replicas is -1 and must be 0 or more"),
        ({"nodes": 0}, "--nodes is 0"),
        ({"full": 1.5}, "--busy is 1.5 and must be more than 0 and at most 1"),
    ],
)
def test_so_is_one_that_no_machine_can_have(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        Wanted([], **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("numbers", [(0, 1, None), (1, 0, None), (1, 1, 0)])
def test_there_is_at_least_one_of_everything(numbers: tuple[int, int, int | None]) -> None:
    with pytest.raises(ConfigurationError, match="must be 1 or more"):
        groups(*numbers)


def test_measurements_that_are_none_are_named(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    with pytest.raises(ConfigurationError, match="cannot be used: No such file"):
        read_measured(file)
    file.write_text('{"machine": {"cores": 2}}')
    with pytest.raises(ConfigurationError, match="there is no 'end_to_end'"):
        read_measured(file)
    file.write_text("[]")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_measured(file)


def test_what_comes_with_the_package_is_what_was_measured() -> None:
    assert set(MEASURED.weights) == {stream.name for stream in STREAMS}
    assert MEASURED.cpu_of_row("hunting") == max(MEASURED.row_s.values())
    assert 0 < MEASURED.tenant_bytes < MEASURED.process_bytes


def sizes(made: Plan) -> list[float]:
    """What can only grow when there is more to collect."""
    return [
        *(made.cores, made.engine_load, made.needed.processes, made.needed.engine_cores),
        *(made.shards, made.stored, made.memory, made.traffic.collector, made.traffic.engine),
        *(sum(one.rows for one in made.streams), sum(one.calls for one in made.streams)),
    ]


def never_less(less: Plan, more: Plan) -> None:
    for one, other in zip(sizes(less), sizes(more), strict=True):
        assert other >= one * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(tenants=TENANTS, further=TENANTS, machines=MACHINES)
def test_more_tenants_never_need_less(tenants: int, further: int, machines: int) -> None:
    given_ = {"processes": 4, "engine_cores": 8}
    never_less(
        plan(groups(tenants, machines), **given_),
        plan(groups(tenants + further, machines), **given_),
    )
    never_less(plan(groups(tenants, machines)), plan(groups(tenants, machines, machines + further)))


@settings(max_examples=40, deadline=None)
@given(
    machines=MACHINES,
    name=st.sampled_from([one.name for one in fields(Assumptions)]),
    value=st.floats(0.01, 1),
    times=st.floats(0, 1),
)
def test_more_of_anything_never_needs_less(
    machines: int, name: str, value: float, times: float
) -> None:
    found = groups(10, machines, hunting=True)
    less, more = plan(found, **{name: max(value * times, 0.001)}), plan(found, **{name: value})
    if name == "answer_seconds":
        # Waiting longer, a stream comes round less often.
        assert more.cores == less.cores
    else:
        never_less(less, more)


@settings(max_examples=30, deadline=None)
@given(tenants=TENANTS, machines=MACHINES, processes=st.integers(1, 64))
def test_with_more_processes_and_cores_nothing_takes_longer_and_no_warning_is_new(
    tenants: int, machines: int, processes: int
) -> None:
    found, measured = groups(tenants, machines), slower(10, engine=10)
    few = plan(found, measured, processes=processes, engine_cores=processes)
    many = plan(found, measured, processes=2 * processes, engine_cores=2 * processes)
    for one, other in zip(few.readings, many.readings, strict=True):
        assert many.seconds(other) <= few.seconds(one) * (1 + 1e-6)
    assert kinds(many) <= kinds(few)


@settings(max_examples=30, deadline=None)
@given(minutes=st.integers(1, 600), more=st.integers(1, 600))
def test_longer_intervals_never_need_more_calls(minutes: int, more: int) -> None:
    often, rarely = (
        plan(
            only(
                at_intervals(
                    groups(3, 500),
                    **dict.fromkeys(("alert", "machine_action"), timedelta(minutes=number)),
                ),
                "alert",
                "machine_action",
            )
        )
        for number in (minutes, minutes + more)
    )
    assert sum(one.calls for one in rarely.streams) <= sum(one.calls for one in often.streams)
    assert rarely.cores <= often.cores

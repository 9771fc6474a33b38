"""The pages of docs/ say what the streams declare, and count what really goes where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from aquila_mde.build import ecs, load_mappings, stale
from aquila_mde.build.docs.rows import FieldTable
from aquila_mde.simulator.control import Control
from aquila_mde.simulator.hunting_tables import TABLES as TABLES_OF_HUNTING
from aquila_mde.streams.casing import camel_case
from aquila_mde.streams.cost import duration, number
from aquila_mde.streams.stream import load_streams
from aquila_mde.streams.tree import PackageTree
from tests.plugins.simulator import StartSimulator

TREE = PackageTree.default()
PAGES = TREE.root / "docs/streams"
STREAMS = {stream.name: stream for stream in load_streams(TREE)}
MAPPINGS, LIBRARY = load_mappings(TREE)
TABLES = {one.stream: FieldTable(one.stream, one.spec, LIBRARY) for one in MAPPINGS}


def page(stream: str) -> str:
    return (PAGES / f"{stream}.md").read_text(encoding="utf-8")


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_page_is_there_and_up_to_date() -> None:
    assert stale(TREE) == []
    assert {path.stem for path in PAGES.glob("*.md")} == {*STREAMS, "README"}


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_a_page_names_endpoint_permission_quota_and_interval(stream: str) -> None:
    raw = yaml.safe_load((STREAMS[stream].folder / "collect.yml").read_text())
    text, endpoint = page(stream), raw["endpoint"]
    method = "POST" if raw["strategy"] == "hunting" else "GET"
    assert f"`{method} {endpoint['path']}` ([reference]({endpoint['reference']}))" in text
    assert f"| Application permission | `{endpoint['permission']}` |" in text
    quota = endpoint["quota"]
    assert f"{quota['per_minute']} calls a minute, {quota['per_hour']:,} an hour" in text
    assert f"| Read every | {raw['interval']} |" in text
    for name, join in (raw.get("joins") or {}).items():
        assert f"- **{name}**: by `{join['key']}`, from " in text
        assert f"### From the join {name}\n" in text


@pytest.mark.parametrize(
    ("stream", "calls"),
    [
        ("alert", {"/api/alerts": "288"}),
        ("machine", {"/api/machines": "96"}),
        ("machine_action", {"/api/machineactions": "288"}),
        (
            "vulnerability",
            {
                "/api/machines/SoftwareVulnerabilitiesExport": "0.14",
                "/api/machines/SoftwareVulnerabilityChangesByMachine": "24",
                "/api/vulnerabilities": "4",
            },
        ),
    ],
)
def test_the_cost_is_the_calls_of_a_day(stream: str, calls: dict[str, str]) -> None:
    section = page(stream).split("\n## Cost\n")[1].split("\n## ")[0]
    rows = cells(section)[1:]
    assert {row[1]: row[2] for row in rows} == calls


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_every_field_that_a_property_fills_is_one_of_the_field_files(stream: str) -> None:
    known: dict[str, str] = {}

    def read(fields: list[dict[str, Any]], before: str) -> None:
        for one in fields:
            known[before + one["name"]] = one["type"]
            read(one.get("fields", []), f"{before}{one['name']}.")

    for file in (STREAMS[stream].folder / "fields").glob("*.yml"):
        read(yaml.safe_load(file.read_text()), "")
    rows = [row for row in cells(page(stream).split("\n## Fields\n")[1]) if row[0] != "from"]
    assert len(rows) > 30
    for source, target, kind, _ in rows:
        if kind == "geo":
            assert any(name.startswith(target.removesuffix("*")) for name in known), target
        else:
            assert known.get(target) == kind, (source, target)


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_the_counts_are_those_of_the_table(stream: str) -> None:
    table, counts = TABLES[stream], TABLES[stream].counts()
    to_ecs = {
        line.source
        for line in table.properties()
        if line.target in ecs.fields() or line.type == "geo"
    }
    # Fields that are made of several members of a list belong to no property.
    everything = {line.source for line in table.properties() if not line.source.endswith("[]")}
    assert everything | table.names() == everything
    assert counts.ecs == len(to_ecs)
    assert counts.custom == len(everything) - len(to_ecs)
    assert counts.overflow == 0
    told = " ".join(page(stream).split())
    assert (
        f"{counts.all} documented properties: {counts.ecs} fill fields of ECS, "
        f"{counts.custom} fields of the stream itself, 0 the overflow."
    ) in told
    index = next(row for row in cells((PAGES / "README.md").read_text()) if f"[{stream}]" in row[0])
    assert index[3:] == [str(counts.all), str(counts.ecs), str(counts.custom), "0"]


def property_names(value: Any, before: str = "") -> Iterator[str]:
    """The names that a record has, as in the tables; what is null names nothing below it."""
    for name, one in value.items():
        path = f"{before}{camel_case(name)}"
        if isinstance(one, dict):
            yield from property_names(one, f"{path}.")
        elif one is not None:
            yield path
        if isinstance(one, list):
            for member in one:
                if isinstance(member, dict):
                    yield from property_names(member, f"{path}[].")


def records_of(stream: str, control: Control) -> Iterator[dict[str, Any]]:
    """Some records of the simulated tenant: of hunting, rows of every table."""
    if stream != "hunting":
        yield from (control.record(stream, key) for key in control.ids(stream)[:120])
        return
    for table in (*TABLES_OF_HUNTING, "AlertInfo", "AlertEvidence", "DeviceInfo"):
        query = f"{table} | where Timestamp >= ago(2d) | take 60"
        for row in control.hunt(query, graph=True):
            # What is JSON in a column is read as one value.
            yield {name: None if value is None else str(value) for name, value in row.items()}


# What the simulated tenant sends on purpose although nobody documents it, or what has no field.
NEW_PROPERTIES = {
    "alert": {"alertProduct"},
    "hunting": {"action", "actionResult", "actionTrigger"},
}


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_whatever_the_simulated_tenant_sends_is_documented_so_nothing_overflows(
    stream: str, simulator: StartSimulator
) -> None:
    control = simulator().control
    seen: set[str] = set()
    for record in records_of(stream, control):
        seen |= set(property_names(record))
    spec = next(one.spec for one in MAPPINGS if one.stream == stream)
    aliases = {alias for _, row in spec.walk() for alias in row.otherwise}
    documented = TABLES[stream].names()
    whole = {name for name in documented if not any(x.startswith(f"{name}[].") for x in documented)}
    unknown = {
        name
        for name in seen - documented - aliases
        if not any(name.startswith(f"{known}[].") for known in whole)
    }
    assert len(seen) > 15
    assert unknown == NEW_PROPERTIES.get(stream, set())


def test_durations_and_numbers_are_written_as_people_read_them() -> None:
    intervals = {stream.name: duration(stream.collect.interval) for stream in STREAMS.values()}
    assert intervals == {
        name: yaml.safe_load((stream.folder / "collect.yml").read_text())["interval"]
        for name, stream in STREAMS.items()
    }
    assert [number(value) for value in (288.0, 1 / 7, 36_000, 2.5)] == [
        "288",
        "0.14",
        "36,000",
        "2.5",
    ]

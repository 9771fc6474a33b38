"""Index against tenant, document by document and to the letter, over all backing indices."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
from tests.faults.world import World, content, machine_state
from tests.system.conftest import STREAMS

from aquila_mde.defender.times import parse_ticks
from aquila_mde.elastic.scan import LENIENT, scan
from aquila_mde.simulator.truth import VersionKey, version_key
from aquila_mde.streams.casing import camel_case

_TOLD = (
    "cvssScore",
    "vulnerabilitySeverityLevel",
    "exploitabilityLevel",
    "diskPaths",
    "registryPaths",
    "recommendedSecurityUpdate",
    "recommendedSecurityUpdateId",
    "recommendedSecurityUpdateUrl",
)
"""What the service tells of a row that has changed; it does not tell of the others."""


@dataclass(frozen=True)
class Document:
    """One document of the index."""

    id: str
    record: dict[str, Any]
    """The record as the service sent it, its properties in their JSON spelling."""
    source: dict[str, Any]


async def findings(world: World) -> list[str]:
    """Every way in which the index is not the tenant; empty when it is."""
    found: list[str] = []
    for stream in STREAMS:
        documents = await read(world, stream)
        ids = Counter(document.id for document in documents)
        found += [f"{stream}: {n} documents are {one}" for one, n in ids.items() if n > 1]
        found += _unknown(world, stream, documents)
        if stream == "machine":
            found += _machines(world, documents)
        elif stream == "vulnerability":
            found += _vulnerabilities(world, documents)
        else:
            found += _versions(world, stream, documents)
    return found


async def read(world: World, stream: str) -> list[Document]:
    """Every document of ``stream``, past the proxy."""
    index = world.direct.index(stream)
    found = []
    async with await world.direct.engine() as engine:
        await engine.request("POST", f"{index}/_refresh", params=LENIENT)
        async for hits in scan(engine, index, {}, page=5_000):
            for hit in hits:
                record = msgspec.json.decode(hit.source["event"]["original"])
                spelled = {camel_case(name): value for name, value in record.items()}
                found.append(Document(hit.id, spelled, hit.source))
    return found


async def letters(world: World) -> dict[str, str]:
    """The dead letters: their ids, and why."""
    index = world.direct.index("dead_letter")
    async with await world.direct.engine() as engine:
        await engine.request("POST", f"{index}/_refresh", params=LENIENT)
        return {
            hit.id: str(hit.source["error"]["message"])
            async for hits in scan(engine, index, {}, page=5_000)
            for hit in hits
        }


def _key(world: World, stream: str, record: dict[str, Any]) -> VersionKey:
    spec = world.specs[stream]
    return version_key(spec.for_changes() if "status" in record else spec, record)


def _unknown(world: World, stream: str, documents: list[Document]) -> list[str]:
    found = []
    for document in documents:
        key = (
            version_key(world.specs[stream], document.record)
            if stream != "vulnerability"
            else _key(world, stream, document.record)
        )
        contents = world.seen[stream].get(key)
        if contents is None:
            found.append(f"{stream}: no version of the tenant is {key}")
        elif content(document.record) not in contents:
            found.append(f"{stream}: {key} never was what {document.id} says it is")
        if document.source["event"].get("kind") == "pipeline_error":
            found.append(f"{stream}: the pipeline failed for {key}")
    return found


def _versions(world: World, stream: str, documents: list[Document]) -> list[str]:
    spec = world.specs[stream]
    held = Counter(version_key(spec, document.record) for document in documents)
    found = [f"{stream}: {n} documents of {key}" for key, n in held.items() if n > 1]
    for record in world.control.records(stream):
        key = version_key(spec, record)
        if key not in held:
            found.append(f"{stream}: {key} is missing")
    return found


def _machines(world: World, documents: list[Document]) -> list[str]:
    spec = world.specs["machine"]
    held = Counter(machine_state(spec, document.record) for document in documents)
    # With its state lost, the collector indexes each machine once more.
    found = [
        f"machine: {n} documents of {state}"
        for state, n in held.items()
        if n > world.machine_turns[state] + world.lost_states
    ]
    for record in world.control.records("machine"):
        state = machine_state(spec, record)
        if state not in held:
            found.append(f"machine: {state} is missing")
    return found


def _vulnerabilities(world: World, documents: list[Document]) -> list[str]:
    """What the index says last of each row is what the tenant says now."""
    found: list[str] = []
    changes = world.specs["vulnerability"].for_changes()
    told = Counter(
        version_key(changes, document.record)
        for document in documents
        if "status" in document.record
    )
    found += [
        f"vulnerability: {n} documents of the change {key}" for key, n in told.items() if n > 1
    ]
    rows: dict[tuple[str, Any], list[tuple[int, Document]]] = defaultdict(list)
    for document in documents:
        row = document.record
        when = row.get("eventTimestamp") or document.source["@timestamp"]
        rows[row["id"], row.get("rbacGroupId")].append((_ticks(when), document))
    present = {
        (row["id"], row.get("rbacGroupId")): row for row in world.control.records("vulnerability")
    }
    for place, row in present.items():
        if place not in rows:
            found.append(f"vulnerability: {place} is missing")
            continue
        last = max(rows[place], key=lambda one: one[0])[1].record
        if last.get("status") == "Fixed":
            found.append(f"vulnerability: {place} is told to be fixed and is not")
        elif any(last.get(name) != row.get(name) for name in _TOLD):
            found.append(f"vulnerability: {place} is told as it was earlier")
    if not world.chain_lost:
        for place, versions in rows.items():
            last = max(versions, key=lambda one: one[0])[1].record
            if place not in present and last.get("status") != "Fixed":
                found.append(f"vulnerability: {place} is gone and not told to be fixed")
    return found


def _ticks(text: str) -> int:
    text = text.replace(" ", "T")
    return parse_ticks(text if text.endswith("Z") else f"{text}Z")

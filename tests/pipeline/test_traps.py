"""Cases that are too large, too many or too much alike for a golden pair."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.indices import StrictIndices
from tests.pipeline.pipelines import STREAMS, Pipelines, document

PROCESS = {
    "entityType": "Process",
    "fileName": "cmd.exe",
    "filePath": "C:\\Windows\\System32",
    "processId": 4711,
    "processCreationTime": "2026-03-01T20:31:32.9581596Z",
    "sha1": "a" * 40,
}
ROW = {
    "id": "d_edge_120_CVE-2024-0001",
    "deviceId": "d" * 40,
    "deviceName": "PC.contoso.com",
    "osPlatform": "Windows10",
    "cveId": "CVE-2024-0001",
    "softwareName": "edge",
    "cvssScore": 7.5,
    "isOnboarded": False,
}


def one(pipelines: Pipelines, stream: str, record: Any, **more: Any) -> Any:
    return pipelines.run(stream, [document(stream, record, **more)])[0]


def without_clock(made: Any) -> Any:
    made["event"].pop("ingested")
    return made


def test_long_texts_and_many_pieces_of_evidence_are_indexed(
    pipelines: Pipelines, indices: StrictIndices
) -> None:
    record = {
        "id": "long",
        "description": "ü" * 40_000,
        "title": "t" * 40_000,
        "threatName": "n" * 40_000,
        "unknownText": "u" * 40_000,
        "evidence": [
            {
                **PROCESS,
                "processId": number,
                "processCommandLine": "x" * 40_000 if not number else "x",
            }
            for number in range(500)
        ],
    }
    made = one(pipelines, "alert", record)
    assert len(made["mde"]["alert"]["description"]) == 40_000
    assert len(made["rule"]["description"]) == 1024
    assert len(made["mde"]["alert"]["evidence"]) == 500
    assert sum(item.get("primary", False) for item in made["mde"]["alert"]["evidence"]) == 1
    assert indices.refusals("alert", [made]) == []


def test_seven_digits_of_a_time_can_be_told_apart(
    pipelines: Pipelines, indices: StrictIndices
) -> None:
    times = ["2026-03-01T20:33:59.1234567Z", "2026-03-01T20:33:59.1234568Z"]
    made = [
        one(pipelines, "alert", {"id": f"digits {time}", "lastUpdateTime": time}) for time in times
    ]
    assert indices.refusals("alert", made) == []
    later = {"range": {"mde.alert.last_update_time": {"gt": times[0]}}}
    found = indices.search("alert", {"bool": {"must": [later, {"prefix": {"event.id": "digits"}}]}})
    assert [document["mde"]["alert"]["last_update_time"] for document in found] == times[1:]


def test_evidence_is_found_by_what_belongs_together(
    pipelines: Pipelines, indices: StrictIndices
) -> None:
    made = one(
        pipelines,
        "alert",
        {
            "id": "pairs",
            "evidence": [PROCESS, {**PROCESS, "processId": 1, "sha1": "b" * 40}],
        },
    )
    assert indices.refusals("alert", [made]) == []

    def found(pid: int, sha1: str) -> bool:
        terms = [
            {"term": {"mde.alert.evidence.process_id": pid}},
            {"term": {"mde.alert.evidence.sha1": sha1}},
        ]
        query = {"nested": {"path": "mde.alert.evidence", "query": {"bool": {"must": terms}}}}
        return bool(
            indices.search("alert", {"bool": {"must": [query, {"term": {"event.id": "pairs"}}]}})
        )

    assert found(4711, "a" * 40)
    assert not found(1, "a" * 40)


@pytest.mark.parametrize(
    "spelled",
    [
        {key[:1].upper() + key[1:]: value for key, value in ROW.items()},
        {"ID" if key == "id" else key.replace("osP", "OSP"): value for key, value in ROW.items()},
        {**ROW, "CveId": None, "Id": ROW["id"]},
        {key if at % 2 else key[:1].upper() + key[1:]: ROW[key] for at, key in enumerate(ROW)},
    ],
)
def test_the_spelling_of_property_names_makes_no_difference(
    spelled: dict[str, Any], pipelines: Pipelines
) -> None:
    wanted = without_clock(one(pipelines, "vulnerability", ROW))
    assert without_clock(one(pipelines, "vulnerability", spelled)) == wanted


def test_two_spellings_with_two_values_are_both_kept(pipelines: Pipelines) -> None:
    made = one(pipelines, "vulnerability", {**ROW, "DeviceName": "other"})
    assert made["host"]["name"] == "pc.contoso.com"
    assert made["mde"]["vulnerability"]["extra"] == {"DeviceName": "other"}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_original_is_kept_with_its_tag_only(stream: str, pipelines: Pipelines) -> None:
    kept = one(pipelines, stream, {"id": "x"}, tags=["preserve_original_event"])
    assert kept["event"]["original"] == '{"id": "x"}'
    assert "message" not in kept or kept["message"] != kept["event"]["original"]
    assert "original" not in one(pipelines, stream, {"id": "x"})["event"]


@pytest.mark.parametrize("stream", STREAMS)
def test_an_original_that_is_there_already_is_used(stream: str, pipelines: Pipelines) -> None:
    given = document(stream, "not the record", tags=["preserve_original_event"])
    given["event"] = {"original": '{"id": "from the original"}'}
    made = pipelines.run(stream, [given])[0]
    assert made["event"]["id"] == "from the original"
    assert made.get("message") != "not the record"


@pytest.mark.parametrize("stream", STREAMS)
def test_the_tables_of_a_pipeline_are_the_same_for_every_document(
    stream: str, pipelines: Pipelines
) -> None:
    record = {
        "id": "x",
        "type": "StopAndQuarantineFile",
        "category": "Malware",
        "severity": "High",
        "evidence": [PROCESS],
        "osPlatform": "Windows11",
    }
    first, *rest = [
        without_clock(made)
        for made in pipelines.run(stream, [document(stream, record) for _ in range(20)])
    ]
    assert all(made == first for made in rest)


@pytest.mark.parametrize("stream", ["alert", "machine", "vulnerability"])
def test_a_bad_joined_machine_does_not_hurt(
    stream: str, pipelines: Pipelines, indices: StrictIndices
) -> None:
    for machine in (
        "text",
        [],
        {},
        {"ipAddresses": "x", "lastIpAddress": {"a": 1}, "osBuild": "y"},
    ):
        made = one(pipelines, stream, {"id": "x"}, join={"machine": machine})
        assert "error" not in made
        assert "join" not in made.get("mde", {})
        assert indices.refusals(stream, [made]) == []

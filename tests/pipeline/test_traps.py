"""Cases that are too large, too many or too much alike for a golden pair."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("text", ["u" * 1_500_000, '"\n\\' * 500_000, " " * 1_500_000])
@pytest.mark.parametrize("name", ["unknownText", "mitreTechniques", "title", "lastUpdateTime"])
def test_texts_beyond_the_loops_of_an_engine_are_kept(
    name: str, text: str, pipelines: Pipelines, indices: StrictIndices
) -> None:
    made = one(pipelines, "alert", {"id": "x", name: text})
    assert "error" not in made
    kept = made.get("message") or json.loads(made["mde"]["alert"]["extra_text"][0])[name]
    assert kept in (text, [text])
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
    # A row of a query has no id of its own.
    name, field = ("ActionType", "action") if stream == "hunting" else ("id", "id")
    given["event"] = {"original": f'{{"{name}": "from the original"}}'}
    made = pipelines.run(stream, [given])[0]
    assert made["event"][field] == "from the original"
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


def test_the_external_address_is_located_where_the_engine_has_databases(
    pipelines: Pipelines, indices: StrictIndices
) -> None:
    record = {"id": "x", "lastExternalIpAddress": "81.2.69.142"}
    made = one(pipelines, "machine", record)
    assert "join" not in made["mde"]
    assert "error" not in made
    if indices.flavour == "opensearch":  # ships the databases; Elasticsearch fetches them
        assert made["host"]["geo"]["country_iso_code"] == "GB"
        assert made["mde"]["machine"]["last_external_as"]["number"] == 20712
    assert indices.refusals("machine", [made]) == []


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1", "not an address"])
def test_an_address_without_a_place_has_none(address: str, pipelines: Pipelines) -> None:
    made = one(pipelines, "machine", {"id": "x", "lastExternalIpAddress": address})
    assert "geo" not in made["host"]
    assert "last_external_as" not in made["mde"]["machine"]


TIMES = {
    "2026-03-01T20:33:59.1234567Z": "2026-03-01T20:33:59.1234567Z",
    "2026-03-01T20:33:59.123Z": "2026-03-01T20:33:59.123Z",
    "2026-03-01T20:33:59Z": "2026-03-01T20:33:59Z",
    "2026-03-01T20:33:59": "2026-03-01T20:33:59Z",
    "2026-03-01 20:33:59": "2026-03-01T20:33:59Z",
    " 2026-03-01t20:33:59z ": "2026-03-01T20:33:59Z",
    "2026-03-01T20:33": "2026-03-01T20:33:00Z",
    "2026-03-01": "2026-03-01T00:00:00Z",
    "2026-03-01T20:33:59.12345678901Z": "2026-03-01T20:33:59.123456789Z",
    "2026-03-01T20:33:59+02:00": "2026-03-01T20:33:59+02:00",
    "2026-03-01T20:33:59.5-0330": "2026-03-01T20:33:59.5-03:30",
    "2026-03-01T20:33:59+01": "2026-03-01T20:33:59+01:00",
    "2026-03-01T20:33:59+00:00": "2026-03-01T20:33:59Z",
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00Z",
    "0001-01-01T00:00:00Z": None,
    "1601-01-01T00:00:00Z": None,
}
NO_TIMES = [
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-03-01T24:00:00Z",
    "2026-03-01T20:60:00Z",
    "2026-03-01T20:33:60Z",
    "2026-03-01T20:33:59.Z",
    "2026-03-01T20:33:59ZZ",
    "2026-03-01T20:33:59+1",
    "2026-03-01T20:33:59+19:00",
    "2026-03-01X20:33:59Z",
    "2026/03/01 20:33:59",
    "20260301T203359Z",
    "1969-12-31T23:59:59Z",
    "2262-04-12T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "yesterday",
    1772397239000,
]


def test_times_are_cleaned_and_what_is_none_is_kept_aside(
    pipelines: Pipelines, indices: StrictIndices
) -> None:
    given = [*TIMES, *NO_TIMES]
    made = pipelines.run(
        "machine", [document("machine", {"id": "x", "lastSeen": time}) for time in given]
    )
    for time, one_made in zip(given, made, strict=True):
        own = one_made.get("mde", {}).get("machine", {})
        assert own.get("last_seen") == TIMES.get(str(time)), time
        assert ("extra" in own) == (time in NO_TIMES), time
    assert indices.refusals("machine", made) == []


def test_durations_are_exact_to_the_digit(pipelines: Pipelines) -> None:
    cases = {
        ("2026-03-01T20:00:00.0000001Z", "2026-03-01T20:00:00.0000003Z"): 200,
        ("2023-12-31T23:59:59Z", "2024-01-01T00:00:00Z"): 1_000_000_000,
        ("2024-02-28T00:00:00Z", "2024-03-01T00:00:00Z"): 2 * 86_400_000_000_000,
        ("1970-01-01T00:00:00Z", "2000-03-01T00:00:00Z"): 951_868_800_000_000_000,
        ("2026-03-01T20:00:00+02:00", "2026-03-01T18:00:01Z"): 1_000_000_000,
        ("2026-03-01T20:00:00-02:00", "2026-03-01T22:00:01Z"): 1_000_000_000,
        ("2026-03-01T20:00:00Z", "2026-03-01T20:00:00Z"): 0,
        ("2026-03-01T20:00:00Z", "2026-03-01T19:00:00Z"): None,
        ("2026-03-01T20:00:00Z", None): None,
    }
    for (start, end), duration in cases.items():
        made = one(pipelines, "alert", {"firstEventTime": start, "lastEventTime": end})
        assert made["event"].get("duration") == duration


ADDRESSES = {
    "10.0.0.1": "10.0.0.1",
    " 10.0.0.1 ": "10.0.0.1",
    "255.255.255.255": "255.255.255.255",
    "fe80::1%12": "fe80::1",
    "FE80::1%eth0": "fe80::1",
    "::ffff:10.0.0.5": "10.0.0.5",
    "::": "::",
    "::1": "::1",
    "1::": "1::",
    "2001:db8::1:2": "2001:db8::1:2",
    "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:1.2.3.4": "1:2:3:4:5:6:1.2.3.4",
    "64:ff9b::1.2.3.4": "64:ff9b::1.2.3.4",
}
NO_ADDRESSES = [
    "10.0.0",
    "10.0.0.256",
    "10.0.0.01",
    "10.0.0.1.1",
    "10..0.1",
    "1.2.3.4:80",
    ":::",
    ":1",
    "1:",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "12345::",
    "g::1",
    "1.2.3.4::",
    "%1",
    "pc.contoso.com",
    42,
]


def test_addresses_are_cleaned_and_what_is_none_is_kept_aside(
    pipelines: Pipelines, indices: StrictIndices
) -> None:
    given = [*ADDRESSES, *NO_ADDRESSES]
    made = pipelines.run(
        "machine", [document("machine", {"id": "x", "lastIpAddress": each}) for each in given]
    )
    for address, one_made in zip(given, made, strict=True):
        own = one_made.get("mde", {}).get("machine", {})
        assert own.get("last_ip_address") == ADDRESSES.get(str(address)), address
        assert ("extra" in own) == (address in NO_ADDRESSES), address
    assert indices.refusals("machine", made) == []

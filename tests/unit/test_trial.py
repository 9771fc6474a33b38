"""Records in a file become documents, or one error with a line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from aquila_mde.elastic.client import Engine
from aquila_mde.errors import AquilaError, ConfigurationError, ExitCode
from aquila_mde.settings import ElasticsearchSettings
from aquila_mde.streams.tree import PackageTree
from aquila_mde.trial import (
    STANDARD_INPUT,
    PipelineErrorsFoundError,
    RecordsError,
    Trial,
    read_records,
)

TREE = PackageTree.default()
ONE, TWO = {"id": "a", "n": 1}, {"id": "b"}


def written(folder: Path, content: str | bytes) -> Path:
    file = folder / "records.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (json.dumps(ONE) + "\n\n" + json.dumps(TWO) + "\n", [1, 3]),
        (f"\n[{json.dumps(ONE)},\n\n {json.dumps(TWO)}]", [2, 4]),
        (json.dumps([ONE, TWO], indent=2), [2, 6]),
        (json.dumps({"@odata.context": "x", "value": [ONE, TWO]}, indent=1), [4, 8]),
        (f"{json.dumps(ONE)}\r\n{json.dumps(TWO)}\r\n", [1, 2]),
        (f"\ufeff{json.dumps(ONE)}\n{json.dumps(TWO)}", [1, 2]),
        (json.dumps([ONE, TWO]).encode("utf-16"), [1, 1]),
    ],
    ids=["lines", "list", "indented list", "answer", "windows", "mark", "utf-16"],
)
def test_records_are_read_in_every_form_the_api_has(
    content: str | bytes, lines: list[int], tmp_path: Path
) -> None:
    records = read_records(written(tmp_path, content))
    assert [json.loads(record.raw) for record in records] == [ONE, TWO]
    assert [record.line for record in records] == lines


def test_one_object_is_one_record_whatever_it_holds(tmp_path: Path) -> None:
    for one in (ONE, {"id": "a", "value": "x"}, {"value": None}):
        records = read_records(written(tmp_path, json.dumps(one, indent=4)))
        assert [json.loads(record.raw) for record in records] == [one]


def test_a_record_keeps_the_bytes_it_came_with(tmp_path: Path) -> None:
    raw = b'{"id": 123456789012345678901234567890,  "t": "2026-01-01T00:00:00.1234567Z"}'
    assert read_records(written(tmp_path, b"[" + raw + b"]"))[0].raw == raw


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"id": 1}\n{"id": 2\n{"id": 3}\n', ":2: this is no JSON: "),
        ('{\n "id": 1,\n "x" 2\n}\n', ":3: this is no JSON: Expecting ':' delimiter, column 6"),
        ('{"id": 1}\n[1]\n', ":2: a record is a JSON object, not [1]"),
        ('[{"id": 1},\n {"id": 2},\n 5]', ":3: a record is a JSON object, not 5"),
        (f'[\n"{"x" * 50}"]', f':2: a record is a JSON object, not "{"x" * 39}…'),
        ('{"value": [\n1]}', ":2: a record is a JSON object, not 1"),
        ('"text"', ':1: a record is a JSON object, not "text"'),
        ('{"id": 1}\n{"n": NaN}', ":2: this is no JSON: NaN and Infinity are no JSON"),
        (b'{"id": 1}\n{"x": "\xff"}', ":2: this is no UTF-8 text"),
        ("[" * 100_000, ":1: this is no JSON: it is nested too deep"),
        (" \n", ":1: there is no record in it"),
        ("[]", ":1: there is no record in it"),
    ],
)
def test_what_is_no_record_is_one_error_with_its_line(
    content: str | bytes, problem: str, tmp_path: Path
) -> None:
    file = written(tmp_path, content)
    with pytest.raises(RecordsError) as found:
        read_records(file)
    assert str(found.value).startswith(f"{file}{problem}")
    assert found.value.exit_code == ExitCode.SETTINGS


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"nowhere\.json cannot be read: No such file"):
        read_records(tmp_path / "nowhere.json")


def test_standard_input_is_read_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id":1}')))
    assert read_records(STANDARD_INPUT)[0].raw == b'{"id":1}'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{")))
    with pytest.raises(RecordsError, match="^standard input:1: this is no JSON"):
        read_records(STANDARD_INPUT)


def test_a_stream_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no stream alerts") as found:
        Trial(TREE, "alerts", written(tmp_path, "{}"))
    assert found.value.hint == "Use one of alert, hunting, machine, machine_action, vulnerability."


async def run(trial: Trial, url: str) -> tuple[list[dict[str, Any]], AquilaError | None]:
    made: list[dict[str, Any]] = []
    async with await Engine.connect(ElasticsearchSettings(url=url)) as engine:
        try:
            async for document in trial.run(engine):
                made.append(document)
        except AquilaError as error:
            return made, error
    return made, None


async def test_each_record_becomes_its_document(engine_url: str, tmp_path: Path) -> None:
    records = [{"id": f"m{number}", "osPlatform": "Windows11"} for number in range(450)]
    made, error = await run(
        Trial(TREE, "machine", written(tmp_path, json.dumps(records))), engine_url
    )
    assert error is None
    assert [one["host"]["id"] for one in made] == [one["id"] for one in records]
    assert made[0]["host"]["os"]["type"] == "windows"
    assert made[0]["data_stream"]["dataset"] == "aquila_mde.machine"


async def test_a_row_of_an_export_has_a_time_of_export(engine_url: str, tmp_path: Path) -> None:
    row = '{"DeviceId": "d", "CveId": "CVE-2026-1"}'
    made, error = await run(Trial(TREE, "vulnerability", written(tmp_path, row)), engine_url)
    assert error is None
    assert made[0]["vulnerability"]["id"] == "CVE-2026-1"
    assert made[0]["vulnerability"]["report_id"] == made[0]["@timestamp"]


async def test_a_pipeline_error_is_a_document_and_an_error_behind_the_last(
    engine_url: str, tmp_path: Path
) -> None:
    # Not a fault that a record can have: a pipeline that refuses it.
    root = tmp_path / "tree"
    folder = root / "data_stream" / "alert"
    built = folder / "elasticsearch" / "ingest_pipeline" / "default.yml"
    built.parent.mkdir(parents=True)
    for name in ("manifest.yml", "collect.yml", "mapping.yml"):
        source = TREE.root / "data_stream" / "alert" / name
        text = source.read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("stream: machine", "stream: alert"))
    built.write_text(
        json.dumps(
            {
                "processors": [{"fail": {"message": "no", "if": "ctx.message.contains('bad')"}}],
                "on_failure": [{"set": {"field": "event.kind", "value": "pipeline_error"}}],
            }
        )
    )
    lines = "\n".join('{"id": "bad"}' if number % 2 else "{}" for number in range(24))
    made, error = await run(Trial(PackageTree(root), "alert", written(tmp_path, lines)), engine_url)
    assert len(made) == 24
    assert isinstance(error, PipelineErrorsFoundError)
    assert error.exit_code == ExitCode.PIPELINE_ERRORS
    assert error.message == (
        "12 of 24 documents are pipeline errors "
        "(records at line 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, …)"
    )

    without = json.loads(built.read_text())
    del without["on_failure"]
    built.write_text(json.dumps(without))
    made, error = await run(Trial(PackageTree(root), "alert", written(tmp_path, lines)), engine_url)
    assert len(made) == 1
    assert "The engine makes no document of the record at line 2: " in str(error)

"""Tables, documents and progress, on a terminal and off it."""

from __future__ import annotations

import json
import sys

import pytest

from aquila_mde.cli import _options
from aquila_mde.cli._output import print_document, print_table, record_progress


def table(capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_table(("stream", "read", "seconds"), [("alert [x]", 5000, 1.25), ("machine", 7, 30.0)])
    return capsys.readouterr().out.splitlines()


def test_a_table_in_a_file_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.rstrip() for line in table(capsys)] == [
        "stream      read  seconds",
        "alert [x]  5,000      1.2",
        "machine        7     30.0",
    ]


def test_a_table_on_a_terminal_has_a_frame(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    lines = table(capsys)
    assert "┃" in lines[1]
    assert "alert [x]" in lines[3]


def test_a_cell_without_a_value_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("x", None)])
    assert capsys.readouterr().out.splitlines()[1].rstrip() == "x"


def test_a_document_is_json_in_both_places(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"event": {"id": "1"}, "message": "Grüße"}
    print_document(document)
    plain = capsys.readouterr().out
    assert json.loads(plain) == document
    assert "Grüße" in plain
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    print_document(document)
    assert "\x1b[" in capsys.readouterr().out


def test_progress_off_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    with record_progress(tell=said.append) as show:
        for records in (10_000, 20_000, 30_000, 40_000, 60_000):
            show("vulnerability", records)
        show("alert", 26_000)
    assert said == [
        "vulnerability: 30,000 records read",
        "vulnerability: 60,000 records read",
        "alert: 26,000 records read",
    ]
    assert capsys.readouterr() == ("", "")


def test_progress_of_a_service_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    _options.start_logging(None)
    with record_progress() as show:
        show("alert", 26_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["message"] == "alert: 26,000 records read"


def test_quiet_means_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with record_progress(quiet=True) as show:
        show("alert", 1_000_000)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with record_progress() as show:
        show("alert", 12)
        show("alert", 1_234)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "alert" in captured.err
    assert "1,234 records" in captured.err

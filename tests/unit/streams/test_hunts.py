"""Query files: what is wrong in one is said with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from aquila_mde.errors import ConfigurationError
from aquila_mde.streams import kql
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.hunts import chosen_hunts, load_hunts

GOOD = """\
title: A query
description: Looks.
ids: [DeviceId, Timestamp]
query: |
  DeviceEvents
  | where Timestamp >= WindowStart and Timestamp < WindowEnd
"""


def write(folder: Path, name: str, text: str = GOOD) -> None:
    (folder / f"{name}.yml").write_text(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD.replace("title: A query\n", ""), "one.yml:1: title: is missing"),
        (GOOD + "colour: red\n", "one.yml:7: colour: is not a key that is known here"),
        (
            GOOD + "techniques: [T12]\n",
            "one.yml:7: techniques[0]: string should match pattern",
        ),
        (GOOD + "tactics: [Magic]\n", "one.yml:7: tactics[0]: input should be 'Reconnaissance'"),
        (GOOD + "interval: soon\n", "one.yml:7: interval: must be a duration such as 90s"),
        (GOOD + "look_back: 60d\n", "one.yml:7: look_back: the service keeps 30d"),
        (GOOD + "bin: 7m\n", "one.yml:7: bin: a day must be a multiple of it"),
        (GOOD + "  | take 5\n", "one.yml:7: is not YAML"),
        (GOOD.replace("WindowEnd", "now()"), "one.yml:4: query: say where its time goes"),
        (
            GOOD.replace("ids: [DeviceId, Timestamp]\n", "") + "  | top 5 by Timestamp\n",
            "one.yml:3: query: top gives other rows each time",
        ),
        (
            GOOD + "  | summarize count() by DeviceId\n",
            "one.yml:4: query: summarize makes one row of several, so bin has to say",
        ),
        (
            GOOD.replace("  DeviceEvents\n", "  union DeviceEvents, DeviceInfo\n"),
            "one.yml:4: query: it does not begin with a table",
        ),
        ("[]", "one.yml:1: must hold a mapping of keys to values"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, fault: str, tmp_path: Path) -> None:
    write(tmp_path, "one", text.replace("  | take 5", "| take 5"))
    with pytest.raises(FaultsFoundError) as caught:
        load_hunts([tmp_path])
    (found,) = [str(each).removeprefix(f"{tmp_path}/") for each in caught.value.faults]
    assert found.startswith(fault), found


def test_every_fault_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "Capital")
    write(tmp_path, "two", "title: x\n")
    with pytest.raises(FaultsFoundError) as caught:
        load_hunts([tmp_path])
    told = "\n".join(map(str, caught.value.faults))
    assert "Capital.yml:1: the name of the file must be of small letters" in told
    assert "two.yml:1: description: is missing" in told
    assert "two.yml:1: query: is missing" in told


def test_two_queries_of_one_name_are_a_fault(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        write(folder, "same")
    with pytest.raises(FaultsFoundError, match=r"other/same.yml:1: there is another one in .*one"):
        load_hunts([one, other])


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no folder") as caught:
        load_hunts([tmp_path / "nowhere"])
    assert "hunting.folder" in caught.value.hint


def test_queries_are_chosen_by_name_and_by_what_the_api_has(tmp_path: Path) -> None:
    write(tmp_path, "devices")
    write(tmp_path, "mail", GOOD.replace("DeviceEvents", "EmailEvents") + "api: graph\n")
    hunts = load_hunts([tmp_path])
    assert [each.name for each in chosen_hunts(hunts, None, "defender")] == ["devices"]
    assert [each.name for each in chosen_hunts(hunts, None, "graph")] == ["devices", "mail"]
    assert [each.name for each in chosen_hunts(hunts, ["mail"], "graph")] == ["mail"]
    with pytest.raises(ConfigurationError, match="do not exist: other") as caught:
        chosen_hunts(hunts, ["other"], "graph")
    assert caught.value.hint == "The queries are: devices, mail."
    with pytest.raises(ConfigurationError, match="mail read tables that the defender API lacks"):
        chosen_hunts(hunts, ["mail"], "defender")


def test_the_digest_changes_with_the_query(tmp_path: Path) -> None:
    write(tmp_path, "one")
    write(tmp_path, "two", GOOD.replace("Looks.", "Looks closely."))
    write(tmp_path, "three", GOOD + "  | where DeviceName == 'x'\n")
    found = {each.name: each for each in load_hunts([tmp_path])}
    assert found["one"].digest == found["two"].digest != found["three"].digest
    assert found["one"].table == "DeviceEvents"


@pytest.mark.parametrize(
    ("query", "table"),
    [
        ("DeviceEvents", "DeviceEvents"),
        ("DeviceEvents;", "DeviceEvents"),
        ("// about | nothing\nDeviceEvents\n| take 1", "DeviceEvents"),
        ("let x = 'a; b | c'; let y = 5;\n DeviceInfo | count", "DeviceInfo"),
        ("let T = DeviceInfo | where A == 1; T | count", "T"),
        ("union A, B", None),
        ("search 'x'", None),
        ("", None),
    ],
)
def test_the_table_that_a_query_begins_with(query: str, table: str | None) -> None:
    assert kql.table_of(query) == table


def test_a_window_is_put_behind_the_table_unless_the_query_has_one() -> None:
    plain = "DeviceEvents | where A == 1"
    assert kql.with_window(plain) == f"DeviceEvents\n{kql.WINDOW} | where A == 1"
    own = f"DeviceEvents {kql.WINDOW}"
    assert kql.with_window(own) == own
    quoted = "DeviceEvents | where A == 'WindowStart WindowEnd'"
    assert kql.with_window(quoted) != quoted
    assert kql.with_window("union A, B") is None
    both = kql.within(own, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert both.startswith("let WindowStart = datetime(2026-01-01T00:00:00Z);\n")
    assert both.endswith(own)


def test_operators_in_comments_and_texts_do_not_count() -> None:
    query = "T // | take 5\n| where A == '| summarize'"
    assert kql.takes_anything(query) is None
    assert kql.puts_together(query) is None
    assert kql.takes_anything("T | limit 5") == "limit"
    assert kql.puts_together("T | summarize count()") == "summarize"

"""docs/troubleshooting.md has every message of the program, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aquila_mde.defender import device_code, sign_in_codes
from aquila_mde.errors import ExitCode
from aquila_mde.streams.tree import PackageTree
from tests.docs.messages import all_messages

PAGE = (PackageTree.default().root / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def cells() -> list[list[str]]:
    """The cells of every row whose first one is a message; `\\|` is a bar inside of one."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_message_of_the_source_is_on_the_page() -> None:
    explained = {row[0].strip("`") for row in cells()}
    unsaid = [f"{one.place}: {one.text}" for one in all_messages() if one.text not in explained]
    assert unsaid == []


def test_every_message_of_the_page_is_in_the_source() -> None:
    told = {message.text for message in all_messages()}
    assert [row[0] for row in cells() if row[0].strip("`") not in told] == []


def test_every_message_has_cause_and_cure_and_stands_once_in_its_part() -> None:
    for row in cells():
        assert len(row) == 3, row
        assert all(row), row
    for part in PAGE.split("\n## ")[1:]:
        said = re.findall(r"^\| (`.*?`) \|", part, re.MULTILINE)
        assert len(said) == len(set(said))


def test_what_the_answers_of_the_sign_in_mean_is_explained() -> None:
    meanings = {meaning for meaning, _ in sign_in_codes._MEANING.values()}
    meanings |= {meaning for meaning, _ in device_code._BY_CODE.values()}
    meanings |= {meaning for meaning, _ in device_code._BY_ERROR.values()}
    assert {meaning for meaning in meanings if f"| {meaning} |" not in PAGE} == set()


def test_the_table_of_exit_codes_is_that_of_the_program() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (\w+) \|", PAGE, re.MULTILINE))
    assert table == {str(int(code)): code.name for code in ExitCode}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('raise AquilaError("It is full", hint="Empty it")', "It is full"),
        ('raise SpecialError(f"{host} is full: {why}")', "… is full"),
        ('raise SpecialError(host, "half")', "The cup … is half full"),
        ('what = "cup" if x else "pot"\nraise AquilaError(f"A {what} is full")', "A pot is full"),
        ('_log.warning("Nearly full", how=1)', "Nearly full"),
        ('error.message = f"Told anew: {error.message} it is"', "Told anew: … it is"),
    ],
)
def test_each_way_to_tell_of_trouble_is_found(tmp_path: Path, source: str, message: str) -> None:
    special = (
        "class AquilaError(Exception):\n"
        "    def __init__(self, message, hint=''):\n"
        "        super().__init__(message)\n"
        "class SpecialError(AquilaError):\n"
    )
    special += (
        "    def __init__(self, cup, how):\n"
        '        super().__init__(f"The cup {cup} is {how} full")\n'
        if "half" in source
        else "    pass\n"
    )
    (tmp_path / "errors.py").write_text(special)
    body = source.replace("\n", "\n    ")
    (tmp_path / "part.py").write_text(f"def run(x, host, why, error):\n    {body}\n")
    found = {each.text: each.place for each in all_messages(tmp_path)}
    assert found[message].startswith("part.py:")

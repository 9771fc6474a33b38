"""docs/hunting.md says which queries there are and what one can say."""

from __future__ import annotations

import re

import pytest
import yaml

from aquila_mde.settings import HuntingSettings
from aquila_mde.streams.hunts import Hunt, load_hunts
from aquila_mde.streams.tree import PackageTree

TREE = PackageTree.default()
FOLDER = TREE.root / "data_stream/hunting/queries"
PAGE = (TREE.root / "docs/hunting.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("query", "key", "setting", "message")]


def test_the_tables_of_queries_are_those_of_the_files() -> None:
    hunts = load_hunts([FOLDER])
    ordered = [each for each in hunts if each.hunt.api is None]
    ordered += [each for each in hunts if each.hunt.api is not None]
    assert rows("Queries of the package") == [
        [
            f"[{each.name}](../data_stream/hunting/queries/{each.name}.yml)",
            each.hunt.title,
            each.table,
            ", ".join(each.hunt.techniques),
        ]
        for each in ordered
    ]
    readme = (TREE.root / "README.md").read_text(encoding="utf-8")
    assert f"then {len(hunts)} KQL queries" in readme


def test_every_key_of_a_query_and_every_setting_is_explained() -> None:
    keys = {name for row in rows("Write a query") for name in re.findall(r"`(\w+)`", row[0])}
    assert keys == set(Hunt.model_fields)
    settings = {row[0].strip("`") for row in rows("Turn it on")}
    assert settings == set(HuntingSettings.model_fields)


def test_the_example_is_a_query() -> None:
    example = re.search(r"```yaml\n(title: .*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert Hunt.model_validate(yaml.safe_load(example[1])).bin is None


@pytest.mark.parametrize("hunt", load_hunts([FOLDER]), ids=lambda each: each.name)
def test_a_query_says_what_it_is_about(hunt: object) -> None:
    said = hunt.hunt  # type: ignore[attr-defined]
    assert said.description.strip().endswith(".")
    # What is about alerts has the techniques of each alert.
    assert said.tactics or hunt.name == "alert_evidence"  # type: ignore[attr-defined]
    assert said.ids or hunt.name == "alert_evidence"  # type: ignore[attr-defined]

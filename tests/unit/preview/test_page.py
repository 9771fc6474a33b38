"""The page needs no network, and nothing of the data can break out of it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.dashboards.trees import full_tree

from aquila_mde.dashboards.load import load_dashboards
from aquila_mde.dashboards.query import Row
from aquila_mde.preview import Preview, render
from aquila_mde.preview.ask import Answers, Choice, Tenant, asked

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("tree")
    found = []
    for dashboard in load_dashboards(full_tree(folder)):
        answers = Answers(dashboard)
        for tenant in ("", "t1"):
            answers.rows[Choice(tenant)] = {
                panel.title: [
                    Row(
                        tuple(0 if one.every else EVIL for one in panel.splits()),
                        tuple("<b>" if one.function == "last" else 3 for one in panel.metrics),
                    )
                ]
                for panel in asked(dashboard)
            }
        found.append(answers)
    preview = Preview("OpenSearch 3.8.0", [Tenant("t1", f"Contoso {EVIL}")], found)
    assert preview.empty() == []
    return render(preview, now=datetime(2026, 3, 1, 8, 30, tzinfo=UTC))


def test_nothing_is_fetched(page: str) -> None:
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", own)
    assert "@import" not in own
    assert "url(" not in own
    assert "Made 2026-03-01 08:30 UTC from OpenSearch 3.8.0." in own


def test_the_page_has_its_own_scripts_and_no_other(page: str) -> None:
    assert page.count("<script>") - page.count("\\x3c/script><script>") == 3
    assert page.count("</script>") == 3
    assert "window.vegaEmbed=" in page
    assert "Contoso &lt;/script&gt;" in page


def test_the_data_is_what_was_asked(page: str) -> None:
    text = page.split("const DATA = ")[1].split(";</script>", maxsplit=1)[0]
    data = json.loads(text.replace("\\x3c", "<"))
    assert [one[0] for one in data["tenants"]] == ["", "t1"]
    test, other = data["dashboards"]
    assert (test["title"], test["last"], other["title"]) == ("Test", "Last 30 days", "Other")
    panels = {panel["title"]: panel for panel in test["panels"]}
    assert panels["Number"]["shown"]["t1|"]["tile"] == "3"
    assert panels["Number"]["drill_title"] == "Other"
    html = panels["Words"]["shown"]["|"]["html"]
    assert html.startswith("<p><strong>Bold</strong>")
    assert "<script" not in html

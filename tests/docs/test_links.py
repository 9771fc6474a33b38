"""Every link of the documentation leads somewhere: files and headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aquila_mde.streams.tree import PackageTree

ROOT = PackageTree.default().root
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def without_code(text: str) -> str:
    """``text`` without blocks of code, whose comments look like headings."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link to a heading of ``page`` ends in, as GitHub makes it."""
    text = without_code(page.read_text(encoding="utf-8"))
    found = set()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\]\([^)]*\)", "", title).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


def dead_links(page: Path) -> list[str]:
    text = without_code(page.read_text(encoding="utf-8"))
    dead = []
    # The text of a link may go over the end of a line, its target may not.
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (heading and heading not in anchors(file)):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, with `code`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#a-heading-with-code) [b](there.md#no-heading) [c](gone.md) [d](#none)\n"
        "[e](https://example.com/x#y)\n"
    )
    assert dead_links(page) == ["there.md#no-heading", "gone.md", "#none"]


def test_the_start_page_leads_to_every_page() -> None:
    start = ROOT / "docs" / "index.md"
    linked = re.findall(r"\]\(([\w/.-]+\.md)", start.read_text(encoding="utf-8"))
    reached = {(start.parent / each).resolve() for each in linked} | {start}
    assert {page for page in PAGES if page.is_relative_to(start.parent)} <= reached

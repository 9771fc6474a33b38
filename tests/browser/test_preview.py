"""The preview in a real browser: every dashboard is whole, on a wide and on a narrow screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
WIDTHS = (1440, 390)
DASHBOARDS = (
    *("overview", "alerts", "alert-investigation", "machines"),
    *("machine-actions", "vulnerabilities", "hunting", "collector-health"),
)
Open = Callable[..., Page]

LAYOUT = """() => {
  const box = (one) => { const r = one.getBoundingClientRect();
    return {id: one.id, left: r.left, right: r.right, top: r.top, bottom: r.bottom}; };
  return {
    panels: [...document.querySelectorAll('.panel')].map(box),
    wide: document.documentElement.scrollWidth - window.innerWidth,
    titles: [...document.querySelectorAll('.panel h2')].filter(
      (one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent),
    drawn: [...document.querySelectorAll('.chart')].map((one) => ({
      id: one.closest('.panel').id,
      marks: one.querySelectorAll('svg path, svg rect, svg text').length,
      out: one.querySelector('svg') ? one.querySelector('svg').getBoundingClientRect().width
        - one.getBoundingClientRect().width : null,
    })),
    empty: [...document.querySelectorAll('.empty[data-expected=false]')].map(
      (one) => one.closest('.panel').id),
    numbers: [...document.querySelectorAll('.number')].map((one) => one.textContent),
    rows: [...document.querySelectorAll('table')].map(
      (one) => one.querySelectorAll('tbody tr').length),
  };
}"""


@pytest.fixture
def open_page(browser: Browser, page_file: Path) -> Iterator[Open]:
    """Opens the preview; at the end nothing must have been complained about or fetched."""
    complaints: list[str] = []
    pages: list[Page] = []

    def open_page(width: int = 1440, scheme: Any = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda one: complaints.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: complaints.append(str(one)))
        page.on("request", lambda one: note(one.url))
        pages.append(page)
        page.goto(page_file.as_uri())
        return page

    def note(url: str) -> None:
        if not url.startswith(("file:", "data:")):
            complaints.append(f"fetched {url}")

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


def go_to(page: Page, name: str) -> dict[str, Any]:
    """Click on a dashboard, wait until it is drawn, and measure it."""
    page.click(f'nav a[data-name="{name}"]')
    page.wait_for_selector(f'html[data-ready="{name}"]')
    found: dict[str, Any] = page.evaluate(LAYOUT)
    return found


def overlapping(panels: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (one["id"], other["id"])
        for number, one in enumerate(panels)
        for other in panels[number + 1 :]
        if one["left"] < other["right"] - 1
        and other["left"] < one["right"] - 1
        and one["top"] < other["bottom"] - 1
        and other["top"] < one["bottom"] - 1
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_dashboard_is_whole(open_page: Open, tmp_path: Path, width: int, scheme: str) -> None:
    page = open_page(width, scheme)
    for name in DASHBOARDS:
        found = go_to(page, name)
        assert found["panels"], name
        assert overlapping(found["panels"]) == []
        assert found["wide"] <= 0, name
        assert all(one["left"] >= 0 and one["right"] <= width + 1 for one in found["panels"])
        assert found["titles"] == [], name
        assert found["empty"] == [], name
        assert all(one["marks"] > 3 for one in found["drawn"]), (name, found["drawn"])
        assert all(one["out"] is not None and one["out"] <= 1 for one in found["drawn"]), name
        assert all(text.strip() for text in found["numbers"])
        assert all(rows > 0 for rows in found["rows"]), name
        picture = tmp_path / f"{name}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 20_000


def test_the_tenant_filters_every_dashboard(open_page: Open) -> None:
    page = open_page()
    for name in DASHBOARDS:
        go_to(page, name)
        page.select_option("#tenant", label="Contoso")
        page.wait_for_selector(f'html[data-ready="{name}"]')
        key = page.evaluate(
            "() => { const t = document.getElementById('tenant').value;"
            " const s = document.getElementById('subject');"
            " return t + '|' + (document.getElementById('about').hidden ? '' : s.value); }"
        )
        shown = page.evaluate(
            """([name, key]) => {
              const dashboard = DATA.dashboards.find((one) => one.name === name);
              return dashboard.panels.filter((one) => one.kind === 'metric').map((one) =>
                [one.shown[key].tile,
                 document.getElementById(one.id).querySelector('.number').textContent]);
            }""",
            [name, key],
        )
        assert not key.startswith("|")
        assert shown
        assert all(wanted == seen for wanted, seen in shown), name


def test_a_machine_is_chosen(open_page: Open) -> None:
    page = open_page()
    go_to(page, "alert-investigation")
    machines = page.eval_on_selector_all("#subject option", "all => all.map((one) => one.value)")
    assert len(machines) == 5
    page.select_option("#subject", machines[3])
    page.wait_for_selector('html[data-ready="alert-investigation"]')
    page.wait_for_function(
        "name => [...document.querySelectorAll('td')].some((one) => one.textContent === name)",
        arg=machines[3],
    )


def test_a_panel_leads_to_another_dashboard_and_the_way_back_is_kept(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector('html[data-ready="overview"]')
    page.click("text=Machines with the most open alerts >> .. >> a")
    page.wait_for_selector('html[data-ready="alert-investigation"]')
    page.go_back()
    page.wait_for_selector('html[data-ready="overview"]')


def test_light_and_dark_are_a_click_apart(open_page: Open) -> None:
    page = open_page()
    colour = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    page.wait_for_selector('html[data-theme="dark"][data-ready="overview"]')
    assert page.evaluate(colour) != light
    page.click("#theme")
    page.wait_for_selector('html[data-theme="light"][data-ready="overview"]')
    assert page.evaluate(colour) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_from_reading_it(open_page: Open, scheme: str) -> None:
    page = open_page(scheme=scheme)
    for name in DASHBOARDS:
        go_to(page, name)
        found = Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(name, one["id"], one["nodes"][0]["html"]) for one in serious] == []


def test_a_window_that_becomes_narrow_is_drawn_anew(open_page: Open) -> None:
    page = open_page()
    go_to(page, "alerts")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(
        "() => document.documentElement.dataset.ready === 'alerts'"
        " && [...document.querySelectorAll('.chart svg')].length > 3"
        " && [...document.querySelectorAll('.chart svg')].every("
        "(one) => one.getBoundingClientRect().width <= 380)"
    )
    assert page.evaluate(LAYOUT)["wide"] <= 0

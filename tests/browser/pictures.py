"""Takes a picture of every dashboard of a written preview, for README.md and the package.

``make pictures`` runs it on the page of the demonstration.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.plugins.parts import browser_path

_PAGE = Path("build/demo/dashboards.html")
_FOLDER = Path("package/img")
_WIDTH = 1280


def main() -> None:
    """Write a picture for each dashboard of the page that is named, or of the demonstration."""
    page_file = Path(sys.argv[1]) if len(sys.argv) > 1 else _PAGE
    if not page_file.is_file() or browser_path() is None:
        sys.exit(f"This needs Chromium, and a page at {page_file}: run make demo before it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 800}, color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        for name in page.evaluate("DATA.dashboards.map((one) => one.name)"):
            page.evaluate("name => { location.hash = name; }", name)
            page.wait_for_selector(f'html[data-ready="{name}"]')
            picture = _FOLDER / f"{name}.png"
            page.screenshot(path=picture, full_page=True)
            size = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
            sys.stdout.write(f"{picture}: {size[0]}x{size[1]}\n")
        browser.close()


if __name__ == "__main__":
    main()

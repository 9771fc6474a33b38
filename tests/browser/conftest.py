"""A collected tenant, its preview, and a browser that looks at it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, sync_playwright

from aquila_mde.collect.runner import Collector
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.client import Engine
from aquila_mde.preview import ask, render
from aquila_mde.settings import load_settings
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree
from tests.plugins.engine import delete_namespace
from tests.plugins.parts import browser_path

SIZES = {"seed": 4_711, "machines": 80, "alerts": 400, "actions": 150, "vulnerabilities": 3_000}


@pytest.fixture(scope="module")
def page_file(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The preview of a tenant that was collected for it."""
    folder = tmp_path_factory.mktemp("preview")
    namespace = "browser"

    async def make(server: SimulatorServer) -> str:
        values = server.settings()
        values["tenant"] |= {"namespace": namespace, "name": "Contoso"}
        values |= {"elasticsearch": {"url": engine_url}, "state": str(folder / "state.sqlite3")}
        values["streams"] = {"hunting": {"enabled": True, "look_back": "3d"}}
        config = folder / "settings.yml"
        config.write_text(yaml.safe_dump(values))
        settings, tree = load_settings(config, environment={}).only(), PackageTree.default()
        async with await Engine.connect(settings.elasticsearch) as engine:
            await install(engine, tree)
            async with await Collector.open(settings, tree, retry_wait=False) as collector:
                await collector.collect()
                await collector.health.write()
                await collector.latest.update()
            return render(await ask(engine, tree))

    now = datetime.now(UTC)  # the dashboards look back from today
    with SimulatorServer(now=now, **SIZES, activity=0, quota_scale=None) as server:
        text = asyncio.run(make(server))
    file = folder / "dashboards.html"
    file.write_text(text, encoding="utf-8")
    yield file
    delete_namespace(engine_url, namespace)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser(page_file: Path) -> Iterator[Browser]:
    """Chromium of this machine, without a window.

    Its driver keeps an event loop running in this thread, so it must end before other tests begin.
    """
    with sync_playwright() as playwright:
        # The sandbox needs user namespaces, which containers and root do not have; the only page
        # that is opened is our own.
        chromium = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield chromium
        chromium.close()

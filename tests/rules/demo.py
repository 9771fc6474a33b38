"""What the rules find in a simulated tenant in which nothing was staged for them.

``python -m tests.rules.demo`` writes ``package/docs/rules-on-demo.json`` anew, which the page of
the rules shows; a test compares. The tenant follows from its seed and its date, so each run gives
the same numbers.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import time_machine

from aquila_mde.collect.runner import Collector
from aquila_mde.elastic.assets import install
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.scan import LENIENT, refresh
from aquila_mde.engine import EmbeddedEngine
from aquila_mde.rules.ask import Json, find, milliseconds
from aquila_mde.rules.load import Rule, load_rules
from aquila_mde.settings import load_settings
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.tree import PackageTree

FILE = PackageTree.default().package / "docs" / "rules-on-demo.json"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAYS = 7
SIZES = {"machines": 100, "alerts": 400, "actions": 150, "vulnerabilities": 3_000}


async def counts(url: str, namespace: str, folder: Path) -> Json:
    """Collects the tenant into the engine at ``url`` and asks each rule what it finds."""
    tree = PackageTree.default()
    rules = load_rules(tree)
    # Machines are told by when they were read.
    with (
        time_machine.travel(NOW),
        SimulatorServer(seed=815, now=NOW, **SIZES, activity=0, quota_scale=None) as server,
    ):
        values = server.settings()
        values["tenant"] |= {"namespace": namespace, "name": "Contoso"}
        values |= {
            "elasticsearch": {"url": url},
            "state": str(folder / "state.sqlite3"),
            "streams": {"hunting": {"enabled": True, "look_back": f"{DAYS}d"}},
            "hunting": {"api": "graph", "queries": sorted(hunts(rules))},
        }
        # JSON is YAML too.
        config = folder / "settings.yml"
        config.write_text(json.dumps(values))
        settings = load_settings(config, environment={}).only()

        def ticks() -> int:
            return int(server.control.now.timestamp() * 1_000_000) * 10

        async with await Engine.connect(settings.elasticsearch) as engine:
            await install(engine, tree)
            opened = await Collector.open(settings, tree, retry_wait=False, now=ticks)
            async with opened as collector:
                for report in await collector.collect():
                    assert report.error is None, report.error
            await refresh(engine, "logs-aquila_mde.*")

            async def search(indices: str, body: Json) -> Json:
                own = indices.replace("-*", f"-{namespace}")
                answer: Any = await engine.request("POST", f"{own}/_search", body, params=LENIENT)
                return dict(answer)

            until = milliseconds(NOW + timedelta(hours=1) - datetime.fromtimestamp(0, UTC))
            last = timedelta(days=DAYS)
            found = {rule.name: (await find(rule, search, until, last)).total for rule in rules}
    return {"found": found, "tenant": SIZES | {"days": DAYS}}


def hunts(rules: list[Rule]) -> set[str]:
    """The hunting queries that rules ask for."""
    terms = [term for rule in rules for _, term in rule.spec.terms()]
    return {str(term.value) for term in terms if term.field == "mde.hunting.name"}


def main() -> None:
    """Write the file anew."""
    with ExitStack() as stack:
        url = stack.enter_context(EmbeddedEngine()).url
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        counted = asyncio.run(counts(url, "rules", folder))
        httpx.delete(f"{url}/_data_stream/*-rules")
    FILE.write_text(json.dumps(counted, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

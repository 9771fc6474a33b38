"""``latest`` as a user meets it; what it does is tested with an engine in tests/system."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.conftest import TENANT_ID, Call
from tests.unit.elastic.stateful import StatefulEngine


def settings(folder: Path, url: str) -> Path:
    values = {
        "tenant": {"id": TENANT_ID, "client_id": "c", "client_secret": "s"},
        "elasticsearch": {"url": url},
    }
    file = folder / "aquila.yml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize("options", [("--once",), ("--rebuild",), ()])
async def test_elasticsearch_does_it_itself(
    call: Call, tmp_path: Path, options: tuple[str, ...]
) -> None:
    async with StatefulEngine("elasticsearch") as engine:
        file = settings(tmp_path, engine.url)
        answer = await asyncio.to_thread(call, "latest", "-c", file, *options)
        as_json = await asyncio.to_thread(call, "latest", "-c", file, "--json", *options)
    assert answer.code == 0
    assert "by the transforms" in answer.out
    assert json.loads(as_json.out) == {"by": "engine", "indices": []}
    assert engine.changes == []

"""The counts on the page of the rules are what the rules find."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import httpx

from tests.rules import demo


async def test_the_counts_on_the_page_are_what_the_rules_find(
    installed: str, tmp_path: Path
) -> None:
    namespace = f"d{uuid.uuid4().hex[:12]}"
    counted = await demo.counts(installed, namespace, tmp_path)
    httpx.delete(f"{installed}/_data_stream/*-{namespace}").raise_for_status()
    assert counted == json.loads(demo.FILE.read_text(encoding="utf-8"))

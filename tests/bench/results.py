"""The file of results: what is in it, when it is whole, what is kept from an earlier run."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from tests.bench.processes import ROOT

FILE = ROOT / "build" / "bench" / "results.json"
QUICK = ROOT / "build" / "bench" / "quick.json"
COPY = ROOT / "docs" / "performance.json"
"""The checked-in copy that docs/performance.md is made from."""

SECTIONS = {
    "null_sink": ("null_sink",),
    "idle_poll": ("idle_poll",),
    "growth": ("peak_memory_mb", "growth"),
    "peers": ("peers", "peers_absent"),
    "end_to_end": ("end_to_end",),
    "footprint": ("footprint",),
}
"""What each section of a run puts into the file."""


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gb": round(memory / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def load(file: Path) -> dict[str, Any]:
    """The results in ``file``; none when it is not there or tells of another machine."""
    if not file.exists():
        return {"machine": machine(), "measured": {}}
    held: dict[str, Any] = json.loads(file.read_bytes())
    return held if held["machine"] == machine() else {"machine": machine(), "measured": {}}


def put(file: Path, section: str, found: dict[str, Any], how: dict[str, Any]) -> None:
    """Put a finished section into ``file``, in place of what an earlier run put there."""
    results = load(file)
    results |= found
    results["measured"][section] = how
    file.parent.mkdir(parents=True, exist_ok=True)
    # Written beside it first, so that a run that is cut off leaves the file whole.
    beside = file.with_suffix(".new")
    beside.write_text(encode(results), encoding="utf-8")
    beside.replace(file)


def encode(results: dict[str, Any]) -> str:
    """``results`` as they stand in a file, in an order that does not depend on the run."""
    return json.dumps(results, indent=1, sort_keys=True) + "\n"


def missing(results: dict[str, Any]) -> list[str]:
    """The sections that were not measured yet."""
    return [section for section in SECTIONS if section not in results["measured"]]

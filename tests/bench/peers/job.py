"""What a peer is given and what it answers. Imports nothing that is not in every Python."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def run(work: Callable[[str, str, str], int]) -> None:
    """Do ``work`` with tenant URL, certificate file and engine URL; print what it cost as JSON."""
    job = json.loads(Path(sys.argv[1]).read_bytes())
    began, cpu = time.perf_counter(), time.process_time()
    rows = work(job["tenant"], job["ca_file"], job["engine"])
    answer(
        rows=rows,
        wall_s=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        memory_mb=_peak_memory_mb(),
    )


def answer(*, rows: int, wall_s: float, cpu_s: float, memory_mb: float) -> None:
    """Print what it cost."""
    cost = {"rows": rows, "wall_s": wall_s, "cpu_s": cpu_s, "memory_mb": memory_mb}
    print(json.dumps(cost))  # noqa: T201 - this is how it answers


def _peak_memory_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

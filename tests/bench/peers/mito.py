"""elastic/mito evaluates a CEL program of the same job; what it prints is thrown away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.peers.job import answer

MITO = "AQUILA_BENCH_MITO"
"""The path of the command."""
_PROGRAM = Path(__file__).parent / "alerts.cel"


def _main() -> None:
    job = json.loads(Path(sys.argv[1]).read_bytes())
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as folder:
        state = Path(folder) / "state.json"
        state.write_text(json.dumps({"tenant": job["tenant"], "engine": job["engine"], "skip": 0}))
        began = time.perf_counter()
        process = subprocess.Popen(
            [os.environ[MITO], "-insecure", "-data", state, _PROGRAM], stdout=subprocess.DEVNULL
        )
        # It is the only child of this small process, so its peak is not that of another.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    if status != 0:
        raise SystemExit(f"mito ended with {os.waitstatus_to_exitcode(status)}")
    memory = used.ru_maxrss * 1024 / 1e6
    answer(rows=0, wall_s=wall, cpu_s=used.ru_utime + used.ru_stime, memory_mb=memory)


if __name__ == "__main__":
    _main()

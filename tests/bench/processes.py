"""The processes of a measurement: the tenant, the sink, and whoever is measured."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from tests.bench.collector_job import Cost, Job, Told
from tests.bench.tenant import TENANT

ROOT = Path(__file__).parents[2]
Answer = TypeVar("Answer")


def cores() -> tuple[int | None, int | None]:
    """A core for what is measured and one for the servers; none where there is one only."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


class ServerProcess:
    """A server of this folder that runs in its own process."""

    def __init__(self, process: subprocess.Popen[str], scheme: str) -> None:
        self.process = process
        assert process.stdout is not None
        self.announced = msgspec.json.decode(process.stdout.readline())
        self.url = f"{scheme}://127.0.0.1:{self.announced['port']}"

    def told(self) -> Told:
        """What the server has done since it was last asked."""
        ca_file = self.announced.get("ca_file")
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        answer = httpx.get(f"{self.url}/_told", verify=verify, trust_env=False)
        return msgspec.json.decode(answer.content, type=Told)


@contextmanager
def _server(module: str, scheme: str, *arguments: str) -> Iterator[ServerProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    other = cores()[1]
    if other is not None:
        os.sched_setaffinity(process.pid, {other})
    try:
        yield ServerProcess(process, scheme)
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def tenant(
    folder: Path, *, times: int = 1, most: int = 0, alerts: int = 0
) -> Iterator[ServerProcess]:
    """The tenant rendered in ``folder``; see :class:`tests.bench.tenant.PreRendered`."""
    limits = [str(number) for number in (times, most, alerts)]
    with _server("tenant", "https", str(folder), *limits) as server:
        yield server


@contextmanager
def sink(keep_in: Path | None = None) -> Iterator[ServerProcess]:
    """A sink that only answers; it may keep what it is sent as files in a folder."""
    with _server("sink", "http", *([str(keep_in)] if keep_in else [])) as server:
        yield server


def settings(at: ServerProcess, engine_url: str, state: Path) -> dict[str, Any]:
    """Settings of a collector between the two."""
    return {
        "tenant": {
            "id": TENANT,
            "client_id": "bench",
            "client_secret": "bench",
            "name": "bench",
            "sign_in_url": at.url,
            "api_url": at.url,
            "ca_file": at.announced["ca_file"],
        },
        "elasticsearch": {"url": engine_url},
        "state": str(state),
        "log_level": "warning",
    }


def measure(job: Job) -> Cost:
    """What ``job`` costs in a process of its own."""
    return run_python(["-m", "tests.bench.collector_job"], job, Cost)


def run_python(
    command: list[str],
    job: msgspec.Struct,
    answer: type[Answer],
    python: str = sys.executable,
    core: int | None = None,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> Answer:
    """What a Python process answers that is given ``job``; its errors go to standard error."""
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as folder:
        file = Path(folder) / "job.json"
        file.write_bytes(msgspec.json.encode(job))
        pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
        done = subprocess.run(
            [*pinned, python, *command, str(file)],
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            check=True,
            timeout=timeout,
        )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=answer)

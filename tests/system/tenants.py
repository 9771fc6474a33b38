"""Several simulated tenants behind one settings file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from aquila_mde.errors import ExitCode
from aquila_mde.settings import AllSettings, load_settings
from tests.system.conftest import Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")

PATHS = {"alert": "/api/alerts", "machine": "/api/machines"}
WITHIN = 300.0
"""Seconds after which a condition counts as one that never comes."""


@dataclass
class Many:
    """Tenants, each a :class:`Job` of its own, and the file that names all of them."""

    jobs: Sequence[Job]
    folder: Path
    streams: dict[str, Any] = field(default_factory=dict)
    """Settings of the streams of all tenants."""

    def name(self, number: int) -> str:
        return f"tenant-{number:02d}"

    def entry(self, number: int) -> dict[str, Any]:
        """What the list says of one."""
        job = self.jobs[number]
        own = {"name": self.name(number), "namespace": job.namespace}
        return {**job.simulator.settings()["tenant"], **own}

    def config(
        self,
        changes: dict[int, dict[str, Any]] | None = None,
        *,
        without: int | None = None,
        **more: Any,
    ) -> Path:
        """The settings file; ``changes`` are those of single tenants, by their number."""
        tenants = [
            self.entry(number) | (changes or {}).get(number, {})
            for number in range(len(self.jobs))
            if number != without
        ]
        values: dict[str, Any] = {
            "tenants": tenants,
            "elasticsearch": {"url": self.jobs[0].engine_url},
            "state": str(self.folder / "state.sqlite3"),
            "streams": self.streams,
        }
        file = self.folder / "settings.yml"
        # In one step: a process that was just started may be reading it.
        written = file.with_suffix(".new")
        written.write_text(yaml.safe_dump(values | more))
        return written.replace(file)

    def settings(self) -> AllSettings:
        return load_settings(self.folder / "settings.yml", environment={})

    def state(self, number: int) -> Path:
        return self.folder / f"state-{self.jobs[number].simulator.tenant_id}.sqlite3"

    def polled(self) -> set[int]:
        """The numbers of the tenants that were asked for anything."""
        return {at for at, job in enumerate(self.jobs) if job.simulator.control.requests}

    def polls(self, number: int, stream: str) -> int:
        """How often a tenant was asked for ``stream`` since the requests were forgotten."""
        path = PATHS[stream]
        requests = self.jobs[number].simulator.control.requests
        return sum(each.path == path and each.status == 200 for each in requests)

    def forget_requests(self) -> None:
        for job in self.jobs:
            job.simulator.control.clear_requests()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``aquila-mde`` with the file as it was written last."""
        return subprocess.run(
            [PROGRAM, *arguments, "--config", self.folder / "settings.yml"],
            capture_output=True,
            text=True,
            check=False,
        )

    async def is_whole(self, number: int, *streams: str) -> bool:
        """Whether the index of a tenant holds what the tenant does, and nothing else."""
        found = [await self.jobs[number].compare(stream) for stream in streams]
        return all(each.perfect for each in found)


class Running:
    """``aquila-mde run`` over the tenants, until the context ends."""

    def __init__(self, work: Many, port: int) -> None:
        self.log = work.folder / "run.log"
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        self._work = work

    def __enter__(self) -> Self:
        config = self._work.folder / "settings.yml"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [PROGRAM, "run", "--config", config], stdout=output, stderr=output
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(120)
        finally:
            self._process.kill()
        if error is None:
            assert self._process.returncode == ExitCode.OK, self.log.read_text()

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for ``done``, as long as the process lives."""
        deadline = time.monotonic() + WITHIN
        while not done():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()[-4_000:]
            time.sleep(0.2)

    def reload(self) -> None:
        """Tell it to read the settings anew."""
        self._process.send_signal(signal.SIGHUP)

    def unready(self) -> dict[str, dict[str, str]] | None:
        """By tenant and stream, what it says is not as it should be; None before it answers."""
        try:
            found: dict[str, dict[str, str]] = self._client.get("/readyz").json()["tenants"]
        except httpx.ConnectError:
            return None
        return found

    def most_memory(self) -> int:
        """The most bytes of memory that it has had so far."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) << 10

    def tenants_told(self, message: str) -> list[str]:
        """The tenants that ``message`` was logged of."""
        # The last line may be half written.
        lines = self.log.read_text().split("\n")[:-1]
        said = [each for each in map(json.loads, lines) if each["message"] == message]
        return [each["aquila"]["tenant"] for each in said]

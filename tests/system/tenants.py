"""Several simulated tenants behind one settings file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aquila_mde.settings import AllSettings, load_settings
from tests.system.conftest import Job

PROGRAM = Path(sys.executable).with_name("aquila-mde")


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

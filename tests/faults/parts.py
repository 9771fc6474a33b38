"""What the tests of this folder share."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.system.conftest import STREAMS, Job

from aquila_mde.collect.runner import Collector, StreamReport
from aquila_mde.errors import ExitCode
from aquila_mde.settings import load_settings

PROGRAM = Path(sys.executable).with_name("aquila-mde")
SIZES = {"machines": 25, "alerts": 60, "actions": 30, "vulnerabilities": 400, "rows_per_file": 100}
MakeJob = Callable[..., Job]


async def all_is_there(work: Job, streams: Sequence[str] = STREAMS) -> None:
    """The index holds what the tenant holds, each once, and nothing is put aside."""
    for stream in streams:
        result = await work.compare(stream)
        assert result.perfect, (stream, result)


async def nothing_lost_or_doubled(work: Job, streams: Sequence[str] = STREAMS) -> None:
    """As :func:`all_is_there`, of a tenant that has since left versions behind."""
    for stream in streams:
        result = await work.compare(stream)
        assert (result.missing, result.duplicates, result.failed) == (0, 0, 0), (stream, result)


async def one_pass(
    work: Job,
    *names: str,
    at_first: Callable[[], Any] | None = None,
    retry_wait: bool = False,
    **changes: Any,
) -> dict[str, StreamReport]:
    """One pass, errors in the reports.

    ``at_first`` happens when the first records are read; ``changes`` are those of the settings.
    """
    happened = False

    def progress(stream: str, records: int) -> None:
        nonlocal happened
        if at_first is not None and not happened and records:
            happened = True
            at_first()

    settings = load_settings(work.config(**changes), environment={}).only()
    collector = await Collector.open(settings, work.tree, retry_wait=retry_wait, progress=progress)
    async with collector:
        reports = await collector.collect(names or None)
    assert happened or at_first is None
    return {report.stream: report for report in reports}


def told(report: StreamReport, code: ExitCode | None = None) -> str:
    """The one error of a pass, as it is shown: what is wrong and, below, what to do."""
    error = report.error
    assert error is not None, report
    assert error.hint
    assert code is None or error.exit_code is code
    return str(error)


def run(config: Path, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program as it is started from a shell, until it ends."""
    done = subprocess.run(
        [PROGRAM, *(command or ("collect",)), "--config", config],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def clock_moved_by(span: timedelta) -> Callable[[], int]:
    """This machine's clock as the collector reads it, wrong by ``span``."""
    return lambda: time.time_ns() // 100 + span // timedelta(microseconds=1) * 10

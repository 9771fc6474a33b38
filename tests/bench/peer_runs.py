"""The collector against others, on the same tenant and the same sink, in turn."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.collector_job import Cost, Job
from tests.bench.null_sink import Tell
from tests.bench.processes import ROOT, cores, measure, run_python, settings, sink, tenant
from tests.bench.spread import spread

MITO = "AQUILA_BENCH_MITO"
"""The path of an elastic/mito command."""
_ENVIRONMENTS = ROOT / "build" / "bench" / "peers"


class _Given(msgspec.Struct):
    tenant: str
    ca_file: str
    engine: str


@dataclass(frozen=True)
class Peer:
    """Who does the job of ``stream``, too."""

    name: str
    stream: str
    run: Callable[[_Given], Cost]


def peers(*, install: bool) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can be run here, and why the others cannot.

    With ``install`` those that are packages get an environment of their own.
    """
    found = [
        Peer("httpx_async_bulk", "alert", _script("httpx_async_bulk", sys.executable)),
        Peer("httpx_export", "vulnerability", _script("httpx_export", sys.executable)),
    ]
    absent: dict[str, str] = {}
    python, reason = _environment("dlt", ["dlt", "elasticsearch>=9,<10", "requests"], install)
    if python:
        found.append(Peer("dlt", "alert", _script("dlt_rest", python)))
    else:
        absent["dlt"] = reason
    _, reason = _environment("mde-client", ["mde-client", "elasticsearch>=9,<10"], install)
    absent["mde-client"] = reason or "it is installable, but there is no script for it yet"
    command = os.environ.get(MITO)
    if command and shutil.which(command):
        found.append(Peer("mito", "alert", lambda given: _mito(command, given)))
    else:
        absent["mito"] = f"{MITO} does not name the command"
    return found, absent


def compare(data: Path, others: list[Peer], repeats: int, tell: Tell) -> dict[str, Any]:
    """For each peer how many times as good the collector is; the runs alternate."""
    ratios: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in others}
    for number in range(repeats):
        for peer in others:
            ours, theirs = _ours(data, peer.stream), _theirs(data, peer)
            if theirs.rows != ours.rows:
                raise RuntimeError(f"{peer.name} moved {theirs.rows} rows, we moved {ours.rows}")
            found = {
                "rows_per_s_ratio": (ours.rows / ours.wall_s) / (theirs.rows / theirs.wall_s),
                "cpu_ratio": theirs.cpu_s / ours.cpu_s,
                "memory_ratio": theirs.memory_mb / ours.memory_mb,
            }
            for what, value in found.items():
                ratios[peer.name].setdefault(what, []).append(value)
            said = ", ".join(f"{what} {value:.2f}" for what, value in found.items())
            tell(f"peers {number + 1}/{repeats}: {peer.name}: {said}")
    return {
        name: {what: spread(runs) for what, runs in each.items()} for name, each in ratios.items()
    }


def _ours(data: Path, stream: str) -> Cost:
    with tenant(data) as at, sink() as engine, tempfile.TemporaryDirectory() as folder:
        options = settings(at, engine.url, Path(folder) / "state.sqlite3")
        return measure(Job(options, [stream], before=["machine"], core=cores()[0]))


def _theirs(data: Path, peer: Peer) -> Cost:
    with tenant(data) as at, sink() as engine:
        cost = peer.run(_Given(at.url, at.announced["ca_file"], engine.url))
        # What counts is what has arrived.
        return msgspec.structs.replace(cost, rows=engine.told()["documents"])


def _script(name: str, python: str) -> Callable[[_Given], Cost]:
    command = ["-m", f"tests.bench.peers.{name}"]
    return lambda given: run_python(command, given, Cost, python, core=cores()[0])


def _environment(name: str, packages: list[str], install: bool) -> tuple[str | None, str]:
    """The Python of the environment that has ``packages``, or why there is none."""
    python = _ENVIRONMENTS / name / "bin" / "python"
    ready = _ENVIRONMENTS / name / "ready"
    if ready.exists():
        return str(python), ""
    if not install:
        return None, "it is not installed; make bench ARGS=--peers tries to"
    subprocess.run([sys.executable, "-m", "venv", "--clear", python.parent.parent], check=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return None, f"the package registry of this machine does not have {packages[0]}"
    ready.touch()
    return str(python), ""


def _mito(command: str, given: _Given) -> Cost:
    """mito evaluates the program until it wants no more; what it prints is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.json"
        state.write_text(json.dumps({"tenant": given.tenant, "engine": given.engine, "skip": 0}))
        program = Path(__file__).parent / "peers" / "alerts.cel"
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [command, "-insecure", "-data", state, program], stdout=subprocess.DEVNULL, check=True
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The largest of all children so far; the others of this process are smaller than a page of it.
    return Cost(rows=0, wall_s=wall, cpu_s=cpu, memory_mb=after.ru_maxrss * 1024 / 1e6, requests=0)

"""The collector against others, on the same tenant and the same sink, in turn, on one core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.collector_job import Cost
from tests.bench.null_sink import Tell, collect
from tests.bench.peers.mito import MITO
from tests.bench.processes import cores, run_python, sink, tenant
from tests.bench.spread import spread

PYTHON = "AQUILA_BENCH_PEERS_PYTHON"
"""The Python of an environment with mde-client, dlt and elasticsearch-py."""


_PATIENCE = 600
"""Seconds after which a peer that does not end has failed."""


class Given(msgspec.Struct):
    """What a peer is told: both sides, and the certificate that it has to trust."""

    tenant: str
    ca_file: str
    engine: str


@dataclass(frozen=True)
class Peer:
    """Who does the job of ``stream``, too. ``needs`` is a module, or empty for mito."""

    name: str
    stream: str
    script: str
    needs: str
    what: str


PEERS = (
    Peer("httpx", "alert", "httpx_alerts", "httpx", "httpx, async_bulk of elasticsearch-py"),
    Peer("mde_client", "alert", "mde_alerts", "mde_client", "mde-client, bulk helper"),
    Peer("dlt", "alert", "dlt_rest", "dlt", "REST source of dlt, bulk helper"),
    Peer("mito", "alert", "mito", "", "elastic/mito, a CEL program"),
    Peer("httpx_export", "vulnerability", "httpx_export", "httpx", "httpx, gzip, async_bulk"),
    Peer(
        "mde_client_export", "vulnerability", "mde_export", "mde_client", "mde-client, async_bulk"
    ),
)


def in_order(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """What was ``found`` by name of the peer, in the order of :data:`PEERS`."""
    return [(peer.name, found[peer.name]) for peer in PEERS if peer.name in found]


def available() -> tuple[dict[str, str], dict[str, str]]:
    """The Python that runs each peer that is there, and why the others are not."""
    found: dict[str, str] = {}
    absent: dict[str, str] = {}
    others = os.environ.get(PYTHON)
    for peer in PEERS:
        if not peer.needs:
            if shutil.which(os.environ.get(MITO, "")):
                found[peer.name] = sys.executable
            else:
                absent[peer.name] = f"{MITO} does not name the command"
        elif _has(sys.executable, peer.needs):
            found[peer.name] = sys.executable
        elif others is None:
            absent[peer.name] = f"{PYTHON} names no Python"
        elif _has(others, peer.needs):
            found[peer.name] = others
        else:
            absent[peer.name] = f"the Python of {PYTHON} cannot import {peer.needs}"
    return found, absent


def _has(python: str, module: str) -> bool:
    command = [python, "-c", f"import {module}"]
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def compare(
    data: Path, alerts: int, rows: int, repeats: int, tell: Tell
) -> tuple[dict[str, Any], dict[str, str]]:
    """For each peer how many times as good the collector is, and who was not there.

    In each repeat the collector and all that are compared with it take turns.
    """
    pythons, absent = available()
    for name, reason in absent.items():
        tell(f"peers: without {name}: {reason}")
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in pythons}
    for number in range(repeats):
        for stream in ("alert", "vulnerability"):
            others = [peer for peer in PEERS if peer.stream == stream and peer.name in pythons]
            ours = collect(data, stream, most=rows, alerts=alerts)
            tell(f"peers {number + 1}/{repeats}: {stream}: {_said(ours)} are ours")
            # Each comes at each place in turn, so that a slow minute meets all of them.
            turn = number % len(others) if others else 0
            for peer in (*others[turn:], *others[:turn]):
                try:
                    theirs = _theirs(data, peer, pythons[peer.name], most=rows, alerts=alerts)
                    if theirs.rows != ours.rows:
                        raise RuntimeError(f"it moved {theirs.rows} rows of {ours.rows}")
                except (subprocess.SubprocessError, RuntimeError) as error:
                    absent[peer.name] = f"it failed ({type(error).__name__})"
                    tell(f"peers: from here on without {peer.name}: {error}")
                    del pythons[peer.name], measured[peer.name]
                    continue
                for what, value in figures(ours, theirs).items():
                    measured[peer.name].setdefault(what, []).append(value)
                tell(f"peers {number + 1}/{repeats}: {stream}: {_said(theirs)} of {peer.name}")
    told = {
        name: {what: spread(runs) for what, runs in each.items()} for name, each in measured.items()
    }
    return told, absent


def figures(ours: Cost, theirs: Cost) -> dict[str, float]:
    """How many times as good we are (more than 1: better), and what the peer needed."""
    rate = theirs.rows / theirs.wall_s
    return {
        "rows_per_s_ratio": ours.rows / ours.wall_s / rate,
        "cpu_ratio": (theirs.cpu_s / theirs.rows) / (ours.cpu_s / ours.rows),
        "memory_ratio": theirs.memory_mb / ours.memory_mb,
        "rows_per_s": rate,
        "memory_mb": theirs.memory_mb,
    }


def _theirs(data: Path, peer: Peer, python: str, *, most: int, alerts: int) -> Cost:
    with tenant(data, most=most, alerts=alerts) as at, sink() as engine:
        given = Given(at.url, at.announced["ca_file"], engine.url)
        command = ["-m", f"tests.bench.peers.{peer.script}"]
        # Not all of them let their caller say whom to trust.
        around = {"SSL_CERT_FILE": given.ca_file, "NO_PROXY": "*"}
        cost = run_python(command, given, Cost, python, cores()[0], around, _PATIENCE)
        # What counts is what has arrived.
        return msgspec.structs.replace(cost, rows=sum(engine.told().documents.values()))


def _said(cost: Cost) -> str:
    return f"{cost.rows / cost.wall_s:,.0f} rows/s, {cost.memory_mb:.0f} MB"

"""``make bench``: measures, writes build/bench/results.json and, when that is whole, the page.

Each section is written when it is finished, so a run that is cut off keeps what it has, and
``--only`` measures some sections anew. What peers there are is said at their beginning.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import end_to_end, footprint, null_sink, page, peer_runs, results
from tests.bench.tenant import render

_ROWS_PER_FILE = 25_000


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    machines: int = 5_000
    alerts: int = 60_000
    rendered: int = 1_000_000
    """Rows in the rendered export, which is served as often as a measurement needs it."""
    null_sink: int = 1_000_000
    memory: tuple[int, ...] = (1_000_000, 5_000_000, 10_000_000)
    growth: int = 100_000
    """Time per row is compared at as many, 10 times and 100 times as many rows."""
    peer_alerts: int = 30_000
    peer_rows: int = 200_000
    end_to_end: int = 150_000
    weighed: int = 20_000
    """Vulnerabilities whose documents are weighed; of the other streams a quarter of it."""
    tenants: tuple[int, ...] = (1, 11, 21)
    idle_rows: int = 100_000
    polls: int = 10


_QUICK = Size(
    machines=1_000,
    alerts=5_000,
    rendered=50_000,
    null_sink=100_000,
    memory=(100_000, 200_000, 500_000),
    growth=5_000,
    peer_alerts=3_000,
    peer_rows=25_000,
    end_to_end=25_000,
    weighed=2_000,
    tenants=(1, 3),
    idle_rows=25_000,
    polls=3,
)


def sections(data: Path, size: Size, runs: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """What measures each section; its answer goes into the file as it is."""

    def peers() -> dict[str, Any]:
        found, absent = peer_runs.compare(data, size.peer_alerts, size.peer_rows, runs, tell)
        return {"peers": found, "peers_absent": absent}

    times = -(-size.null_sink // size.rendered)
    return {
        "null_sink": lambda: {
            "null_sink": null_sink.throughput(data, size.null_sink, times, runs, tell)
        },
        "idle_poll": lambda: {
            "idle_poll": null_sink.idle_poll(data, size.idle_rows, size.polls, runs, tell)
        },
        "growth": lambda: null_sink.memory_and_growth(
            data, size.rendered, list(size.memory), size.growth, runs, tell
        ),
        "peers": peers,
        "end_to_end": lambda: {
            "end_to_end": end_to_end.measure_all(data, size.end_to_end, runs, tell)
        },
        "footprint": lambda: {
            "footprint": footprint.measure_all(
                footprint.Things.of(size.weighed), size.tenants, runs, tell
            )
        },
    }


_BEGAN = time.monotonic()


def tell(text: str) -> None:
    """One line of progress, with minutes and seconds since the beginning."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    sys.stdout.write(f"{minutes:02}:{seconds:02} {text}\n")
    sys.stdout.flush()


def _rendered(folder: Path, size: Size) -> Path:
    """The tenant of this ``size``, rendered unless an earlier run has done it today.

    Its records end with the day: a tenant that is older would be another one to the collector.
    """
    told = results.encode({"day": f"{datetime.now(UTC):%Y-%m-%d}", **asdict(size)})
    note = folder / "size.json"
    if note.exists() and note.read_text(encoding="utf-8") == told:
        return folder
    tell(
        f"rendering {size.rendered:,} vulnerabilities and {size.alerts:,} alerts "
        f"of {size.machines:,} machines"
    )
    render(
        folder,
        machines=size.machines,
        alerts=size.alerts,
        rows=size.rendered,
        rows_per_file=_ROWS_PER_FILE,
    )
    note.write_text(told, encoding="utf-8")
    return folder


def _described(folder: Path, size: Size) -> dict[str, int]:
    with (folder / "vulnerabilities.ndjson").open("rb") as lines:
        cves = sum(1 for _ in lines)
    return {
        "machines": size.machines,
        "alerts": size.alerts,
        "cves": cves,
        "vulnerabilities": size.rendered,
    }


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", help=f"some of {', '.join(results.SECTIONS)}, with commas")
    parser.add_argument("--runs", type=int, default=5, help="repeats of each measurement (5)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="sizes that say little, to see that it runs; written to quick.json, and to no page",
    )
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else list(results.SECTIONS)
    if unknown := set(wanted) - set(results.SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    if given.runs < 1:
        parser.error("--runs has to be 1 or more")
    size = _QUICK if given.quick else Size()
    file = results.QUICK if given.quick else results.FILE
    data = _rendered(file.parent / ("data-quick" if given.quick else "data"), size)
    tenant = _described(data, size)
    measuring = sections(data, size, given.runs)
    failed = []
    for section in wanted:
        tell(f"{section} begins")
        try:
            found = measuring[section]()
        except Exception as error:
            failed.append(section)
            tell(f"{section} failed: {error!r}")
            continue
        how = {"runs": given.runs, "quick": given.quick, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        results.put(file, section, found | {"tenant": tenant}, how)
    tell(f"written: {file.relative_to(results.ROOT)}")
    without = results.missing(results.load(file))
    if without:
        tell(f"not measured yet: {', '.join(without)}; the page is left as it is")
    elif not given.quick:
        for written in page.write(results.load(file)):
            tell(f"written: {written.relative_to(results.ROOT)}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

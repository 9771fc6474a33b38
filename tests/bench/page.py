"""docs/performance.md, its copy of the results and its plots, made from a file of results."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import plots, results
from tests.bench.peer_runs import PEERS, in_order
from tests.bench.spread import rounded_to

PAGE = results.ROOT / "docs" / "performance.md"
PLOTS = results.ROOT / "docs" / "img"
Results = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """What a figure has to be: at least, or at most, so much."""

    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {number(bound or 0)}"

    def reached(self, value: float) -> bool:
        """Whether ``value`` is good enough."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


def number(value: float) -> str:
    """``value`` with three digits that count: 0.973, 12.5, 152,000."""
    if value == 0:
        return "0"
    rounded = rounded_to(value, 3)
    if abs(rounded) >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.3g}"


def measured(spread: dict[str, Any]) -> str:
    """The middle one of the runs and, where there are several, the least and the most."""
    if len(spread["runs"]) == 1:
        return number(spread["median"])
    return f"{number(spread['median'])} ({number(spread['min'])} to {number(spread['max'])})"


def aims(found: Results) -> list[tuple[str, dict[str, Any], Aim]]:
    """Every aim: what it is about, what was measured, what it has to be."""
    end, sink = found["end_to_end"], found["null_sink"]
    sizes = sorted(found["peak_memory_mb"], key=int)
    most, least = found["peak_memory_mb"][sizes[-1]], found["peak_memory_mb"][sizes[0]]
    rows = [
        (
            "End to end, against bodies that were rendered before",
            end["ratio_prerendered"],
            Aim(at_least=0.95),
        ),
        (
            "End to end, against the helper of elasticsearch-py",
            end["ratio_helpers"],
            Aim(at_least=1),
        ),
        (
            "Vulnerabilities a second on one core, without an engine",
            sink["vulnerability"]["rows_per_s"],
            Aim(at_least=150_000),
        ),
        (
            "Alerts a second on one core, without an engine",
            sink["alert"]["rows_per_s"],
            Aim(at_least=40_000),
        ),
        (f"Peak memory at {int(sizes[-1]):,} rows, MB", most, Aim(at_most=150)),
        (
            f"Peak memory at {int(sizes[-1]):,} rows as a multiple of that at {int(sizes[0]):,}",
            _ratio(most, least),
            Aim(at_most=1.05),
        ),
    ]
    idle = found["idle_poll"].values()
    for what, said, most in (
        ("cpu_ms", "CPU, ms", 20),
        ("tenant_requests", "requests to the tenant", 1),
        ("engine_requests", "requests to the engine", 1),
    ):
        worst = max((one[what] for one in idle), key=lambda one: float(one["median"]))
        rows.append((f"Nothing new, {said}; the worst stream", worst, Aim(at_most=most)))
    ratios = ("rows_per_s_ratio", "cpu_ratio", "memory_ratio")
    for name, peer in in_order(found["peers"]):
        worst = min((peer[what] for what in ratios), key=lambda one: float(one["median"]))
        said = f"Against `{name}`, the worst of rows a second, CPU and memory"
        rows.append((said, worst, Aim(at_least=1)))
    return rows


def _ratio(over: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    value = over["median"] / under["median"]
    return {"min": value, "median": value, "max": value, "runs": [value]}


def text(found: Results) -> str:
    """The page."""
    parts = [_beginning(found), _aims(found), _end_to_end(found), _null_sink(found)]
    parts += [_peers(found), _memory(found), _idle(found), _footprint(found), _method(found)]
    return "\n\n".join(parts) + "\n"


def _beginning(found: Results) -> str:
    machine = found["machine"]
    quick = ""
    if any(how["quick"] for how in found["measured"].values()):
        quick = "\n\n**These figures come from a shortened run and say little.**"
    runs = sorted({how["runs"] for how in found["measured"].values()})
    said = "what one run gave"
    if runs != [1]:
        said = f"the median of {' or '.join(map(str, runs))} runs, behind it the least and the most"
    dates = sorted({how["date"] for how in found["measured"].values()})
    return f"""# What Aquila costs

<!-- Made by make bench-docs from performance.json; a change by hand is lost. -->

Measured with `make bench` on {dates[-1]}: {machine["cores"]} cores ({machine["processor"]}),
{machine["memory_gb"]} GB, {machine["system"]}, Python {machine["python"]}, \
engine {found["end_to_end"]["engine"]}.
A value is {said};
all runs are in [performance.json](performance.json). A ratio above 1 means that Aquila is the
better one.{quick}"""


def _aims(found: Results) -> str:
    lines = ["## What has to hold", "", "| what | measured | aim | |", "|---|---|---|---|"]
    for what, value, aim in aims(found):
        reached = "reached" if aim.reached(value["median"]) else "**missed**"
        lines.append(f"| {what} | {measured(value)} | {aim} | {reached} |")
    return "\n".join(lines)


def _end_to_end(found: Results) -> str:
    end = found["end_to_end"]
    rates = end["documents_per_s"]
    return f"""## End to end

{end["documents"]:,} vulnerabilities of {number(end["bytes_per_document"])} bytes each, from the \
tenant through the ingest
pipeline into a real engine. In turn, each into a new data stream: the collector; the bulk bodies
that it sends, kept from an earlier run, over {end["connections"]} connections; the documents in
them through `{end["helper"]}`. Number of connections and helper are those that were the fastest
here. The engine works on the same cores as everybody else.

![Documents a second](img/performance-end-to-end.svg)

| | documents a second |
|---|---|
| collector | {measured(rates["collector"])} |
| rendered before | {measured(rates["prerendered"])} |
| `{end["helper"]}` | {measured(rates["helpers"])} |"""


def _null_sink(found: Results) -> str:
    lines = [
        "## The collector alone",
        "",
        "On one core, into a sink that only answers. Tenant and sink share the other core; how "
        "busy they",
        "keep it says that it is not they who are measured.",
        "",
        "| stream | rows | rows a second | CPU seconds for a million | tenant busy | sink busy |",
        "|---|---|---|---|---|---|",
    ]
    for stream, one in found["null_sink"].items():
        values = [one[what] for what in ("rows_per_s", "cpu_s_per_million")]
        values += [one[what] for what in ("tenant_busy", "sink_busy")]
        cells = " | ".join(measured(value) for value in values)
        lines.append(f"| {stream} | {one['rows']:,} | {cells} |")
    return "\n".join(lines)


def _peers(found: Results) -> str:
    lines = [
        "## Against others",
        "",
        "The same tenant, the same sink, one core, the same records. The others only move them: "
        "none joins a",
        "record with its machine, remembers what was sent, or goes on after a kill. They run with "
        "the page",
        "size of the collector, where they let it be chosen, and their own defaults. Starting up "
        "is not",
        "counted, except for mito, which is a command.",
        "",
        "![How many times as good](img/performance-peers.svg)",
        "",
        "| | what | rows a second | memory, MB | rows a second, ratio | CPU, ratio "
        "| memory, ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    about = {peer.name: f"{peer.stream}: {peer.what}" for peer in PEERS}
    names = ("rows_per_s", "memory_mb", "rows_per_s_ratio", "cpu_ratio", "memory_ratio")
    for peer_name, one in in_order(found["peers"]):
        cells = " | ".join(measured(one[name]) for name in names)
        lines.append(f"| `{peer_name}` | {about[peer_name]} | {cells} |")
    for name, reason in found["peers_absent"].items():
        lines += ["", f"`{name}` was not there: {reason}."]
    return "\n".join(lines)


def _memory(found: Results) -> str:
    lines = [
        "## Memory and growth",
        "",
        "Vulnerabilities in one pass of a full export. The same files are served over and over "
        "under new",
        "names.",
        "",
        "![Peak memory and time per row](img/performance-growth.svg)",
        "",
        "| rows | peak memory, MB | time per row, µs |",
        "|---|---|---|",
    ]
    memory, growth = found["peak_memory_mb"], found["growth"]
    times = growth["microseconds_per_row"]
    for size in sorted({*memory, *times}, key=int):
        cells = [measured(part[size]) if size in part else "" for part in (memory, times)]
        lines.append(f"| {int(size):,} | {' | '.join(cells)} |")
    lines += [
        "",
        f"A row costs {measured(growth['10x'])} times as much among 10 times as many rows, and "
        f"{measured(growth['100x'])} times",
        "as much among 100 times as many.",
    ]
    return "\n".join(lines)


def _idle(found: Results) -> str:
    lines = [
        "## A poll with nothing new",
        "",
        "| stream | CPU, ms | requests to the tenant | requests to the engine |",
        "|---|---|---|---|",
    ]
    for stream, one in found["idle_poll"].items():
        names = ("cpu_ms", "tenant_requests", "engine_requests")
        lines.append(f"| {stream} | {' | '.join(measured(one[name]) for name in names)} |")
    return "\n".join(lines)


def _footprint(found: Results) -> str:
    weighed = found["footprint"]
    lines = [
        "## What a document weighs",
        "",
        "In bytes: the record as the service gives it, the document on its way, and in the index "
        "when that",
        f"is one segment, without replicas. Taken on {weighed['processor']}; bytes do not depend "
        "on that.",
        "",
        "| stream | documents | record | sent | in the index |",
        "|---|---|---|---|---|",
    ]
    for stream, one in weighed["streams"].items():
        cells = [number(one[f"{what}_bytes"]) for what in ("record", "sent", "stored")]
        lines.append(f"| {stream} | {one['documents']:,} | {' | '.join(cells)} |")
    held = sorted(weighed["tenants_memory_mb"].items(), key=lambda each: int(each[0]))
    said = "; ".join(f"{tenants}: {measured(value)}" for tenants, value in held)
    lines += ["", f"Peak memory of a process by the number of small tenants in it, MB: {said}."]
    return "\n".join(lines)


def _method(found: Results) -> str:
    tenant = found["tenant"]
    return f"""## How it is measured

```sh
make bench                                   # everything, about half an hour
make bench ARGS="--only null_sink,idle_poll" # some sections; the others keep their figures
make bench ARGS="--quick --runs 1"           # whether it runs at all
make bench-docs                              # this page, from build/bench/results.json
```

- The records come from the simulated tenant (`aquila-mde simulate`): {tenant["machines"]:,} \
machines, {tenant["alerts"]:,} alerts,
  {tenant["cves"]:,} CVEs and an export of {tenant["vulnerabilities"]:,} rows, rendered before the \
first measurement. What
  serves them cuts bytes out of a buffer; it speaks TLS, as the service does, but has no quotas,
  and nobody waits for any.
- Tenant, sink and whoever is measured are processes of their own. What is measured has one core
  for itself, except end to end, where all of them share the machine with the engine.
- A collector is new for every run and has read the machines before, which is not counted. The
  catalogue of CVEs is read in the run.
- Memory is the largest resident memory of the process, of all it did.
- The runs of what is compared alternate, and their order changes from repeat to repeat.
- `AQUILA_BENCH_MITO` names the command mito, `AQUILA_BENCH_PEERS_PYTHON` a Python that has
  mde-client, dlt and elasticsearch-py; peers that are not there are left out, and named.
- The engine is the embedded one, or that of `AQUILA_TEST_ES_URL`."""


def write(found: Results) -> list[Path]:
    """Write the copy, the page and the plots; the files that were written."""
    files = {results.COPY: results.encode(found), PAGE: text(found)}
    files |= {PLOTS / name: svg for name, svg in plots.draw(found).items()}
    for file, content in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return list(files)


def main() -> None:
    """Entry of ``make bench-docs``."""
    parser = argparse.ArgumentParser(prog="make bench-docs", description=__doc__)
    parser.add_argument("--results", type=Path, default=results.FILE)
    given = parser.parse_args()
    if not given.results.exists():
        sys.exit(f"There is no {given.results.name}; make bench writes it.")
    found = json.loads(given.results.read_bytes())
    if without := results.missing(found):
        sys.exit(f"Not measured yet: {', '.join(without)}; make bench ARGS='--only …' does it.")
    for written in write(found):
        sys.stdout.write(f"written: {written.relative_to(results.ROOT)}\n")


if __name__ == "__main__":
    main()

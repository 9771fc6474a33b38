"""Random schedules of everything that can happen.

A schedule is a list of steps, each a list of a name and its arguments, so that it can be printed
and played again as JSON. :func:`generate` makes one from a seed; player.py plays it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.system.conftest import STREAMS

Step = list[Any]
SIZES = {"machines": 10, "alerts": 30, "actions": 12, "vulnerabilities": 120, "rows_per_file": 40}
QUIRKS: list[dict[str, Any]] = [
    {},
    {"next_link": "given"},
    {"page_cap": 17},
    {"page_cap": 17, "next_link": "given"},
    {"actions_by_update_time": False},
    {"equal_times": 20, "page_cap": 9},
    {"export_casing": "mixed", "changes_casing": "pascal"},
    {"changes_next_link": "missing", "expand_fails_above": 7},
]
KILLED = [("backfill", "--from", "2025-08-01", "--to", "2026-03-10"), ("reconcile", "--repair")]
"""Commands that a kill may hit instead of a collector's pass."""
PATHS = {
    "/api/alerts": (100, 1500),
    "/api/machines": (100, 1500),
    "/api/machineactions": (100, 1500),
    "/api/vulnerabilities": (50, 1500),
    "/api/machines/SoftwareVulnerabilitiesExport": (5, 20),
    "/api/machines/SoftwareVulnerabilityChangesByMachine": (30, 1000),
}


@dataclass
class Schedule:
    """The habits of a tenant, what happens, and where the collector keeps its state."""

    quirks: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    stateless: bool = False
    """In the engine."""


# Making one


def generate(seed: int, *, kills: bool) -> Schedule:
    """The schedule of ``seed``; ``kills`` allows processes that are killed, which take longer."""
    rng = Random(seed)
    steps: list[Step] = []
    weights = [*_WEIGHTS, ("kill", 5 if kills else 0)]
    names, counts = zip(*weights, strict=True)
    for _ in range(rng.randint(6, 16)):
        steps += _made(rng, rng.choices(names, counts)[0])
    if kills and not any(step[0] == "kill" for step in steps):
        steps.insert(rng.randrange(len(steps) + 1), _made(rng, "kill")[0])
    return Schedule(rng.choice(QUIRKS), steps, stateless=seed % 3 == 1)


_WEIGHTS = [
    ("change", 14),
    ("time", 7),
    ("clock", 2),
    ("tenant_faults", 4),
    ("engine_faults", 6),
    ("quota", 1),
    ("exhaust", 1),
    ("revoke", 2),
    ("collect", 9),
    ("cut_off", 5),
    ("during", 4),
    ("rollover", 4),
    ("lose_state", 2),
    ("replay", 1),
    ("reconcile", 1),
    ("backfill", 3),
]
CHANGES = (
    *("alerts", "late", "equal", "update", "update_same_time"),
    *("actions", "progress", "progress_same_time"),
    *("machines", "tag", "rename", "seen", "gone", "regroup"),
    *("vulns", "fixed", "upgraded", "regenerate"),
)
_ENGINE_FAULTS = (
    *("cut", "lost", "lost", "reset", "short", "truncated", "empty", "html"),
    *("status", "status", "items", "items", "items"),
)


def _made(rng: Random, name: str) -> list[Step]:
    match name:
        case "change":
            return [_change(rng) for _ in range(rng.randint(1, 4))]
        case "time":
            return [["time", rng.choice([1, 10, 70, 70, 400, 400, 1500, 4000])]]
        case "clock":
            return [["clock", rng.choice([-600, -70, 70, 800, 3000])]]
        case "tenant_faults":
            faults = [tenant_fault(rng) for _ in range(rng.randint(1, 4))]
            return [["tenant_faults", faults], *_perhaps(rng, ["time", 400], ["collect"])]
        case "engine_faults":
            faults = [engine_fault(rng) for _ in range(rng.randint(1, 4))]
            return [["engine_faults", faults], *_perhaps(rng, ["alerts", 25], ["collect"])]
        case "quota":
            return [["quota", rng.choice(list(PATHS)), rng.randint(1, 3)]]
        case "exhaust":
            return [["exhaust", rng.choice(list(PATHS))]]
        case "collect":
            return [["collect", *rng.choice([(), (), (), (rng.choice(STREAMS),)])]]
        case "cut_off":
            return [*_perhaps(rng, ["alerts", 25], ["time", 400]), [name, *moment(rng)]]
        case "kill":
            step = [name, *moment(rng), *rng.choice([(), (), (), *KILLED])]
            return [*_perhaps(rng, ["alerts", 25], ["time", 400]), step]
        case "backfill":
            days = rng.choice([1, 5, 30, 200])
            return [[name, days, rng.choice([1, days, days])]]
        case "during":
            inner = [_change(rng) for _ in range(rng.randint(1, 3))]
            inner += rng.choice([[], [], [["rollover", rng.choice(STREAMS)]], [["time", 5]]])
            return [["during", *moment(rng), inner]]
        case "rollover":
            return [["rollover", rng.choice([*STREAMS, "dead_letter", "checkpoint"])]]
        case _:
            return [[name]]


def _perhaps(rng: Random, *steps: Step) -> list[Step]:
    """Each of ``steps``, more often than not."""
    return [step for step in steps if rng.random() < 0.7]


def _change(rng: Random) -> Step:
    name = rng.choice(CHANGES)
    if name in ("alerts", "equal", "actions", "machines", "vulns"):
        return [name, rng.choice([1, 2, 25 if name in ("alerts", "equal") else 3])]
    if name == "late":
        return ["late", rng.randint(1, 3), rng.randint(1, 90)]
    return [name] if name == "regenerate" else [name, rng.randrange(100)]


def moment(rng: Random) -> tuple[str, int]:
    if rng.random() < 0.7:
        return "documents", rng.choice([1, 1, 2, 5, 20, 25, 60, 110])
    return "requests", rng.randint(1, 15)


def tenant_fault(rng: Random) -> dict[str, Any]:
    where = rng.choice(["/api/", *PATHS, "token", "file", "file"])
    what = rng.choice(["status", "status", "reset", "short", "truncated", "html", "empty"])
    fault: dict[str, Any] = {
        "where": where,
        "what": what,
        "when": rng.randint(1, 4),
        "times": rng.choice([1, 1, 2, 3, 8]),
    }
    if what == "status":
        fault["status"] = rng.choice([500, 503, 429, 502, 504] + ([403] if where == "file" else []))
        if fault["status"] == 429 and rng.random() < 0.5:
            fault["headers"] = {"Retry-After": str(rng.randint(1, 60))}
    return fault


def engine_fault(rng: Random) -> dict[str, Any]:
    what = rng.choice(
        [
            "cut",
            "lost",
            "lost",
            "reset",
            "short",
            "truncated",
            "empty",
            "status",
            "status",
            "html",
            "items",
            "items",
            "items",
        ]
    )
    where = rng.choice(["bulk", "bulk", "any", *(f"aquila_mde.{stream}" for stream in STREAMS)])
    fault: dict[str, Any] = {
        "where": where,
        "what": what,
        "when": rng.randint(1, 5),
        "times": rng.choice([1, 1, 2, 4, 12]),
    }
    if what == "status":
        fault["status"] = rng.choice([429, 503, 502, 504, 413] if where == "bulk" else [429, 503])
        if fault["status"] == 429 and rng.random() < 0.5:
            fault["headers"] = {"Retry-After": str(rng.randint(1, 60))}
    if what == "items":
        own = where.startswith("aquila_mde")
        fault["status"] = rng.choice([429, 503, 500] + ([400, 400] if own else []))
        fault["nth"] = rng.choice([1, 2, 3, 7])
    return fault

"""Hunting when service, network, process or clock fail: each row once, none lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.faults.world import _PROGRAM
from tests.plugins.tally import Tally
from tests.system.conftest import Job
from tests.system.hunting import EVERYTHING, PATH, SIZES, Hunter, rows

from aquila_mde.defender.errors import SignInError
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks

LIMIT = 150
QUIRKS = Quirks(hunting_row_limit=LIMIT, hunting_rows_per_hour=40, late_share=0.2)


@pytest.fixture
def hunter(job: Callable[..., Job]) -> Hunter:
    """One query over a table that takes some thirty answers."""
    made = Hunter(job(**SIZES | {"quirks": QUIRKS}), row_limit=LIMIT)
    return made.write("everything", EVERYTHING)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(PATH, "status", status=503, when=4, times=3),
        Fault(PATH, "status", status=429, headers={"Retry-After": "1"}, when=4, times=2),
        Fault(PATH, "status", status=401, when=6),
        Fault(PATH, "reset", when=5, times=2),
        Fault(PATH, "short", when=5),
        Fault(PATH, "truncated", when=5),
        Fault(PATH, "html", when=2, times=2),
        Fault(PATH, "empty", when=7),
        Fault(PATH, "status", status=504, when=3, times=2),
        Fault("token", "status", status=503),
    ],
    ids=lambda fault: (
        f"{fault.what} {fault.status if fault.what == 'status' else ''} {fault.where}"
    ),
)
async def test_what_passes_is_waited_for(hunter: Hunter, fault: Fault) -> None:
    hunter.control.set_faults([fault])
    report = await hunter.collect()
    assert report.error is None
    assert hunter.control.faults_left == []
    assert report.created == rows(hunter) == hunter.count()


async def test_a_secret_that_expires_stops_the_pass_and_costs_nothing(hunter: Hunter) -> None:
    hunter.control.set_faults([Fault(PATH, "status", status=401, when=8)])
    hunter.control.expire_secret()
    report = await hunter.collect()
    assert isinstance(report.error, SignInError)
    hunter.work.config()
    secret = hunter.control.new_secret()
    hunter.work.more["tenant"] = hunter.work.values()["tenant"] | {"client_secret": secret}
    assert (await hunter.collect()).error is None
    assert hunter.count() == rows(hunter)


@pytest.mark.parametrize("requests", [1, 9, 20])
async def test_a_killed_collector_goes_on(hunter: Hunter, requests: int, tally: Tally) -> None:
    hunter.control.set_quirks(hunting_row_limit=800, hunting_rows_per_hour=400)
    hunter.hunting["row_limit"] = 800
    hunter.settings()
    command = [
        "collect",
        "--stream",
        "hunting",
        "--config",
        str(hunter.work.folder / "settings.yml"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(now=hunter.now()), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    began = time.monotonic()
    while hunter.requests() < requests and process.poll() is None:
        assert time.monotonic() - began < 60
        time.sleep(0.005)
    process.kill()
    process.wait()
    tally.kill()
    if hunter.work.ask("GET", f"/_data_stream/{hunter.work.index('hunting')}*")["data_streams"]:
        # What was created without a note of it lies in an older index from now on.
        hunter.work.rollover("hunting")
    assert (await hunter.collect()).error is None
    assert hunter.count() == rows(hunter)


async def test_a_clock_that_is_ahead_or_behind_loses_nothing(hunter: Hunter) -> None:
    truth = hunter.now
    for shift in (timedelta(days=400), -timedelta(hours=5), timedelta(hours=3), timedelta(0)):
        ticks = int(shift.total_seconds()) * 10_000_000
        hunter.now = lambda ticks=ticks: truth() + ticks  # type: ignore[method-assign, misc]
        assert (await hunter.collect()).error is None
        hunter.control.advance(timedelta(minutes=40))
    hunter.now = truth  # type: ignore[method-assign]
    hunter.control.advance(timedelta(hours=1))
    assert (await hunter.collect()).error is None
    there = len(hunter.control.hunt("DeviceFileEvents"))
    assert hunter.count() >= rows(hunter, since="datetime(2026-03-01T09:30:00Z)")
    assert hunter.count() <= there


async def test_a_clock_that_is_ahead_counts_no_bin_before_it_is_over(hunter: Hunter) -> None:
    counting = EVERYTHING.replace("ids: [DeviceId, Timestamp, ReportId]", "ids: [Timestamp]")
    hunter.hunting["queries"] = []
    hunter.write(
        "by_hour", f"{counting}  | summarize Files = count() by bin(Timestamp, 1h)\nbin: 1h\n"
    )
    truth = hunter.now
    for shift in (timedelta(hours=5), timedelta(hours=2), timedelta(0), timedelta(hours=3)):
        ticks = int(shift.total_seconds()) * 10_000_000
        hunter.now = lambda ticks=ticks: truth() + ticks  # type: ignore[method-assign, misc]
        assert (await hunter.collect()).error is None
        hunter.control.advance(timedelta(minutes=31))
    documents = hunter.documents()
    counted = sum(int(each["mde"]["hunting"]["extra"]["files"]) for each in documents)
    hours = {each["@timestamp"] for each in documents}
    assert len(documents) == len(hours) == 20
    # The last pass was at 11:03; what a bin has at the end of its hour of waiting is all there is.
    bound = f"Timestamp >= datetime({min(hours)}) and Timestamp < datetime(2026-03-02T10:00:00Z)"
    assert counted == len(hunter.control.hunt(f"DeviceFileEvents | where {bound}"))

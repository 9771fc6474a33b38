"""Many tenants in one process: nothing of one touches another."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from aquila_mde.errors import ExitCode
from aquila_mde.preview import ask
from aquila_mde.preview.ask import Choice
from aquila_mde.simulator.server import SimulatorServer
from aquila_mde.streams.latest import TENANT_FIELD
from aquila_mde.streams.tree import PackageTree
from tests.system.conftest import STREAMS as EVERY
from tests.system.conftest import Job
from tests.system.tenants import Many, Running

STREAMS = ("alert", "machine")
MEMORY = 250_000_000
MakeMany = Callable[..., Many]


@pytest.fixture
def many(installed: str, namespace: str, tmp_path: Path) -> Iterator[MakeMany]:
    """Makes tenants of two streams in which nothing happens by itself."""
    with ExitStack() as opened:

        def make(count: int, *, streams: tuple[str, ...] = STREAMS, **options: Any) -> Many:
            sizes = {"machines": 5, "alerts": 8, "actions": 0, "vulnerabilities": 0}
            jobs = [
                Job(
                    opened.enter_context(
                        SimulatorServer(
                            **sizes
                            | {"activity": 0, "quota_scale": None, "seed": 100 + number}
                            | options
                        )
                    ),
                    installed,
                    f"{namespace}_{number}",
                    tmp_path,
                    PackageTree.default(),
                )
                for number in range(count)
            ]
            off = {each: {"enabled": False} for each in EVERY if each not in streams}
            return Many(jobs, tmp_path, off | {"alert": {"interval": "15s"}})

        yield make
    with httpx.Client(base_url=installed, trust_env=False, timeout=120) as client:
        client.delete(f"/_data_stream/*-{namespace}_*").raise_for_status()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
    return found


async def test_one_that_is_refused_stops_no_other(many: MakeMany) -> None:
    work = many(4)
    wrong, broken, whole = 0, 2, (1, 3)
    secret = work.folder / "secret"
    work.config(
        {
            wrong: {"client_secret": "a-wrong-secret"},
            broken: {"client_secret": None, "client_secret_file": str(secret)},
        }
    )
    done = work.run("collect", "--json", "--log-level", "debug")
    assert done.returncode == ExitCode.SETTINGS, done.stderr
    told = json.loads(done.stdout)
    assert [each["tenant"] for each in told["failed_tenants"]] == [work.name(broken)]
    refused = {each["tenant"] for each in told["streams"] if each["error"] is not None}
    assert refused == {work.name(wrong)}
    assert "AADSTS7000215" in done.stderr
    assert f"tenant {work.name(wrong)}" in done.stderr
    for number in whole:
        assert await work.is_whole(number, *STREAMS)
    secret.write_text(work.jobs[broken].simulator.client_secret)
    work.config({broken: {"client_secret": None, "client_secret_file": str(secret)}})
    assert work.run("collect").returncode == ExitCode.OK
    for number in range(len(work.jobs)):
        assert await work.is_whole(number, *STREAMS)


async def test_forty_of_which_three_fail(many: MakeMany, port: int) -> None:
    """The others keep their intervals, and there is an end to the memory that they need."""
    work = many(40, streams=("alert",), alerts=300)
    wrong, expired, silent = 5, 17, 31
    whole = [number for number in range(40) if number not in (wrong, expired, silent)]
    work.jobs[expired].simulator.control.expire_secret()
    # Takes connections and never says a word, which is worse than being refused.
    with socket.create_server(("127.0.0.1", 0), backlog=100) as nobody:
        address = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        work.config(
            {
                wrong: {"client_secret": "a-wrong-secret"},
                silent: {"api_url": address, "sign_in_url": address},
            },
            monitoring={"port": port},
        )
        with Running(work, port) as process:
            failing = {work.name(number) for number in (wrong, expired, silent)}
            process.until(lambda: set(process.unready() or ()) == failing)
            work.forget_requests()
            for job in work.jobs:
                job.simulator.control.add_alerts([{}, {}, {}])
            process.until(lambda: min(work.polls(number, "alert") for number in whole) >= 3)
            process.until(lambda: set(process.unready() or ()) == failing)
            memory = process.most_memory()
            told = process.unready() or {}
            # The one that does not answer has to be given up before the process can end.
            nobody.close()
    assert memory <= MEMORY, f"{memory / 1e6:.0f} MB"
    for number in whole:
        assert await work.is_whole(number, "alert")
    assert "AADSTS7000215" in told[work.name(wrong)]["alert"]
    assert "expired" in told[work.name(expired)]["alert"]
    assert sorted(process.tenants_told("Collecting")) == [work.name(each) for each in range(40)]


async def test_the_list_is_read_anew(many: MakeMany, port: int) -> None:
    """What comes, goes or changes in the list is noticed by nobody else."""
    work = many(3, streams=("alert",))
    new, changed, kept = 0, 1, 2
    wrong = {changed: {"client_secret": "a-wrong-secret"}}
    work.config(wrong, without=new, monitoring={"port": port})
    with Running(work, port) as process:
        process.until(lambda: set(process.unready() or ()) == {work.name(changed)})
        assert work.polls(new, "alert") == 0
        work.config(monitoring={"port": port})
        process.reload()
        process.until(lambda: work.polls(new, "alert") > 0 and process.unready() == {})
        work.config(without=changed, monitoring={"port": port})
        process.reload()
        ended = "The tenant is not collected any more"
        process.until(lambda: process.tenants_told(ended) == [work.name(changed)])
        work.forget_requests()
        process.until(lambda: min(work.polls(each, "alert") for each in (new, kept)) >= 2)
        assert work.polls(changed, "alert") == 0
    # The one that changed nothing was begun once.
    begun = process.tenants_told("Collecting")
    assert sorted(begun) == sorted(work.name(each) for each in (new, changed, changed, kept))
    for number in range(3):
        assert await work.is_whole(number, "alert")


async def test_one_that_cannot_be_opened_is_tried_again(many: MakeMany, port: int) -> None:
    work = many(2, streams=("alert",))
    late, whole = 0, 1
    secret = work.folder / "secret"
    work.config(
        {late: {"client_secret": None, "client_secret_file": str(secret)}},
        monitoring={"port": port},
    )
    with Running(work, port) as process:
        process.until(lambda: work.polls(whole, "alert") >= 2)
        process.until(lambda: set(process.unready() or {}) == {work.name(late)})
        told = process.unready() or {}
        assert str(secret) in told[work.name(late)]["alert"]
        assert set(process.tenants_told("The tenant is not collected")) == {work.name(late)}
        secret.write_text(work.jobs[late].simulator.client_secret)
        process.until(lambda: process.unready() == {})
    for number in (late, whole):
        assert await work.is_whole(number, "alert")


async def test_a_damaged_state_is_that_of_its_tenant(many: MakeMany) -> None:
    work = many(3)
    work.config()
    assert work.run("collect").returncode == ExitCode.OK
    work.state(1).write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    for job in work.jobs:
        job.simulator.control.add_alerts([{}, {}])
    done = work.run("collect")
    assert done.returncode == ExitCode.ENVIRONMENT
    assert str(work.state(1)) in done.stderr
    for number in (0, 2):
        assert await work.is_whole(number, *STREAMS)
    status = work.run("status", "--json")
    assert status.returncode == ExitCode.ENVIRONMENT
    told = json.loads(status.stdout)
    assert {each["tenant"] for each in told["streams"]} == {work.name(0), work.name(2)}
    work.state(1).unlink()
    assert work.run("collect").returncode == ExitCode.OK
    assert await work.is_whole(1, "alert")


async def test_the_dashboard_of_health_tells_them_apart(many: MakeMany) -> None:
    work = many(2, streams=("alert",), now=datetime.now(UTC))
    work.config()
    assert work.run("collect").returncode == ExitCode.OK
    first, second = (job.simulator.tenant_id for job in work.jobs)
    async with await work.jobs[0].engine() as engine:
        preview = await ask(engine, PackageTree.default())
    (health,) = [one for one in preview.dashboards if one.dashboard.name == "collector-health"]
    assert health.dashboard.spec.controls[0].field == TENANT_FIELD
    for tenant, other in ((first, second), (second, first)):
        shown = health.rows[Choice(tenant)]["How far each stream was collected"]
        assert [row.keys for row in shown] == [("alert", tenant)]
        everybody = health.rows[Choice()]["How far each stream was collected"]
        assert {("alert", tenant), ("alert", other)} <= {row.keys for row in everybody}


def test_only_the_tenants_that_are_named_are_asked(many: MakeMany) -> None:
    work = many(3, now=datetime.now(UTC), running=True)
    work.config()
    last = work.jobs[2].simulator.tenant_id
    assert work.run("collect", "--tenant", "TENANT-00", "--tenant", last).returncode == ExitCode.OK
    assert work.polled() == {0, 2}
    work.forget_requests()
    unknown = work.run("collect", "--tenant", "nobody")
    assert unknown.returncode == ExitCode.SETTINGS
    assert "tenant-00, tenant-01, tenant-02" in unknown.stderr
    between = ("--from", "2020-01-01", "--to", "2020-01-02")
    for command in (
        ("collect",),
        ("check",),
        ("reconcile",),
        ("backfill", *between),
        ("replay",),
        ("status",),
        ("hunt", "DeviceInfo | take 1"),
    ):
        work.forget_requests()
        done = work.run(*command, "--tenant", work.name(1))
        assert done.returncode == ExitCode.OK, done.stdout + done.stderr
        assert work.polled() <= {1}
        assert not {work.name(0), work.name(2)} & set(done.stdout.split())
    several = work.run("hunt", "DeviceInfo | take 1")
    assert several.returncode == ExitCode.SETTINGS
    assert "--tenant" in several.stderr


def test_what_one_tenant_knows_is_nowhere_else(many: MakeMany) -> None:
    work = many(3)
    secrets = [job.simulator.client_secret for job in work.jobs]
    assert len(set(secrets)) == 3
    work.config({1: {"client_secret": secrets[0]}})
    done = work.run("collect", "--log-level", "debug")
    assert done.returncode == ExitCode.SIGN_IN
    for secret in secrets:
        assert secret not in done.stdout + done.stderr
    for number, job in enumerate(work.jobs):
        state = b"".join(
            file.read_bytes() for file in work.folder.glob(f"{work.state(number).name}*")
        )
        others = [other.simulator for other in work.jobs if other is not job]
        for word in (*secrets, *(other.tenant_id for other in others)):
            assert word.encode() not in state
    for number in (0, 2):
        job = work.jobs[number]
        asked = {each["organization"]["name"] for each in job.documents("alert")}
        assert asked == {work.name(number)}
    # Of the one that was refused there is nothing but that it was.
    made = work.jobs[0].ask("GET", f"/_data_stream/*-{work.jobs[1].namespace}")["data_streams"]
    assert [each["name"] for each in made] == [work.jobs[1].index("health")]
    refused = work.jobs[1].documents("health")
    assert {each["event"]["outcome"] for each in refused} == {"failure"}
    assert {each["organization"]["id"] for each in refused} == {work.jobs[1].simulator.tenant_id}

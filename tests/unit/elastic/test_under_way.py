"""What an engine was sent before is waited for, also when nobody waits for its answer any more."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web
from tests.unit.elastic.conftest import AT_ONCE
from tests.unit.elastic.scripted import Scripted, Seen, json, refusal
from tests.unit.elastic.trees import Tree

from aquila_mde.elastic.bulk import BulkSink, Item
from aquila_mde.elastic.client import Engine
from aquila_mde.elastic.under_way import settled

INDEX = "logs-a.b-default"
DOCUMENT = b'{"@timestamp":"2026-01-01T00:00:00.000Z","message":"%b"}' % (b"word " * 200)


class Busy(Scripted):
    """Tells of some bulk requests each time it is asked: a list of names and their indices."""

    def __init__(self, *times: dict[str, str]) -> None:
        super().__init__()
        self.times = list(times)

    async def answer(self, seen: Seen) -> web.Response | None:
        if seen.path != "_tasks":
            return await super().answer(seen)
        assert seen.query["actions"] == "indices:data/write/bulk"
        tasks = {
            name: {"description": f"requests[2], indices[{index}]"}
            for name, index in self.times.pop(0).items()
        }
        return json({"nodes": {"n": {"tasks": tasks}}})


async def test_those_of_the_same_index_are_waited_for_and_no_later_ones() -> None:
    mine, other = {"n:1": INDEX}, {"n:2": "logs-c.d-default"}
    later = {"n:3": INDEX}
    async with (
        Busy(mine | other, mine | later, later | other) as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        await settled(engine, INDEX)
    assert server.times == []


async def test_a_login_that_may_not_look_waits_for_nothing() -> None:
    class Closed(Scripted):
        async def answer(self, seen: Seen) -> web.Response | None:
            if seen.path == "_tasks":
                return refusal(403, "security_exception", "no")
            return await super().answer(seen)

    async with (
        Closed() as server,
        await Engine.connect(server.settings, retry=AT_ONCE) as engine,
    ):
        await settled(engine, INDEX)


async def test_a_request_of_a_sender_that_is_gone_is_all_there_afterwards(
    installed: Tree, engine: Engine
) -> None:
    total = 0
    for size in (2_000, 8_000, 32_000):
        items = [Item(f"{size}-{number}", DOCUMENT) for number in range(size)]
        sink = BulkSink(engine, max_bytes=1 << 30, max_documents=size, retry=AT_ONCE)
        sending = asyncio.create_task(sink.send(installed.index, items))
        seen = False
        while not sending.done() and not seen:
            listed = await engine.request(
                "GET", "_tasks", params={"actions": "indices:data/write/bulk", "detailed": "true"}
            )
            seen = installed.index in str(listed)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await settled(engine, installed.index)
        total += size
        await engine.request("POST", f"{installed.index}/_refresh")
        counted = await engine.request("GET", f"{installed.index}/_count")
        assert counted["count"] == total
        if seen:
            return
    raise AssertionError("no request was ever seen under way")

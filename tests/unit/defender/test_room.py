"""What is large waits for room, what is small does not, and the answers are the same."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from starlette.responses import Response
from tests.unit.defender.scripted_microsoft import Connect, Microsoft, error, rows

from aquila_mde.collect.outlet import Room
from aquila_mde.collect.turns import Turns
from aquila_mde.defender.errors import FileUnavailableError, PermissionDeniedError

PATH = "/api/alerts"
LARGE = [{"id": str(number), "text": "x" * 1_000} for number in range(1_000)]


async def test_a_large_answer_keeps_its_room_until_the_next_thing_is_asked_for(
    microsoft: Microsoft, connect: Connect
) -> None:
    places = Turns(1)
    client = connect(room=Room(places, "contoso"))
    packed = gzip.compress(json.dumps({"value": LARGE}).encode())
    headers = {"Content-Encoding": "gzip"}
    large = Response(packed, headers=headers, media_type="application/json")
    microsoft.script(PATH, large, rows({"id": "1"}), error(403, "Forbidden", "Not you."))
    answer = await client.get(PATH, stream="alert")
    assert json.loads(answer.body)["value"] == LARGE
    assert answer.server_time is not None
    assert client.holds_room
    small = await client.get(PATH, stream="alert")
    assert json.loads(small.body)["value"] == [{"id": "1"}]
    assert places.held == 0
    with pytest.raises(PermissionDeniedError, match="Not you"):
        await client.get(PATH, stream="alert")


class Watched(Turns):
    """Says when somebody asks."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = asyncio.Event()

    async def take(self, owner: str, size: int = 1) -> None:
        self.asked.set()
        await super().take(owner, size)


async def test_what_is_small_never_waits(microsoft: Microsoft, connect: Connect) -> None:
    places = Watched()
    await places.take("another")
    places.asked.clear()
    client = connect(room=Room(places, "contoso"))
    microsoft.script(PATH, rows({"id": "1"}), rows(*LARGE))
    await client.get(PATH, stream="alert")
    assert not places.asked.is_set()
    waiting = asyncio.create_task(client.get(PATH, stream="alert"))
    await places.asked.wait()
    assert not waiting.done()
    places.give("another")
    assert json.loads((await waiting).body)["value"] == LARGE


async def test_a_file_has_room_while_it_is_read(microsoft: Microsoft, connect: Connect) -> None:
    places = Turns(1)
    client = connect(room=Room(places, "contoso"))
    microsoft.script("/file", Response(b"content"), Response(b"", 403))
    async with client.open_file(f"{microsoft.url}/file") as content:
        assert places.held == 1
        assert b"".join([part async for part in content]) == b"content"
    assert places.held == 0
    with pytest.raises(FileUnavailableError):
        async with client.open_file(f"{microsoft.url}/file"):
            pass
    assert places.held == 0

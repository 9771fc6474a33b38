"""Room for large answers: one place for a tenant, few for all, none for what is small."""

from __future__ import annotations

import asyncio

from aquila_mde.collect.outlet import Room
from aquila_mde.collect.turns import Turns


async def test_a_task_has_one_place_and_gives_it_back_once() -> None:
    places = Turns(2, share=1)
    room = Room(places, "contoso")
    assert not room.taken
    room.leave()
    await room.enter()
    await room.enter()
    assert room.taken
    assert places.held == 1
    room.leave()
    room.leave()
    assert not room.taken
    assert places.held == 0


async def test_a_tenant_has_one_place_for_all_its_tasks() -> None:
    places, inside = Turns(2, share=1), list[str]()
    contoso, fabrikam = Room(places, "contoso"), Room(places, "fabrikam")
    leave = asyncio.Event()

    async def read(room: Room, name: str) -> None:
        await room.enter()
        inside.append(name)
        await leave.wait()
        room.leave()

    async with asyncio.TaskGroup() as group:
        for room, name in ((contoso, "alerts"), (contoso, "machines"), (fabrikam, "alerts of f")):
            group.create_task(read(room, name))
        while len(inside) < 2:
            await asyncio.sleep(0)
        assert inside == ["alerts", "alerts of f"]
        leave.set()
    assert inside[-1] == "machines"
    assert places.held == 0

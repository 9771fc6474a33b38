"""A line of a certain speed in front of an engine: requests and answers take their time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 16 << 10
_BUFFER = 64 << 10
"""What the kernel keeps for the line: more would hide how slow it is."""


class _Line:
    """All connections share ``rate`` bytes a second in each direction."""

    def __init__(self, host: str, port: int, rate: float, delay: float) -> None:
        self._to = (host, port)
        self._rate = rate
        self._delay = delay
        self._free_at = {"up": 0.0, "down": 0.0}
        self.bytes_up = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._carry("up", reader, far_writer))
            group.create_task(self._carry("down", far_reader, writer))

    async def _carry(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            begins = True
            while piece := await reader.read(_PIECE):
                if way == "up":
                    self.bytes_up += len(piece)
                free_at = max(loop.time(), self._free_at[way]) + len(piece) / self._rate
                self._free_at[way] = free_at
                # Only the first byte of a message waits for the way, the others follow it.
                wait = free_at - loop.time() + (self._delay if begins else 0.0)
                await asyncio.sleep(wait)
                writer.write(piece)
                await writer.drain()
                begins = len(piece) < _PIECE
        writer.close()


@contextmanager
def slow_line(engine_url: str, *, rate: float, delay: float = 0.0) -> Iterator[str]:
    """The URL of the engine at ``engine_url`` behind a line; ``delay`` seconds one way."""
    parts = urlsplit(engine_url)
    line = _Line(parts.hostname or "", parts.port or 80, rate, delay)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(line.connected, sock=listening, limit=_BUFFER)
        ready.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

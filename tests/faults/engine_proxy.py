"""A proxy in front of a real engine that plays a plan of faults, and tells when documents arrive.

``[EngineFault("bulk", "status", status=503), EngineFault("bulk", "lost")]`` reads as the plans of
the simulated tenant do: the first bulk request is answered with 503, the second reaches the
engine, but its answer does not come back.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, get_args

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from aquila_mde.simulator.faults import FaultPlan, FaultPlayer

What = Literal[
    "cut", "lost", "reset", "short", "truncated", "slow", "status", "html", "empty", "items"
]
_ADDRESS = "127.0.0.1"
_PAGE = "<html><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
_KEPT = ("content-type", "retry-after")
_KEEP_ORIGINAL = b'{"tags":["preserve_original_event"],'
_OWN = re.compile(r"aquila_mde\.(?!dead_letter|checkpoint)")
_REASONS = {
    400: ("document_parsing_exception", "failed to parse"),
    429: ("circuit_breaking_exception", "rejected execution of coordinating operation"),
    503: ("unavailable_shards_exception", "primary shard is not active"),
}


@dataclass(frozen=True)
class EngineFault:
    """One thing that goes wrong between collector and engine.

    ``where`` is ``bulk``, ``any``, or a part of the path of the request. ``when`` and ``times``
    are as in the plans of the tenant.

    ``cut`` closes the connection before the request is passed on. The others that break something
    let the engine do its work first: ``lost`` closes without an answer, ``reset`` breaks the
    connection in the middle of it, ``short`` closes before the announced length, ``truncated``
    is a whole answer with half the body, ``empty`` one without any. ``slow`` passes the request on
    after ``seconds``. ``status`` and ``html`` answer in place of the engine. ``items`` is about
    single documents of a bulk request: each ``nth`` of them, or those that hold the text
    ``holding``, do not reach the engine, and the answer says ``status`` for them.
    """

    where: str
    what: What
    when: int | Literal["always"] = 1
    times: int = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.2
    nth: int = 2
    holding: str = ""

    def __post_init__(self) -> None:
        if self.what not in get_args(What):
            raise ValueError(f"what is {self.what!r}: it must be one of {get_args(What)}")

    def matches(self, path: str, kind: str) -> bool:
        """Whether a request for ``path`` may be hit; ``kind`` is bulk or other."""
        if self.where == "any":
            return True
        if self.where == "bulk" or self.what == "items":
            return kind == "bulk" and (self.where == "bulk" or self.where in path)
        return self.where in path

    @property
    def name(self) -> str:
        """What it is counted as."""
        return f"engine {self.what} {self.status if self.what in ('status', 'items') else ''}"


@dataclass
class _Operation:
    """One operation of a bulk request: its action line, and its source if it has one."""

    action: bytes
    kind: str
    id: str
    source: bytes | None

    def lines(self) -> bytes:
        return self.action + b"\n" + (b"" if self.source is None else self.source + b"\n")


@dataclass
class _Moment:
    of: Literal["documents", "requests"]
    left: int
    do: Callable[[], None]


class EngineProxy:
    """Passes everything on to the engine at ``engine_url``, but for what its plan says.

    It answers from construction until :meth:`close`, in a thread of its own. ``keep_original``
    marks the documents so that the ingest pipeline keeps the record in ``event.original``, as the
    convention of Elastic's integrations has it: what was indexed can be compared to the letter.
    """

    def __init__(self, engine_url: str, *, keep_original: bool = False) -> None:
        self._engine = engine_url
        self._keep_original = keep_original
        self._player = FaultPlayer(FaultPlan())
        self._lock = threading.Lock()
        self._moment: _Moment | None = None
        self.hits: Counter[str] = Counter()
        """How often which fault hit."""
        self.refused: set[str] = set()
        """The ids of documents that ``items`` refused for good."""
        self.seen: list[str] = []
        """Method and path of every request."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="engine proxy", daemon=True)
        self._thread.start()
        self._ready.wait()

    def play(self, faults: Iterable[EngineFault]) -> None:
        """Start a plan; what is left of the one before is forgotten."""
        self._player.play(FaultPlan(tuple(faults)))  # type: ignore[arg-type] # it asks no more

    @property
    def left(self) -> list[Any]:
        """The faults that can still hit."""
        return self._player.left()

    def at(self, of: Literal["documents", "requests"], number: int, do: Callable[[], None]) -> None:
        """Do something at one moment: the ``number``-th document that the engine takes from now on,
        before the collector hears of it; or before the ``number``-th request is passed on.
        """
        with self._lock:
            self._moment = _Moment(of, number, do)

    def disarm(self) -> bool:
        """Forget what was to be done; whether it still was to be."""
        with self._lock:
            left, self._moment = self._moment, None
        return left is not None

    def close(self) -> None:
        """Stop answering."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        listening = socket.create_server((_ADDRESS, 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://{_ADDRESS}:{listening.getsockname()[1]}"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as self._session:
            await web.SockSite(runner, listening).start()
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, body = request.path, await request.read()
        self.seen.append(f"{request.method} {path}")
        bulk = path.endswith("/_bulk")
        fault: EngineFault | None = self._player.take(path, "bulk" if bulk else "other")  # type: ignore[assignment]
        if fault is not None and fault.what != "items":
            self.hits[fault.name] += 1
        await self._reach("requests", 1)
        if fault is not None:
            if fault.what == "cut":
                return _hang_up(request)
            if fault.what in ("status", "html"):
                return _instead(fault)
            if fault.what == "slow":
                await asyncio.sleep(fault.seconds)
        if bulk:
            answer = await self._bulk(request, path, body, fault)
        else:
            answer = await self._pass_on(request, body)
        return await _spoiled(fault, request, answer)

    async def _bulk(
        self, request: web.Request, path: str, body: bytes, fault: EngineFault | None
    ) -> web.Response:
        operations = list(_operations(body))
        withheld = [False] * len(operations)
        if fault is not None and fault.what == "items":
            withheld = [_is_meant(fault, n, each) for n, each in enumerate(operations)]
            if any(withheld):
                self.hits[fault.name] += 1
        if self._keep_original and _OWN.search(path):
            for each in operations:
                if each.source is not None:
                    each.source = each.source.replace(b"{", _KEEP_ORIGINAL, 1)
        passed = [each for each, kept in zip(operations, withheld, strict=True) if not kept]
        answer, items = web.Response(), iter(())
        if passed:
            answer = await self._pass_on(request, b"".join(each.lines() for each in passed))
            if answer.status != 200:
                return answer
            decoded = msgspec.json.decode(answer.body)
            items = iter(decoded["items"])
            created = sum(
                _verdict(item)["status"] == 201
                for item, each in zip(decoded["items"], passed, strict=True)
                if each.kind == "create"
            )
            await self._reach("documents", created)
        if fault is None or not any(withheld):
            return answer
        if fault.status < 429:
            self.refused |= {
                each.id for each, kept in zip(operations, withheld, strict=True) if kept
            }
        spliced = [
            _refusal(each, fault.status, path) if kept else next(items)
            for each, kept in zip(operations, withheld, strict=True)
        ]
        return web.json_response({"errors": True, "items": spliced})

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        kind = request.headers.get("content-type")
        async with self._session.request(
            request.method,
            URL(self._engine + request.raw_path, encoded=True),
            data=body or None,
            headers={"content-type": kind} if kind and body else {},
        ) as answer:
            headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)

    async def _reach(self, of: str, number: int) -> None:
        with self._lock:
            moment = self._moment
            if moment is None or moment.of != of:
                return
            moment.left -= number
            if moment.left > 0:
                return
            self._moment = None
        await asyncio.to_thread(moment.do)


def _operations(body: bytes) -> Iterable[_Operation]:
    lines = iter(body.split(b"\n"))
    for line in lines:
        if not line:
            continue
        ((kind, place),) = msgspec.json.decode(line).items()
        source = None if kind == "delete" else next(lines)
        yield _Operation(line, kind, str(place.get("_id")), source)


def _is_meant(fault: EngineFault, number: int, operation: _Operation) -> bool:
    if fault.holding:
        return operation.source is not None and fault.holding.encode() in operation.source
    return number % fault.nth == 0


def _verdict(item: dict[str, Any]) -> dict[str, Any]:
    return next(iter(item.values()))


def _refusal(operation: _Operation, status: int, path: str) -> dict[str, Any]:
    kind, reason = _REASONS.get(status, ("exception", "refused"))
    error = {"type": kind, "reason": reason}
    return {operation.kind: {"_index": path.split("/")[1], "status": status, "error": error}}


def _instead(fault: EngineFault) -> web.Response:
    if fault.what == "html":
        return web.Response(status=502, text=_PAGE, content_type="text/html")
    kind, reason = _REASONS.get(fault.status, ("exception", "refused"))
    return web.json_response(
        {"error": {"type": kind, "reason": reason}, "status": fault.status},
        status=fault.status,
        headers=dict(fault.headers),
    )


async def _spoiled(
    fault: EngineFault | None, request: web.Request, answer: web.Response
) -> web.StreamResponse:
    body = answer.body if isinstance(answer.body, bytes) else b""
    match fault.what if fault is not None else None:
        case "lost":
            return _hang_up(request)
        case "empty":
            return web.Response(status=answer.status, content_type="application/json")
        case "truncated":
            return web.Response(
                status=answer.status, body=body[: len(body) // 2], headers=_kind(answer)
            )
        case "short" | "reset" as what:
            begun = web.StreamResponse(status=answer.status, headers=_kind(answer))
            begun.content_length = len(body)
            await begun.prepare(request)
            if half := body[: len(body) // 2]:
                await begun.write(half)
            _hang_up(request, reset=what == "reset")
            return begun
        case _:
            return answer


def _kind(answer: web.Response) -> dict[str, str]:
    return {"content-type": answer.headers.get("content-type", "application/json")}


def _hang_up(request: web.Request, *, reset: bool = False) -> web.Response:
    transport = request.transport
    if transport is not None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            held = transport.get_extra_info("socket")
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()
    return web.Response()

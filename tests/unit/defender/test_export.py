from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.unit.defender.scripted_microsoft import Connect, Microsoft

from aquila_mde.defender.client import DefenderClient, RetryPolicy
from aquila_mde.defender.errors import (
    DefenderUnavailableError,
    FileUnavailableError,
    SnapshotReplacedError,
)
from aquila_mde.defender.export import ExportChunk, ExportPosition, read_export
from aquila_mde.defender.export_lines import LineSplitter, split_lines

PATH = "/api/machines/SoftwareVulnerabilitiesExport"
FIRST, SECOND = "2026-03-01T05:00:00Z", "2026-03-01T11:00:00Z"


def _lines(name: str, count: int) -> list[bytes]:
    return [json.dumps({"id": f"{name}-{n}", "pad": "x" * 40}).encode() for n in range(count)]


def _gz(lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(line + b"\n" for line in lines))


Content = bytes | Callable[[], Response]


@dataclass
class Export:
    """The export endpoint and the storage behind it."""

    microsoft: Microsoft
    files: dict[str, Content]
    generated: str = FIRST
    asked: list[dict[str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.microsoft.routes[PATH] = self.links
        for name in self.files:
            self.microsoft.routes[f"/store/{name}"] = self.file

    def links(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        number = len(self.asked)
        files = [
            # Neither in order nor at the same place each time.
            f"{self.microsoft.url}/store/{name}?sv={number}&sig=S3CR3T{number}"
            for name in sorted(self.files, key=lambda name: (len(name) * number) % 3)
        ]
        return JSONResponse(
            {"@odata.context": "…", "exportFiles": files, "generatedTime": self.generated}
        )

    def file(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/store/")
        if request.query_params["sv"] != str(len(self.asked)):
            return Response("<Error>AuthenticationFailed</Error>", 403)
        self.read.append(name)
        content = self.files[name]
        return Response(content) if isinstance(content, bytes) else content()


def _then(*contents: Content) -> Callable[[], Response]:
    left = list(contents)

    def answer() -> Response:
        content = left.pop(0) if len(left) > 1 else left[0]
        return Response(content) if isinstance(content, bytes) else content()

    return answer


def _reset_after(data: bytes) -> Callable[[], Response]:
    async def body() -> AsyncIterator[bytes]:
        yield data
        raise ConnectionResetError("the connection goes away")

    return lambda: StreamingResponse(body())


async def _read(
    client: DefenderClient, *, into: list[ExportChunk] | None = None, **options: Any
) -> list[ExportChunk]:
    chunks = [] if into is None else into
    options.setdefault("chunk_bytes", 1000)
    async for chunk in read_export(client, PATH, sas_hours=6, stream="vulnerability", **options):
        chunks.append(chunk)
    return chunks


def _all_lines(chunks: list[ExportChunk]) -> list[bytes]:
    return [line for chunk in chunks for line in split_lines(chunk.text)[0]]


class TestReading:
    async def test_every_line_of_every_file_comes_in_the_order_of_names(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        names = ["part-00002-b.json.gz", "part-00000-zz.json.gz", "part-00001-a.json.gz"]
        content = {name: _lines(name, 100) for name in names}
        export = Export(microsoft, {name: _gz(lines) for name, lines in content.items()})
        chunks = await _read(client)
        assert _all_lines(chunks) == [line for name in sorted(names) for line in content[name]]
        assert export.asked == [{"sasValidHours": "6"}]
        assert len(chunks) > 15  # small pieces, not whole files
        assert {chunk.file_count for chunk in chunks} == {3}
        assert chunks[-1].position == ExportPosition(FIRST, 3, 0)
        assert not any(split_lines(chunk.text)[1] for chunk in chunks)

    async def test_an_empty_snapshot_is_one_empty_chunk_at_its_end(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        Export(microsoft, {})
        (chunk,) = await _read(client)
        assert (chunk.text, chunk.file_count) == (b"", 0)
        assert chunk.position == ExportPosition(FIRST, 0, 0)

    async def test_reading_goes_on_from_any_position(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        Export(microsoft, {name: _gz(_lines(name, 60)) for name in ("a", "b")})
        whole = await _read(client)
        for number, chunk in enumerate(whole):
            rest = await _read(client, resume=chunk.position)
            assert _all_lines(whole[: number + 1]) + _all_lines(rest) == _all_lines(whole)
            assert rest[-1].position == ExportPosition(FIRST, 2, 0)
            assert all(
                (later.position.file, later.position.line)
                >= (chunk.position.file, chunk.position.line)
                for later in rest
            )

    async def test_a_position_in_an_older_snapshot_means_the_new_one_from_its_start(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        Export(microsoft, {"a": _gz(_lines("a", 5))}, generated=SECOND)
        chunks = await _read(client, resume=ExportPosition(FIRST, 0, 3))
        assert len(_all_lines(chunks)) == 5
        assert chunks[0].position.generated == SECOND

    async def test_a_position_behind_the_last_file_is_the_end(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        export = Export(microsoft, {"a": _gz(_lines("a", 5))})
        (chunk,) = await _read(client, resume=ExportPosition(FIRST, 7, 3))
        assert (chunk.text, chunk.file_count) == (b"", 1)
        assert chunk.position == ExportPosition(FIRST, 1, 0)
        assert not export.read

    async def test_lines_that_are_no_object_are_set_aside(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        good = _lines("a", 50)
        lines = [*good[:20], b"no json", *good[20:40], b"", b'{"cut": "of', *good[40:], b"[1]"]
        Export(microsoft, {"a": _gz(lines)})
        chunks = await _read(client)
        assert _all_lines(chunks) == good
        bad = [line for chunk in chunks for line in split_lines(chunk.text)[1]]
        assert bad == [b"no json", b'{"cut": "of', b"[1]"]

    @pytest.mark.parametrize("body", ["{}", '{"exportFiles": null, "generatedTime": "x"}'])
    async def test_an_answer_without_files_is_no_empty_snapshot(
        self, microsoft: Microsoft, client: DefenderClient, body: str
    ) -> None:
        microsoft.script(PATH, Response(body, media_type="application/json"))
        with pytest.raises(DefenderUnavailableError, match="names no export files") as caught:
            await _read(client)
        assert caught.value.stream == "vulnerability"


class TestTrouble:
    @pytest.mark.parametrize(
        "trouble",
        [
            lambda data: lambda: Response("<Error>AuthenticationFailed</Error>", 403),
            lambda data: lambda: Response("gone", 404),
            lambda data: lambda: Response("busy", 503),
            lambda data: b"",
            lambda data: b"\x1f",
            lambda data: b"<html>proxy</html>",
            lambda data: data[: len(data) // 2],
            lambda data: data[:-3],
            lambda data: data[:-6] + b"\0" + data[-5:],
            lambda data: data[:60] + bytes(len(data) - 60),
            lambda data: _reset_after(data[: len(data) // 2]),
            lambda data: lambda: Response(data, headers={"Content-Length": str(len(data) + 9)}),
        ],
        ids=[
            "expired", "gone", "busy", "empty", "one byte", "a page", "half", "no trailer",
            "wrong checksum", "damaged", "reset", "wrong length",
        ],
    )  # fmt: skip
    async def test_fresh_links_help_and_no_line_is_lost_or_doubled(
        self, microsoft: Microsoft, client: DefenderClient, trouble: Callable[[bytes], Content]
    ) -> None:
        lines = {name: _lines(name, 2000) for name in ("a", "b", "c")}
        data = {name: _gz(content) for name, content in lines.items()}
        export = Export(microsoft, {**data, "b": _then(trouble(data["b"]), data["b"])})
        chunks = await _read(client, chunk_bytes=5000)
        assert _all_lines(chunks) == lines["a"] + lines["b"] + lines["c"]
        assert export.read == ["a", "b", "b", "c"]
        assert len(export.asked) == 2

    async def test_links_that_expire_in_mid_file_are_renewed_there(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        lines = _lines("a", 3000)
        data = _gz(lines)
        third = len(data) // 3
        export = Export(
            microsoft, {"a": _then(_reset_after(data[:third]), _reset_after(data[:-third]), data)}
        )
        with structlog.testing.capture_logs() as logs:
            chunks = await _read(client)
        assert _all_lines(chunks) == lines
        assert len(export.asked) == 3
        at = [entry["line"] for entry in logs if "fresh links" in entry["event"]]
        assert 0 < at[0] < at[1] < 3000
        assert "S3CR3T" not in str(logs)

    async def test_a_file_that_stays_broken_ends_it_and_says_so(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        good = _lines("a", 10)
        export = Export(microsoft, {"a": _gz(good), "b": b""})
        chunks: list[ExportChunk] = []
        with pytest.raises(FileUnavailableError, match="empty") as caught:
            await _read(client, into=chunks)
        assert _all_lines(chunks) == good
        assert chunks[-1].position == ExportPosition(FIRST, 1, 0)
        assert len(export.asked) == client.retry.attempts
        assert "S3CR3T" not in str(caught.value)
        assert caught.value.stream == "vulnerability"
        assert "next pass" in caught.value.hint

    async def test_links_that_stay_dead_are_not_asked_for_in_a_rush(
        self, microsoft: Microsoft, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Export(microsoft, {"a": b""})
        waits: list[float] = []

        async def note(seconds: float) -> None:
            waits.append(seconds)

        monkeypatch.setattr("aquila_mde.defender.export._pause", note)
        client = connect(retry=RetryPolicy(attempts=5, longest_wait=6))
        with pytest.raises(FileUnavailableError):
            await _read(client)
        assert waits == [4, 6, 6]

    async def test_a_snapshot_replaced_before_its_first_line_is_simply_left(
        self, microsoft: Microsoft, client: DefenderClient
    ) -> None:
        new = _lines("new", 7)
        export = Export(microsoft, {"a": b""})

        def replace() -> Response:
            export.generated, export.files = SECOND, {"n": _gz(new)}
            microsoft.routes["/store/n"] = export.file
            return Response(status_code=404)

        export.files["a"] = replace
        chunks = await _read(client, resume=ExportPosition(FIRST, 0, 3))
        assert _all_lines(chunks) == new
        assert chunks[-1].position == ExportPosition(SECOND, 1, 0)

    @pytest.mark.parametrize("generated", [SECOND, FIRST], ids=["new time", "other files"])
    async def test_a_snapshot_replaced_in_the_middle_is_told(
        self, microsoft: Microsoft, client: DefenderClient, generated: str
    ) -> None:
        lines = _lines("a", 2000)
        export = Export(microsoft, {"a": b""})

        def replace() -> Response:
            export.generated, export.files = generated, {"n": _gz(lines)}
            return _reset_after(_gz(lines)[:4000])()

        export.files["a"] = replace
        chunks: list[ExportChunk] = []
        with pytest.raises(SnapshotReplacedError, match=FIRST) as caught:
            await _read(client, into=chunks)
        read = _all_lines(chunks)
        assert read == lines[: len(read)] != []
        assert caught.value.stream == "vulnerability"


class TestLineSplitter:
    def _read(
        self, data: bytes, *, piece: int, chunk: int, skip: int = 0
    ) -> tuple[list[bytes], list[bytes]]:
        splitter = LineSplitter(chunk, skip=skip)
        lines: list[bytes] = []
        bad: list[bytes] = []
        for start in range(0, len(data), piece):
            for text in splitter.feed(data[start : start + piece]):
                found, wrong = split_lines(text)
                lines += found
                bad += wrong
        found, wrong = split_lines(splitter.close())
        return lines + found, bad + wrong

    @given(
        texts=st.lists(
            st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=30),
            max_size=40,
        ),
        member_at=st.integers(0, 40),
        piece=st.integers(1, 400),
        chunk=st.integers(1, 400),
        skip=st.integers(0, 45),
        ends=st.sampled_from([b"\n", b"\r\n"]),
        last_end=st.booleans(),
    )
    def test_lines_come_out_as_they_went_in(
        self,
        texts: list[str],
        member_at: int,
        piece: int,
        chunk: int,
        skip: int,
        ends: bytes,
        last_end: bool,
    ) -> None:
        lines = [json.dumps({"t": text}).encode() for text in texts]
        body = [line + ends for line in lines]
        if body and not last_end:
            body[-1] = lines[-1]
        # Two members and padding: a valid gzip file, and what some writers make.
        data = (
            gzip.compress(b"".join(body[:member_at]))
            + bytes(5)
            + gzip.compress(b"".join(body[member_at:]))
            + bytes(3)
        )
        assert self._read(data, piece=piece, chunk=chunk, skip=skip) == (lines[skip:], [])

    def test_a_line_longer_than_a_chunk_stays_whole(self) -> None:
        long = json.dumps({"t": "y" * 5000}).encode()
        data = _gz([b"{}", long, b"{}"])
        assert self._read(data, piece=3, chunk=10) == ([b"{}", long, b"{}"], [])

    def test_a_file_that_is_one_endless_line_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aquila_mde.defender.export_lines._LONGEST_LINE", 1000)
        with pytest.raises(FileUnavailableError, match="one JSON object a line"):
            self._read(gzip.compress(b"[" + b"1," * 2000), piece=100, chunk=100)

    def test_rubbish_behind_the_end_is_refused(self) -> None:
        with pytest.raises(FileUnavailableError, match="not a gzip file"):
            self._read(_gz([b"{}"]) + b"rubbish", piece=1000, chunk=100)
        with pytest.raises(FileUnavailableError, match="too early"):
            self._read(_gz([b"{}"]) + b"\x1f", piece=1000, chunk=100)

    def test_a_file_without_lines_has_none(self) -> None:
        assert self._read(gzip.compress(b""), piece=5, chunk=5) == ([], [])
        assert self._read(gzip.compress(b"\n\n"), piece=5, chunk=5) == ([], [])

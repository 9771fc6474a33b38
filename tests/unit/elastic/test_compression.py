"""Whether bodies are packed: on lines that are models, with the times that they would take."""

from __future__ import annotations

import gzip

import pytest

from aquila_mde.elastic.compression import Compression, packed

LARGE = 1_000_000
PACKED_PART = 0.15


def send(compression: Compression, bodies: int, *, line: float, size: int = LARGE) -> list[bool]:
    """How each body went over a line of ``line`` bytes a second, into an engine that is slow."""
    ways = []
    for number in range(bodies):
        way = compression.wanted(size)
        worked = 0.3 if number % 2 else 3.0
        on_the_way = (PACKED_PART * size / line + 0.004) if way else size / line
        answer = b'{"took":%d,"ingest_took":%d,"errors":false' % (worked * 600, worked * 400)
        compression.answered(way, size, on_the_way + worked, answer)
        ways.append(way)
    return ways


def test_a_slow_line_is_worth_it_and_a_fast_one_is_not() -> None:
    slow = send(Compression(), 300, line=10e6)
    assert slow.count(True) > 280
    middling = send(Compression(), 300, line=24e6)
    assert middling.count(True) > 280


def test_on_a_fast_line_it_is_not_even_tried() -> None:
    assert not any(send(Compression(), 300, line=1e9))


def test_a_line_that_changes_is_noticed() -> None:
    compression = Compression()
    send(compression, 100, line=1e9)
    assert send(compression, 300, line=5e6)[-100:].count(True) > 90
    assert send(compression, 300, line=1e9)[-100:].count(False) > 90


def test_small_bodies_go_as_they_are() -> None:
    assert not any(send(Compression(), 100, line=1e3, size=2_000))


@pytest.mark.parametrize(("mode", "way"), [("always", True), ("never", False)])
def test_what_the_settings_say_is_done(mode: str, way: bool) -> None:
    compression = Compression(mode)  # type: ignore[arg-type]
    assert set(send(compression, 100, line=1e3)) == {way}
    assert set(send(compression, 100, line=1e9, size=10)) == {way}
    assert not compression.refused()


def test_gzip_that_is_refused_is_never_tried_again() -> None:
    compression = Compression()
    assert compression.refused()
    assert not any(send(compression, 200, line=1e3))


def test_the_pieces_become_one_member() -> None:
    assert (
        gzip.decompress(packed([b"one\n", b"", b"two\n" * 50_000])) == b"one\n" + b"two\n" * 50_000
    )

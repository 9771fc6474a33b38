from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from aquila_mde.engine import machine
from aquila_mde.engine.errors import EngineStartError
from aquila_mde.errors import ExitCode


@pytest.mark.parametrize(
    ("text", "size"), [("1g", 1 << 30), ("512M", 512 << 20), ("524288k", 512 << 20)]
)
def test_a_heap_is_read_as_java_reads_it(text: str, size: int) -> None:
    assert machine.heap_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "1t", "100m", "-1g", "0"])
def test_a_heap_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(EngineStartError, match="at least 256m"):
        machine.heap_bytes(text)


def test_too_little_memory_is_said_with_both_figures() -> None:
    with pytest.raises(EngineStartError, match=r"needs 1536 MiB.* only 1000 MiB") as caught:
        machine.check_memory("1g", available=1000 << 20)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_enough_memory_passes() -> None:
    machine.check_memory("1g", available=1536 << 20)


def test_the_memory_of_this_machine_is_what_counts() -> None:
    with pytest.raises(EngineStartError, match="with a heap of 900000g"):
        machine.check_memory("900000g")


def test_too_little_disk_is_said_for_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(EngineStartError, match=f"The data needs .* in {folder}"):
        machine.check_disk(folder, 1 << 60, "The data")
    machine.check_disk(folder, 1, "The data")


def test_a_port_in_use_is_refused_and_a_free_one_is_not() -> None:
    with socket.socket() as listener:
        listener.bind((machine.LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(EngineStartError, match=f"127.0.0.1:{port}"):
            machine.check_port(port)
    machine.check_port(port)


def test_another_account_needs_every_folder_on_the_way(
    open_folder: Path, closed_folder: Path
) -> None:
    for folder in (open_folder, closed_folder):
        (folder / "file").touch(mode=0o644)
    (open_folder / "own").touch(mode=0o600)
    assert machine.reachable(open_folder / "file", machine.NOBODY)
    assert machine.reachable(open_folder, machine.NOBODY)
    assert not machine.reachable(open_folder / "own", machine.NOBODY)
    assert not machine.reachable(closed_folder / "file", machine.NOBODY)
    assert not machine.reachable(open_folder / "absent", machine.NOBODY)


def test_our_own_account_reaches_what_it_can_read(closed_folder: Path) -> None:
    (closed_folder / "file").touch(mode=0o600)
    assert machine.reachable(closed_folder / "file", None)
    assert not machine.reachable(closed_folder / "absent", None)


def test_the_setting_to_change_is_named_when_a_folder_is_out_of_reach(closed_folder: Path) -> None:
    with pytest.raises(EngineStartError, match="by AQUILA_CACHE"):
        machine.check_reachable(closed_folder / "new", machine.NOBODY, "AQUILA_CACHE")
    machine.check_reachable(closed_folder / "new", None, "AQUILA_CACHE")


@pytest.mark.parametrize(("uid", "account"), [(0, machine.NOBODY), (1000, None)])
def test_only_root_needs_another_account(
    uid: int, account: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert machine.run_as() == account

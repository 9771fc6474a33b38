"""What the embedded engine needs of the machine, checked before anything is started.

The engine refuses to run as root, so for root it runs under another account. That account has
no rights of its own: whatever it reads must be readable by everybody.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from aquila_mde.engine.errors import EngineStartError

MIB = 1 << 20
LOOPBACK = "127.0.0.1"
NOBODY = 65534
"""The unprivileged account of Linux; used as a number, so it needs no entry in /etc/passwd."""
MEMORY_BESIDE_HEAP = 512 * MIB
"""Class data, threads and network buffers: an idle node with a heap of 1 GiB takes 0.3 GiB."""
DISK_FOR_DATA = 512 * MIB
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def run_as() -> int | None:
    """The number of the account (and group) the engine runs under; None means our own."""
    return NOBODY if os.geteuid() == 0 else None


def heap_bytes(heap: str) -> int:
    """The bytes of a size in Java's notation (``512m``, ``1g``)."""
    found = re.fullmatch(r"(\d+)([kmg]?)", heap.strip().lower())
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if size < 256 * MIB:
        raise EngineStartError(
            f"The engine's heap cannot be {heap!r}",
            hint="Give a size of at least 256m, for example 512m or 1g.",
        )
    return size


def check_memory(heap: str, *, available: int | None = None) -> None:
    """Raise when less than the heap and its surroundings is available (bytes)."""
    needed = heap_bytes(heap) + MEMORY_BESIDE_HEAP
    free: int = psutil.virtual_memory().available if available is None else available
    if free < needed:
        raise EngineStartError(
            f"The engine needs {needed // MIB} MiB of memory with a heap of {heap}, "
            f"but only {free // MIB} MiB are available",
            hint="Close other programs, or give the engine a smaller heap (512m is enough to "
            "look around).",
        )


def check_disk(folder: Path, needed: int, purpose: str) -> None:
    """Raise when the file system of ``folder`` has less than ``needed`` bytes left."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise EngineStartError(
            f"{purpose} needs {needed // MIB} MiB of disk in {folder}, "
            f"but only {free // MIB} MiB are free",
            hint="Free some space, or choose another folder (AQUILA_CACHE for the engine's "
            "files, --data for its data).",
        )


def check_port(port: int) -> None:
    """Raise when another program listens on ``port`` of the loopback address."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((LOOPBACK, port))
        except OSError as error:
            raise EngineStartError(
                f"The engine cannot listen on {LOOPBACK}:{port}: {error.strerror}",
                hint="Stop the program that uses the port, or choose another one "
                "(0 takes any that is free).",
            ) from error


def reachable(path: Path, account: int | None) -> bool:
    """Whether ``account`` can read the file ``path``, or enter it where it is a folder.

    For another account than our own the permission bits for "others" decide: it owns nothing
    and is in no group.
    """
    needed = (os.X_OK, stat.S_IXOTH) if path.is_dir() else (os.R_OK, stat.S_IROTH)
    if account is None:
        return os.access(path, needed[0])
    path = path.resolve()
    if not path.exists() or not path.stat().st_mode & needed[1]:
        return False
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def check_reachable(folder: Path, account: int | None, setting: str) -> None:
    """Raise when ``account`` cannot get into ``folder``, naming the ``setting`` that says so."""
    place = folder
    while not place.exists():
        place = place.parent
    if not reachable(place, account):
        raise EngineStartError(
            f"The engine runs under account {account} here (it refuses to run as root), "
            f"and that account cannot read {folder}",
            hint=f"Choose another folder by {setting}, for example below /var or /srv.",
        )

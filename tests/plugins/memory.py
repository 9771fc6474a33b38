"""Where tests keep what nothing has to survive: in memory, where there is enough of it.

An engine waits for its disk a dozen times for each index that it makes, and a schedule of faults
makes a dozen of them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

_SHARED = Path("/dev/shm")
_ROOM = 4 << 30
"""Bytes that have to be free there, and in the machine's memory beside them."""


def memory_folder() -> Path | None:
    """A folder in memory; None is the temporary folder. ``AQUILA_TEST_ON_DISK=1`` has no other."""
    if os.environ.get("AQUILA_TEST_ON_DISK") or not os.access(_SHARED, os.W_OK):
        return None
    free = min(shutil.disk_usage(_SHARED).free, psutil.virtual_memory().available - _ROOM)
    return _SHARED if free >= _ROOM else None

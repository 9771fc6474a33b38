"""Whether the bodies of bulk requests go to the engine as gzip.

What a body costs on its way is the time until the answer without the time that the engine worked on
the documents, as it says itself. That is measured for both ways, so a slow line is told from a slow
engine, and packing and unpacking count as well as sending.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Literal

import structlog
from isal import isal_zlib

Mode = Literal["auto", "always", "never"]

_GZIP = 31
"""``wbits`` of zlib for a gzip member."""
_SMALLEST = 32 << 10
"""Bytes below which a body is not worth the question."""
_MEASURED = 3
"""Bodies that each way is judged by: the middle one of the last ones."""
_LOOK_AGAIN = 50
"""After so many bodies one goes the other way, since a line may change."""
_FAST = 4e-8
"""Seconds a byte below which gzip is not even tried: a line that carries 25 MB a second for each
request. Packing takes the time of the one core that reads the records, too."""
_WORTH_IT = 0.8
"""The part of the time that gzip may take at most to be chosen."""
_TOOK = re.compile(rb'"(?:ingest_)?took":(\d+)')
_log = structlog.get_logger()


def packed(body: Iterable[bytes]) -> bytes:
    """The pieces of ``body`` as one gzip member."""
    packer = isal_zlib.compressobj(isal_zlib.ISAL_BEST_SPEED, wbits=_GZIP)
    return b"".join([*map(packer.compress, body), packer.flush()])


class Compression:
    """Decides body by body; with ``auto`` by what was measured of the ones before."""

    def __init__(self, mode: Mode = "auto") -> None:
        self._mode = mode
        self._costs: dict[bool, deque[float]] = {
            way: deque(maxlen=_MEASURED) for way in (False, True)
        }
        self._since_look = 0
        self._chosen = False

    def wanted(self, size: int) -> bool:
        """Whether to pack a body of ``size`` bytes."""
        if self._mode != "auto":
            return self._mode == "always"
        if size < _SMALLEST:
            return False
        plain, gzip = self._costs[False], self._costs[True]
        if len(plain) < _MEASURED or (not gzip and median(plain) < _FAST):
            return False
        if len(gzip) < _MEASURED:
            return True
        self._since_look += 1
        if self._since_look < _LOOK_AGAIN:
            return self._chosen
        self._since_look = 0
        return not self._chosen

    def answered(self, gzip: bool, size: int, seconds: float, answer: bytes) -> None:
        """A body of ``size`` bytes before packing was answered after ``seconds``."""
        if self._mode != "auto" or size < _SMALLEST:
            return
        worked = sum(map(int, _TOOK.findall(answer[:200]))) / 1000
        self._costs[gzip].append(max(0.0, seconds - worked) / size)
        if all(len(costs) == _MEASURED for costs in self._costs.values()):
            chosen = median(self._costs[True]) < _WORTH_IT * median(self._costs[False])
            if chosen != self._chosen:
                _log.debug("Bulk bodies are sent another way", gzip=chosen)
            self._chosen = chosen

    def refused(self) -> bool:
        """Something on the way does not take gzip; whether to send the same body without."""
        if self._mode != "auto":
            return False
        self._mode = "never"
        _log.info("Bulk bodies as gzip are refused, sending them as they are")
        return True
